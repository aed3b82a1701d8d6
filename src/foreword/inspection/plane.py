"""A map of the virtual tokens among vocabulary words: the plane in which the words' embeddings vary most."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from foreword.inspection.vocabulary import Vocabulary

SHOWN = 150


@dataclass(frozen=True)
class Plane:
    """`[n, 2]` places of words, `[P, 2]` of the virtual tokens now and, where it is known, before training.

    `explained`: the share of the words' variance that lies in the plane; `inside`: the share of the tokens' squared
    distance from the words' mean that does. What lies near on the map may be far apart in the other dimensions.
    """

    words: tuple[str, ...]
    places: Tensor
    tokens: Tensor
    before: Tensor | None
    explained: float
    inside: float


@torch.no_grad()
def plane(vectors: Tensor, vocabulary: Vocabulary, start: Tensor | None = None, seed: int = 0) -> Plane:
    """Principal components of the word embeddings; the tokens are laid into their plane, not fitted."""
    mean = vocabulary.table.mean(0)
    centred = vocabulary.table - mean
    variances, axes = torch.linalg.eigh((centred.T @ centred).double())
    two = axes[:, -2:].flip(1).float()
    signs = two.gather(0, two.abs().argmax(0, keepdim=True)).sign()  # an axis has no direction of its own
    two = two * signs
    drawn = torch.randperm(len(vocabulary.ids), generator=torch.Generator().manual_seed(seed))[:SHOWN]
    own = vectors.detach().float().cpu() - mean
    before = None if start is None else (start.detach().float().cpu() - mean) @ two
    return Plane(
        tuple(vocabulary.words[i] for i in drawn.tolist()),
        centred[drawn] @ two,
        own @ two,
        before,
        float(variances[-2:].sum() / variances.sum()),
        float((own @ two).square().sum() / own.square().sum()),
    )
