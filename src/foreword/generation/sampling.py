"""Drawing tokens, so that a row's draws depend on the row and the seed alone, not on its neighbours."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from foreword.config import GenerationOptions


def generator(seed: int, prompt: Sequence[int], sequence: int) -> torch.Generator:
    """The source of chance for one row: a function of the seed, the prompt's ids, and the number of the sequence.

    Two rows with the same text get the same noise: under one foreword they are the same row; under two forewords it
    makes their answers easier to compare.
    """
    digest = hashlib.sha256(repr((seed, tuple(prompt), sequence)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def shaped(logits: Tensor, options: GenerationOptions) -> Tensor:
    """`[B, V]` logits after temperature, top-k and top-p; what is ruled out is minus infinity.

    Of `top_p` the most likely tokens remain whose probabilities first add up to at least it (Holtzman et al. 2020,
    section 3.1).
    """
    if options.temperature is not None:
        logits = logits / options.temperature
    if options.top_k is not None and options.top_k < logits.shape[-1]:
        least = logits.topk(options.top_k).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if options.top_p is not None and options.top_p < 1:
        ordered, order = logits.sort(descending=True, stable=True)
        probabilities = ordered.softmax(-1)
        beyond = probabilities.cumsum(-1) - probabilities >= options.top_p
        beyond[:, 0] = False
        logits = logits.masked_fill(beyond.scatter(1, order, beyond), -torch.inf)
    return logits


def draw(logits: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """`[B]` tokens from the softmax of `[B, V]` logits, row by row from its own generator.

    By the Gumbel-max trick: rounding in the logits, which differs between batches, all but never changes the winner.
    """
    noise = torch.stack(
        [torch.empty(logits.shape[1], dtype=torch.float64).exponential_(generator=chance) for chance in generators]
    )
    return (logits.double() - noise.log().to(logits.device)).argmax(-1)
