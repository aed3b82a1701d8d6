"""Measures of how alike whole stories are: the Vendi score, the mean likeness, and groups of the same story."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foreword.stories.diversity.base import Measure, count
from foreword.stories.diversity.corpus import Sample

Floats = NDArray[np.float64]


def vendi(kernel: Floats) -> float:
    """The effective number of different stories, 1 … n: exp of the entropy of the eigenvalues of K/n.

    `kernel`: `[n, n]`, symmetric, 1 on the diagonal. Friedman and Dieng 2023, The Vendi Score, definition 3.1.
    """
    values = np.linalg.eigvalsh(kernel / len(kernel))
    values = values[values > 1e-12]  # rounding makes small negative ones
    values = values / values.sum()
    return float(np.clip(np.exp(-(values * np.log(values)).sum()), 1.0, len(kernel)))


def mean_likeness(kernel: Floats) -> float:
    """The mean of `[n, n]` over the pairs of different stories; a story's likeness to itself does not count."""
    rows, columns = np.triu_indices(len(kernel), 1)
    return float(kernel[rows, columns].mean())


def groups(halves: Floats) -> list[list[int]]:
    """Stories that cannot be told apart, together; the stories' numbers, the largest group first.

    The rule: two stories are the same where a half of one is at least as like a half of the other as, on average, the
    two halves of each story are like each other: where the unbiased estimate of the squared maximum mean discrepancy
    between two stories, of two samples each, is not above 0 (Gretton et al. 2012, A Kernel Two-Sample Test, lemma 6).
    Whatever is the same as one story of a group belongs to it. So neither the number of groups nor a threshold is
    chosen.
    """
    own = np.diag(halves)
    same = (halves >= (own[:, None] + own[None, :]) / 2 - 1e-12) & (halves > 0)
    left, found = set(range(len(halves))), []
    while left:
        group, open_ = set[int](), {min(left)}
        while open_:
            one = open_.pop()
            group.add(one)
            open_ |= {int(other) for other in np.flatnonzero(same[one])} - group
        left -= group
        found.append(sorted(group))
    return sorted(found, key=lambda group: (-len(group), group))


def _vendi(name: str, title: str, defect: str) -> Measure:
    return Measure(
        name="vendi" if name == "meaning" else "vendi_words",
        title=title,
        varied="higher",
        bounds=count,
        source="Friedman and Dieng 2023, The Vendi Score, definition 3.1",
        defect=defect,
        value=lambda sample: vendi(sample.kernels[name]),
        needs=name,
    )


def _groups(sample: Sample) -> float:
    return float(len(groups(sample.halves[sample.best_kernel])))


MEASURES = (
    _vendi(
        "meaning",
        "Vendi score, by meaning",
        "is as good as its embeddings: stories about one topic are all alike to them, whatever happens, so it seldom "
        "comes near n; grows with n",
    ),
    _vendi(
        "words",
        "Vendi score, by n-grams",
        "small words make any two texts alike, and the same story in other words is a different one; grows with n",
    ),
    Measure(
        name="likeness",
        title="mean likeness, by meaning",
        varied="lower",
        bounds=lambda n: (-1.0, 1.0),
        source="mean cosine over pairs, as in Tevet and Berant 2021, Evaluating the Evaluation of Diversity in NLG",
        defect="one story that is different hides among many that are the same; has no natural zero",
        value=lambda sample: mean_likeness(sample.kernels["meaning"]),
        needs="meaning",
    ),
    Measure(
        name="groups",
        title="groups of the same story",
        varied="higher",
        bounds=count,
        source="the idea of NoveltyBench's distinct_k (Zhang et al. 2025); the rule is our own, see `groups`",
        defect="a chain of likenesses joins what is not alike at its ends; a rambling story is the same as any other",
        value=_groups,
    ),
)
