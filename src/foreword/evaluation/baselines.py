"""What a model that has learned nothing scores: the line that every result is shown beside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foreword.errors import DataError
from foreword.evaluation.metrics import score_confusion


def majority(train_labels: ArrayLike, n_classes: int) -> int:
    """The most frequent class of `train_labels` `[N]`; of several, the one with the lowest index.

    **Raises** `DataError` where there are no labels to count.
    """
    return int(_counts(train_labels, n_classes, "training").argmax())


def majority_scores(
    train_labels: ArrayLike, targets: ArrayLike, n_classes: int, names: Sequence[str] | None = None
) -> dict[str, float]:
    """Metrics on `targets` `[N]` of always answering the training set's majority class."""
    answer = np.eye(n_classes)[majority(train_labels, n_classes)]
    return score_confusion(np.outer(_counts(targets, n_classes, "evaluated"), answer), names)


def random_scores(
    train_labels: ArrayLike, targets: ArrayLike, n_classes: int, names: Sequence[str] | None = None
) -> dict[str, float]:
    """Metrics on `targets` `[N]` of the expected confusion matrix of a guesser.

    The guesser answers each class as often as it occurs in training, whatever the input. Accuracy is its exact
    expectation; the others are the metric of the expected counts, which differs from their expectation by O(1/N).
    """
    counts = _counts(train_labels, n_classes, "training")
    return score_confusion(np.outer(_counts(targets, n_classes, "evaluated"), counts / counts.sum()), names)


def _counts(labels: ArrayLike, n_classes: int, which: str) -> NDArray[np.int64]:
    array = np.asarray(labels)
    if not array.size:
        raise DataError(f"there are no {which} rows to compute a baseline from")
    if array.ndim != 1 or array.dtype.kind not in "iub" or array.min() < 0 or array.max() >= n_classes:
        raise ValueError(f"labels are a 1-D array of class indices in 0 … {n_classes - 1}")
    return np.bincount(array, minlength=n_classes)
