"""Each row's score by one metric, or the counts that the metric is a function of, from what a result holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword.comparison.truth import Truth
from foreword.errors import ForewordError
from foreword.evaluation import metrics, tags, texts

Floats = NDArray[np.float64]
CONFUSED = ("f1", "macro_f1", "mcc")
"""The metrics that are functions of the confusion matrix."""
MOST_CLASSES = 16
"""Classes up to which a row's place in the confusion matrix is counted."""


@dataclass(frozen=True)
class Scorer:
    """`rows` gives `[N]` scores of a split's part of a result, or, where there is a `statistic` of sums, `[N, K]`.

    `portable`: also for results on other rows than those that the right answers are known of.
    """

    rows: Callable[[Mapping[str, Any]], Floats]
    statistic: Callable[[Floats], float] | None = None
    portable: bool = True


def needs_data(metric: str, parts: Sequence[Mapping[str, Any]], classes: int) -> bool:
    """Whether the metric's rows can only be had from the data, since the results do not hold the right answers."""
    if metric in texts.CORPUS:
        return True
    known = any("targets" in part for part in parts) or all(metric in part.get("by_row", {}) for part in parts)
    return classes > 0 and not known and not all("right" in part.get("by_row", {}) for part in parts)


def scorer(metric: str, parts: Sequence[Mapping[str, Any]], truth: Truth, classes: int) -> Scorer | str:
    """What scores the rows of these parts, or why their rows have no score."""
    if all(metric in part.get("by_row", {}) for part in parts):
        return Scorer(lambda part: np.array(part["by_row"][metric], dtype=np.float64))
    if metric.startswith("span_") and all("right" in part.get("by_row", {}) for part in parts):
        return Scorer(_span_counts, lambda total: tags.from_rows(_named(total))[metric])
    if metric in texts.CORPUS:
        return _corpus(metric, truth)
    if metric in ("accuracy", *CONFUSED) and classes:
        if truth.targets is None:
            return f"no right answers are recorded, and {truth.gap or 'the data were not asked'}"
        if metric == "accuracy":
            return Scorer(lambda part: right(part, truth).astype(np.float64))
        if classes > MOST_CLASSES:
            return f"{metric} of {classes} classes is no function of few counts"
        return Scorer(lambda part: _places(part, truth, classes), lambda total: _confused(metric, total, classes))
    return f"no row has a {metric} by itself, and the results do not hold what it is made of"


def right(part: Mapping[str, Any], truth: Truth) -> NDArray[np.bool_]:
    """Whether each row's class is right, `[N]`: by the result's own right answers, or by those known of its rows."""
    return np.asarray(part["predictions"]) == np.asarray(part.get("targets", truth.targets))


def _places(part: Mapping[str, Any], truth: Truth, classes: int) -> Floats:
    """A one in the cell of the confusion matrix that each row is counted in, `[N, C·C]`."""
    targets = np.asarray(part.get("targets", truth.targets))
    return np.eye(classes * classes)[targets * classes + np.asarray(part["predictions"])]


def _confused(metric: str, total: Floats, classes: int) -> float:
    return metrics.score_confusion(total.sum(0).reshape(classes, classes), [metric])[metric]


def _span_counts(part: Mapping[str, Any]) -> Floats:
    return np.stack([np.array(part["by_row"][name], dtype=np.float64) for name in ("right", "predicted", "gold")], 1)


def _named(total: Floats) -> dict[str, Floats]:
    return dict(zip(("right", "predicted", "gold"), total.T, strict=True))


def _corpus(metric: str, truth: Truth) -> Scorer | str:
    golds = truth.golds
    if golds is None:
        return f"{metric} is computed from the right texts, and {truth.gap or 'the data were not asked'}"
    try:
        texts.corpus_rows(metric, ["a"], [["a"]])
    except ForewordError as error:
        return f"{error.what} ({error.do})"
    return Scorer(
        lambda part: texts.corpus_rows(metric, part["predictions"], golds).astype(np.float64),
        lambda total: texts.from_corpus_rows(metric, total),
        portable=False,
    )
