"""Whether a run is right as often as it is sure (Guo et al. 2017, section 2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

BINS = 10


@dataclass(frozen=True)
class Calibration:
    """`ece`: the expected calibration error, in 0 … 1; `points`: mean confidence, share right and rows of each bin."""

    ece: float
    points: tuple[tuple[float, float, int], ...]
    n: int


def calibration(confidences: ArrayLike, right: ArrayLike, bins: int = BINS) -> Calibration:
    """Of answers given with `confidences` `[N]` in 0 … 1, and whether each is `right` `[N]`.

    ECE is the mean over the rows of |share right - mean confidence| of the row's bin, in `bins` bins of equal width; a
    confidence on an edge counts below it, 0 in the first. Empty bins have no point.
    """
    sure, correct = np.asarray(confidences, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if sure.shape != correct.shape or sure.ndim != 1 or not sure.size:
        raise ValueError(f"{sure.shape} confidences of {correct.shape} answers")
    if sure.min() < 0 or sure.max() > 1:
        raise ValueError("confidences lie between 0 and 1")
    place = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    points = [
        (float(sure[place == k].mean()), float(correct[place == k].mean()), int((place == k).sum()))
        for k in range(bins)
        if (place == k).any()
    ]
    ece = sum(rows * abs(share - mean) for mean, share, rows in points) / sure.size
    return Calibration(float(ece), tuple(points), sure.size)
