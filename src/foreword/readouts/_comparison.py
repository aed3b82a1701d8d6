"""Two segments of a row, compared token by token.

A readout of every hidden state's every direction has more weights than a small data set can teach. What tells a
paraphrase is how far the words of one text are from those of the other, so these distances are read, and the prompt is
left to shape the space that they are measured in.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

WIDTH, LEXICAL_WIDTH = 7, 10
"""Three distances of the tokens each way, and that of the two means; the same of the words, and three of lengths."""


def lexical(words: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """`[b, 10]`: the distances of `compare` between the words themselves, and how long the segments are.

    `words`: `[b, T, E]` word embeddings. Of the n and m tokens of the segments: |log n - log m| times the root of E,
    log n and log m.
    """
    lengths = [segment.sum(1).clamp(min=1).to(words.dtype).log() for segment in (first, second)]
    ratio = (lengths[0] - lengths[1]).abs() * words.shape[-1] ** 0.5
    return torch.cat([compare(words, first, second), torch.stack([ratio, *lengths], dim=-1)], dim=-1)


def compare(hidden: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """`[b, 7]` distances of two segments.

    `hidden`: `[b, T, H]`; `first`, `second`: `[b, T]` bool, their tokens. Each token is held against the nearest of the
    other segment (greedy matching, Zhang et al. 2020, section 3), and the mean, the root mean square and the largest
    over the tokens are taken. Distances are cosine distances times the root of H: about one between random vectors.
    """
    unit = normalize(hidden, dim=-1)
    alike = unit @ unit.transpose(1, 2)
    found = []
    for own, other in ((first, second), (second, first)):
        nearest = 1 - alike.masked_fill(~other[:, None], -1.0).amax(-1)
        found += [
            _average(nearest, own),
            (_average(nearest.square(), own) + 1e-6).sqrt(),
            nearest.masked_fill(~own, 0.0).amax(1),
        ]
    found.append(1 - cosine_similarity(mean(hidden, first), mean(hidden, second), dim=-1))
    return torch.stack(found, dim=-1) * hidden.shape[-1] ** 0.5


def mean(vectors: Tensor, chosen: Tensor) -> Tensor:
    """`[b, H]`, over the places that `[b, T]` chooses; zero where it chooses none."""
    weights = chosen.to(vectors.dtype)
    return (vectors * weights[..., None]).sum(1) / weights.sum(1, keepdim=True).clamp(min=1)


def _average(values: Tensor, chosen: Tensor) -> Tensor:
    weights = chosen.to(values.dtype)
    return (values * weights).sum(1) / weights.sum(1).clamp(min=1)
