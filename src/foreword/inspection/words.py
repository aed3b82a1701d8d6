"""The words nearest to each virtual token, and how near random vectors come, so that nobody reads meaning into noise.

Something is always nearest. A token is said to be near a word only where few random vectors of its length, drawn with
the mean and the covariance of the word embeddings, come as near to any word as it does. Even then the nearest words
are not what the prompt says: with the same quality they can be others (Khashabi et al. 2022, "Prompt Waywardness").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from foreword.evaluation.statistics import holm
from foreword.inspection.vocabulary import MEASURES, Vocabulary

LEVEL = 0.05


@dataclass(frozen=True)
class Near:
    """A word and how near it is: a cosine, a dot product, or a Euclidean distance."""

    word: str
    id: int
    value: float


@dataclass(frozen=True)
class Reading:
    """What is near one virtual token.

    `nearest`: by measure, the nearest first. `chance`: by measure, the share of random vectors that are at least as
    near to any word, counting the token as one of them; `adjusted`: the same after Holm's correction over the prompt's
    tokens; `is_near`: whether that of the cosine is at most `LEVEL`. `median`: by measure, how near the nearest word of
    half of the random vectors is. `start`: the vocabulary's entry, whole word or not, that the token was before
    training; None where it was none. `moved`: the cosine between the token then and now; None where that is not known.
    """

    token: int
    length: float
    nearest: dict[str, tuple[Near, ...]]
    chance: dict[str, float]
    adjusted: dict[str, float]
    median: dict[str, float]
    is_near: bool
    start: str | None = None
    moved: float | None = None

    @property
    def word(self) -> str:
        """The nearest word by cosine."""
        return self.nearest["cosine"][0].word


@torch.no_grad()
def read_words(
    vectors: Tensor,
    vocabulary: Vocabulary,
    start: tuple[Tensor, Sequence[str | None]] | None = None,
    top: int = 5,
    seed: int = 0,
) -> list[Reading]:
    """Each of the `[P, E]` vectors among the words; `start`: `[P, E]` before training, and the entries they were."""
    vectors = vectors.detach().float().cpu()
    lengths, drawn = vectors.norm(dim=1), draws_for(len(vectors))
    chance = vocabulary.nearest_of_random(vocabulary.random(drawn, seed), lengths)
    found: dict[str, tuple[Tensor, Tensor]] = {}
    shares: dict[str, list[float]] = {}
    for measure in MEASURES:
        values, places = vocabulary.similarities(vectors, measure).topk(min(top, len(vocabulary.ids)), dim=1)
        found[measure] = (values, places)
        # what differs by rounding is a tie: a token that is a word's embedding itself may miss it by that much
        slack = 1e-5 * values[:, :1].abs()
        as_near = (chance[measure] >= values[:, :1] - slack).sum(1)
        shares[measure] = [(int(count) + 1) / (drawn + 1) for count in as_near]
    adjusted = {measure: holm(own).tolist() for measure, own in shares.items()}
    begun, moved = _before(vectors, start)
    return [
        Reading(
            token=i,
            length=float(lengths[i]),
            nearest={m: _near(vocabulary, m, found[m][0][i], found[m][1][i]) for m in MEASURES},
            chance={m: shares[m][i] for m in MEASURES},
            adjusted={m: adjusted[m][i] for m in MEASURES},
            median={m: _shown(m, float(chance[m][i].median())) for m in MEASURES},
            is_near=adjusted["cosine"][i] <= LEVEL,
            start=begun[i],
            moved=moved[i],
        )
        for i in range(len(vectors))
    ]


def draws_for(tokens: int) -> int:
    """How many random vectors make a share of 0.05 after Holm's correction possible, and 1,000 at least."""
    return max(1000, math.ceil(2 * tokens / LEVEL))


def _before(
    vectors: Tensor, start: tuple[Tensor, Sequence[str | None]] | None
) -> tuple[Sequence[str | None], Sequence[float | None]]:
    if start is None:
        return [None] * len(vectors), [None] * len(vectors)
    moved = torch.nn.functional.cosine_similarity(vectors, start[0].detach().float().cpu()).tolist()
    return start[1], moved


def _near(vocabulary: Vocabulary, measure: str, values: Tensor, places: Tensor) -> tuple[Near, ...]:
    return tuple(
        Near(vocabulary.words[place], vocabulary.ids[place], _shown(measure, value))
        for value, place in zip(values.tolist(), places.tolist(), strict=True)
    )


def _shown(measure: str, similarity: float) -> float:
    return -similarity if measure == "euclidean" else similarity
