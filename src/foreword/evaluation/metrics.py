"""Classification metrics as pure functions of predicted and true class indices; numpy only.

Everything is computed from the confusion matrix, and one convention holds throughout: **0/0 = 0**. A class that is
never predicted has precision 0, a class that never occurs has recall 0, no rows at all give 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foreword.errors import ConfigError, did_you_mean

Matrix = NDArray[Any]


def confusion(predictions: ArrayLike, targets: ArrayLike, n_classes: int) -> Matrix:
    """Counts `[C, C]` of integers: true classes in the rows, predicted classes in the columns.

    **Arguments:** `predictions` and `targets` are class indices `[N]` in 0 … C-1; `n_classes` is C.
    **Raises** `ValueError` for other shapes, non-integers and indices outside.
    """
    predicted, true = _indices(predictions), _indices(targets)
    if predicted.shape != true.shape:
        raise ValueError(f"{predicted.size} predictions for {true.size} targets")
    both = np.concatenate([predicted, true])
    if both.size and not 0 <= both.min() <= both.max() < n_classes:
        raise ValueError(f"class indices must lie in 0 … {n_classes - 1}")
    return np.bincount(true * n_classes + predicted, minlength=n_classes * n_classes).reshape(n_classes, n_classes)


def accuracy(predictions: ArrayLike, targets: ArrayLike) -> float:
    """Share of rows that are right. `predictions`, `targets`: `[N]` integers, as in all that follow."""
    return _accuracy(_occurring(predictions, targets))


def f1(predictions: ArrayLike, targets: ArrayLike, positive: int = 1) -> float:
    """F1 of the class `positive` against the rest: 2·TP / (2·TP + FP + FN)."""
    matrix = confusion(_indices(predictions) == positive, _indices(targets) == positive, 2)
    return float(_f1_by_class(matrix)[1])


def macro_f1(predictions: ArrayLike, targets: ArrayLike) -> float:
    """Unweighted mean of F1 over the classes that occur in the targets or the predictions."""
    return _macro_f1(_occurring(predictions, targets))


def mcc(predictions: ArrayLike, targets: ArrayLike) -> float:
    """Matthews' correlation coefficient, for two classes or more (Gorodkin 2004, R_K), in -1 … 1."""
    return _mcc(_occurring(predictions, targets))


def is_degenerate(predictions: ArrayLike, targets: ArrayLike | None = None) -> bool:
    """Whether two rows or more all got one and the same answer, although the targets (where given) differ."""
    answers = _indices(predictions)
    if answers.size < 2 or np.unique(answers).size > 1:
        return False
    return targets is None or np.unique(_indices(targets)).size > 1


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's function of (predictions, targets), or None where it needs more than these; and its direction."""

    compute: Callable[[ArrayLike, ArrayLike], float] | None
    higher_is_better: bool = True


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "accuracy": Metric(accuracy),
        "f1": Metric(f1),
        "macro_f1": Metric(macro_f1),
        "mcc": Metric(mcc),
        "loss": Metric(None, higher_is_better=False),
        **dict.fromkeys(("span_f1", "span_precision", "span_recall"), Metric(None)),
        **dict.fromkeys(("answer_f1", "exact_match"), Metric(None)),
        **dict.fromkeys(("p_at_1", "p_at_10", "mrr"), Metric(None)),
    }
)


def score(
    predictions: ArrayLike, targets: ArrayLike, n_classes: int, names: Sequence[str] | None = None
) -> dict[str, float]:
    """The metrics called `names` of `predictions` against `targets`, both `[N]` in 0 … `n_classes` - 1.

    Without names: accuracy, F1 of class 1 (two classes only), macro F1 and MCC.
    **Raises** `ConfigError` for an unknown name, for `f1` with other than two classes, and for `loss`, which is not
    a function of the predictions.
    """
    return score_confusion(confusion(predictions, targets, n_classes), names)


def defined(names: Sequence[str], n_classes: int) -> tuple[str, ...]:
    """Those of `names` that are defined for C classes: binary F1 is for two."""
    return tuple(name for name in names if name != "f1" or n_classes == 2)


def score_confusion(matrix: Matrix, names: Sequence[str] | None = None) -> dict[str, float]:
    """`score` from a confusion matrix `[C, C]` of counts, which may be expected counts and so fractions."""
    if names is None:
        names = ("accuracy", "f1", "macro_f1", "mcc") if len(matrix) == 2 else ("accuracy", "macro_f1", "mcc")
    return {name: _from_confusion(name, matrix) for name in names}


def _from_confusion(name: str, matrix: Matrix) -> float:
    if name not in METRICS:
        raise ConfigError(f"unknown metric '{name}'", do=did_you_mean(name, METRICS))
    if name == "f1" and len(matrix) != 2:
        raise ConfigError(f"f1 is for two classes, and there are {len(matrix)}", do="use macro_f1")
    functions: dict[str, Callable[[Matrix], float]] = {
        "accuracy": _accuracy,
        "f1": lambda m: float(_f1_by_class(m)[1]),
        "macro_f1": _macro_f1,
        "mcc": _mcc,
    }
    if name not in functions:
        raise ConfigError(f"'{name}' is not a function of the predictions", do="take it from the evaluation itself")
    return functions[name](matrix)


def _occurring(predictions: ArrayLike, targets: ArrayLike) -> Matrix:
    """The confusion matrix of the classes that occur, so that its size does not follow from the largest index."""
    predicted, true = _indices(predictions), _indices(targets)
    if predicted.shape != true.shape:
        raise ValueError(f"{predicted.size} predictions for {true.size} targets")
    classes, places = np.unique(np.concatenate([predicted, true]), return_inverse=True)
    return confusion(places[: predicted.size], places[predicted.size :], len(classes))


def _indices(values: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iub"):
        raise ValueError(f"class indices are a 1-D array of integers, not {array.dtype} of shape {array.shape}")
    return array.astype(np.int64)


def _accuracy(matrix: Matrix) -> float:
    return _ratio(float(np.trace(matrix)), float(matrix.sum()))


def _f1_by_class(matrix: Matrix) -> NDArray[np.float64]:
    occurrences = (matrix.sum(0) + matrix.sum(1)).astype(np.float64)  # 2·TP + FP + FN, `[C]`
    return np.divide(2.0 * np.diag(matrix), occurrences, out=np.zeros(len(matrix)), where=occurrences > 0)


def _macro_f1(matrix: Matrix) -> float:
    occurring = (matrix.sum(0) + matrix.sum(1)) > 0
    return _ratio(float(_f1_by_class(matrix)[occurring].sum()), float(occurring.sum()))


def _mcc(matrix: Matrix) -> float:
    # Python's own numbers: products of counts would overflow 64-bit integers at a few billion rows squared.
    true, predicted = matrix.sum(1).tolist(), matrix.sum(0).tolist()
    total, right = sum(true), np.trace(matrix).item()
    covariance = right * total - sum(t * p for t, p in zip(true, predicted, strict=True))
    spread_true = total * total - sum(t * t for t in true)
    spread_predicted = total * total - sum(p * p for p in predicted)
    return _ratio(float(covariance), math.sqrt(spread_true * spread_predicted))


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else 0.0
