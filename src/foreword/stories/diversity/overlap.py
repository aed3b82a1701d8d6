"""Measures of the words that stories share: self-BLEU, distinct-n, repetition, compression."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword.errors import ConfigError
from foreword.stories.diversity.base import Measure, share
from foreword.stories.diversity.corpus import Sample
from foreword.stories.diversity.kernels import counts, ngrams

LONG = 4
"""Words of an n-gram whose repetition is seldom an accident."""
ORDER = 4
"""BLEU's longest n-grams."""
Words = Sequence[Sequence[str]]
Counts = NDArray[np.int64]


def self_bleu(words: Words) -> float:
    """Each text's BLEU with all others as references, in percent, averaged over the texts.

    The number that sacrebleu's sentence BLEU gives for the folded words (tokenize none, exp, effective order): a full
    stop that two texts share is nothing they share. N-grams are counted once, and not anew for every pair.
    **Raises** `ConfigError` without sacrebleu.
    """
    bleu, tables = _bleu(), [counts(words, n) for n in range(1, ORDER + 1)]
    lengths = [len(one) for one in words]
    found = []
    for i, own in enumerate(lengths):
        others = [j for j in range(len(words)) if j != i]
        right, total = zip(*(_clipped(table, i, others) for table in tables), strict=True)
        nearest = min((abs(lengths[j] - own), lengths[j]) for j in others)[1]
        made = bleu.compute_bleu(list(right), list(total), own, nearest, smooth_method="exp", effective_order=True)
        found.append(float(made.score))
    return sum(found) / len(found)


def distinct(words: Words, n: int) -> float:
    """Different n-grams over all n-grams, of all texts together; 1 where there is none."""
    found = [gram for one in words for gram in ngrams(one, n)]
    return len(set(found)) / len(found) if found else 1.0


def repetition_across(words: Words, n: int = LONG) -> float:
    """The share of a text's n-grams that another text has too, averaged over the texts."""
    having = Counter(gram for one in words for gram in set(ngrams(one, n)))
    shares = [[having[gram] > 1 for gram in ngrams(one, n)] for one in words]
    return _mean([sum(one) / len(one) for one in shares if one])


def repetition_inside(words: Words, n: int = LONG) -> float:
    """The share of a text's n-grams that stood in the same text before, averaged over the texts."""
    grams = [ngrams(one, n) for one in words]
    return _mean([1 - len(set(one)) / len(one) for one in grams if one])


def compression_ratio(texts: Sequence[str]) -> float:
    """Bytes of all texts over their bytes compressed once, by zlib at its best level (gzip has 12 bytes more).

    The texts are joined by line ends in sorted order, since a stream's compression depends on its order.
    """
    plain = "\n".join(sorted(texts)).encode()
    return len(plain) / len(zlib.compress(plain, 9))


def _clipped(table: Counts, row: int, others: Sequence[int]) -> tuple[int, int]:
    """How many of a text's n-grams one of the others has as often, and how many it has (Papineni et al. 2002)."""
    own = np.flatnonzero(table[row])
    most = table[np.asarray(others)][:, own].max(axis=0, initial=0)
    return int(np.minimum(table[row, own], most).sum()), int(table[row].sum())


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


@cache
def _bleu() -> Any:
    try:
        from sacrebleu.metrics import BLEU
    except ImportError:
        raise ConfigError("self-BLEU needs sacrebleu", do="pip install 'foreword[eval]'") from None
    return BLEU


def _distinct(n: int) -> Measure:
    return Measure(
        name=f"distinct_{n}",
        title=f"distinct-{n}",
        varied="higher",
        bounds=share,
        source="Li et al. 2016, A Diversity-Promoting Objective Function for Neural Conversation Models",
        defect="falls with every word more, so it compares nothing but equal numbers of equally long texts",
        value=lambda sample: distinct(sample.words, n),
    )


def _compression(sample: Sample) -> float:
    return compression_ratio(sample.texts)


MEASURES = (
    Measure(
        name="self_bleu",
        title="self-BLEU",
        varied="lower",
        bounds=lambda n: (0.0, 100.0),
        source="Zhu et al. 2018, Texygen; BLEU by sacrebleu",
        defect="rises with the number of texts, since each has more references; the same story in other words is new",
        value=lambda sample: self_bleu(sample.words),
    ),
    *(_distinct(n) for n in (1, 2, 3)),
    Measure(
        name="repetition_across",
        title=f"{LONG}-grams shared with another story",
        varied="lower",
        bounds=share,
        source="Salkar et al. 2022, Self-Repetition in Abstractive Neural Summarizers; a share, not its logarithm",
        defect="rises with the number of texts; says nothing of what is told in other words",
        value=lambda sample: repetition_across(sample.words),
    ),
    Measure(
        name="repetition_inside",
        title=f"{LONG}-grams said before in the same story",
        varied="lower",
        bounds=share,
        source="Welleck et al. 2020, Neural Text Generation with Unlikelihood Training: seq-rep-4",
        defect="is about one story's quality, not about variety; refrains in stories for children are meant",
        value=lambda sample: repetition_inside(sample.words),
    ),
    Measure(
        name="compression_ratio",
        title="compression ratio",
        varied="lower",
        bounds=lambda n: (0.0, float("inf")),
        source="Shaib et al. 2024, Standardizing the Measurement of Text Diversity; zlib",
        defect="rises with the bytes that are compressed, and sees no further back than 32 kB",
        value=_compression,
    ),
)
