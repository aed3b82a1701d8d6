"""The hard prompt that comes nearest: every virtual token replaced by the embedding of a word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from foreword.errors import Unsupported
from foreword.injections import SoftTokens
from foreword.inspection.ablation import Ablated, ablated, with_vectors
from foreword.inspection.outcomes import Outcome, measure
from foreword.inspection.subject import Subject
from foreword.inspection.vocabulary import Vocabulary
from foreword.inspection.words import Reading

DRAWS = 3


@dataclass(frozen=True)
class Discrete:
    """The nearest hard prompt: its `words`, what it scores in the prompt's places, and what random words score there.

    `random`: the scores of `DRAWS` draws of as many words; `tokens`: the words' ids.
    """

    words: tuple[str, ...]
    tokens: tuple[int, ...]
    result: Ablated
    random: tuple[float, ...]


@torch.no_grad()
def discretise(
    subject: Subject,
    whole: Outcome,
    readings: Sequence[Reading],
    vocabulary: Vocabulary,
    advance: Callable[[int], None] = lambda n: None,
    seed: int = 0,
) -> Discrete:
    """What is lost in words: the nearest by cosine stand where the virtual tokens stood, the readout as it is.

    **Raises** `Unsupported` for a foreword without virtual tokens among the words.
    """
    if subject.injection.soft is None:
        raise Unsupported(
            f"{subject.method} has no virtual tokens among the words, so no words come near it: vectors of a layer "
            "inside have no vocabulary"
        )
    table = subject.backbone.embedding.weight.detach().float()
    ids = tuple(reading.nearest["cosine"][0].id for reading in readings)
    variant = with_vectors(subject, SoftTokens(table[list(ids)]), "the nearest words", "words")
    result = ablated(variant, measure(subject, variant), whole)
    advance(1)
    generator, scores = torch.Generator().manual_seed(seed), []
    for _ in range(DRAWS):
        drawn = torch.randint(len(vocabulary.ids), (len(ids),), generator=generator).tolist()
        soft = SoftTokens(table[[vocabulary.ids[i] for i in drawn]])
        scores.append(measure(subject, with_vectors(subject, soft, "random words", "words")).score)
        advance(1)
    return Discrete(tuple(reading.word for reading in readings), ids, result, tuple(scores))
