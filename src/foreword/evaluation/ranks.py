"""Where the right one of a list of candidates comes when a model's scores sort them: P@1, P@10 and MRR, in 0 … 1.

The candidates are the caller's, and every number holds for that list only: fewer or easier candidates give better
ones, and with ten or fewer P@10 is always 1. State the list with the result.

**Ties count against the model.** The rank of the right candidate is 1 + the number of others that score at least as
much. A model that scores all alike so comes last everywhere, not first.

P@k is, as in knowledge probing (Petroni et al. 2019), the share of rows whose right candidate is among the first k.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foreword.errors import DataError

DEPTHS = (1, 10)
"""The k of P@k."""

NAMES = (*(f"p_at_{k}" for k in DEPTHS), "mrr")
"""The metrics that are measured here."""


def ranks(scores: Sequence[ArrayLike], gold: ArrayLike) -> NDArray[np.int64]:
    """The rank of each row's right candidate, `[N]`, from 1.

    **Arguments:** `scores` `[N, C]`, higher is better, or N rows `[C_i]` where rows have lists of their own; -inf
    excludes a candidate. `gold` `[N]` is the index of the right one.
    **Raises** `DataError` for no rows, different numbers of rows and scores that are NaN; `ValueError` for other
    shapes and indices outside.
    """
    places = _indices(gold)
    if len(scores) != len(places):
        raise DataError(f"scores of {len(scores)} rows for {len(places)} right candidates")
    if not len(places):
        raise DataError("there are no rows to score")
    return np.array([_rank(row, int(place), i) for i, (row, place) in enumerate(zip(scores, places, strict=True))])


def rows(predictions: Sequence[ArrayLike], references: ArrayLike) -> dict[str, list[float]]:
    """Each row's `p_at_1` and `p_at_10` (1 or 0) and reciprocal rank `mrr`, `[N]` each. Arguments as in `ranks`."""
    return _rows(ranks(predictions, references))


def score(predictions: Sequence[ArrayLike], references: ArrayLike) -> dict[str, float]:
    """The means over the rows of `p_at_1`, `p_at_10` and `mrr`. Arguments and errors as in `ranks`."""
    return _means(rows(predictions, references))


def majority_scores(train_gold: ArrayLike, references: ArrayLike, n_candidates: int) -> dict[str, float]:
    """`score` of naming the candidates by how often each was right in training, whatever the input.

    Of equally frequent ones the lowest index comes first, as in `baselines.majority`: counted as ties they would put
    the baseline below what it earns. P@1 is the accuracy of the majority class.

    **Arguments:** `train_gold` `[M]` and `references` `[N]` are indices in 0 … `n_candidates` - 1.
    **Raises** `DataError` where there are no rows in either, `ValueError` for indices outside.
    """
    seen, asked = _indices(train_gold), _indices(references)
    if not seen.size or not asked.size:
        raise DataError(f"there are no {'evaluated' if seen.size else 'training'} rows to compute a baseline from")
    both = np.concatenate([seen, asked])
    if not 0 <= both.min() <= both.max() < n_candidates:
        raise ValueError(f"indices of candidates must lie in 0 … {n_candidates - 1}")
    order = np.argsort(-np.bincount(seen, minlength=n_candidates), kind="stable")
    rank_of = np.empty(n_candidates, dtype=np.int64)
    rank_of[order] = np.arange(1, n_candidates + 1)
    return _means(_rows(rank_of[asked]))


def _rank(scores: ArrayLike, place: int, row: int) -> int:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or not 0 <= place < values.size:
        raise ValueError(f"row {row}: candidate {place} of scores of shape {values.shape}")
    if np.isnan(values).any():
        raise DataError("a candidate's score is not a number", where=f"row {row}", do="look for a run that diverged")
    return int((values >= values[place]).sum())  # the right one is counted too: the 1 + …


def _rows(found: NDArray[np.int64]) -> dict[str, list[float]]:
    within = {f"p_at_{k}": (found <= k).astype(np.float64).tolist() for k in DEPTHS}
    return within | {"mrr": (1.0 / found).tolist()}


def _means(by_row: dict[str, list[float]]) -> dict[str, float]:
    return {name: float(np.mean(values)) for name, values in by_row.items()}


def _indices(values: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(f"indices are a 1-D array of integers, not {array.dtype} of shape {array.shape}")
    return array.astype(np.int64)
