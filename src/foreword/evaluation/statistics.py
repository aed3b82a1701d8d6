"""How sure a difference is: intervals over seeds and over examples, and paired tests of two systems.

Paired tests take the two systems' scores **of the same examples in the same order**. All are two-sided, and exchanging
the systems changes nothing but the sign of the difference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foreword.errors import DataError, ForewordError

Floats = NDArray[np.float64]

_CELLS = 1 << 20  # resampled values that are held at once: 8 MB


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval at `level`, such as 0.95."""

    low: float
    high: float
    level: float


@dataclass(frozen=True, slots=True)
class PairedTest:
    """System a against system b: mean `difference` a - b with its interval, two-sided `p_value`, `n` examples."""

    difference: float
    interval: Interval
    p_value: float
    n: int
    name: str


def mean_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Student's t interval of the mean over runs (seeds). `values`: `[S]`, one number a run, S >= 2.

    **Raises** `DataError` for fewer than two runs, `ForewordError` where scipy is not installed.
    """
    try:
        from scipy.special import stdtrit
    except ImportError:
        raise ForewordError("an interval over seeds needs scipy", do="pip install 'foreword[eval]'") from None
    runs = _scores(values, "runs")
    _check_level(level)
    if runs.size < 2:
        raise DataError("an interval over seeds needs at least two runs", do="run it with more seeds")
    quantile = float(stdtrit(runs.size - 1, (1 + level) / 2))
    half = quantile * float(runs.std(ddof=1)) / math.sqrt(runs.size)
    mean = float(runs.mean())
    return Interval(mean - half, mean + half, level)


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[[Floats], float] | None = None,
    n: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Percentile interval of a statistic over examples, from `n` resamples (Efron 1979).

    **Arguments:** `values` `[N]`, or `[N, K]` of which whole rows are drawn, so that a metric of predictions and
    targets together can be had; `statistic` maps one such resample to a number (default: the mean, much quicker).
    """
    data = _scores(values, "examples", ndim=(1,) if statistic is None else (1, 2))
    _check_level(level)
    _check_resamples(n)
    blocks = _resamples(len(data), n, seed)
    if statistic is None:
        drawn = np.concatenate([data[index].mean(1) for index in blocks])
    else:
        drawn = np.array([statistic(data[row]) for index in blocks for row in index])
    return _percentiles(drawn, level)


def paired_bootstrap(a: ArrayLike, b: ArrayLike, n: int = 10_000, seed: int = 0, level: float = 0.95) -> PairedTest:
    """Bootstrap test of the mean difference (Efron and Tibshirani 1993, section 16.4, by the percentile interval).

    `a`, `b`: `[N]`, each example's score. p is twice the smaller share of resamples whose difference is on the other
    side of zero, counting the observed sample as one.
    """
    difference = _difference(a, b)
    _check_level(level)
    _check_resamples(n)
    drawn = _resampled_means(difference, n, seed)
    slack = _slack(difference)
    tail = min(int((drawn <= slack).sum()), int((drawn >= -slack).sum()))
    p_value = min(1.0, 2 * (tail + 1) / (n + 1))
    return PairedTest(
        float(difference.mean()), _percentiles(drawn, level), p_value, difference.size, "paired bootstrap"
    )


def paired_corpus_bootstrap(
    a: Sequence[ArrayLike],
    b: Sequence[ArrayLike],
    statistic: Callable[[Floats], float],
    n: int = 2_000,
    seed: int = 0,
    level: float = 0.95,
) -> PairedTest:
    """`paired_bootstrap` for a metric that no example has by itself, such as BLEU (Koehn 2004, section 3.2).

    **Arguments:** `a`, `b`: one array `[N, K]` of the examples' counts for each run (seed) of the two systems;
    `statistic` maps the counts of a resample to a number, which is averaged over a system's runs.
    """
    runs = [[_scores(one, "examples", ndim=(2,)) for one in system] for system in (a, b)]
    sizes = {len(one) for system in runs for one in system}
    if not all(runs) or len(sizes) > 1:
        raise DataError("a paired test needs the same examples of both systems", do="evaluate both on the same rows")
    _check_level(level)
    _check_resamples(n)

    def difference(rows: NDArray[np.int64] | slice) -> float:
        ours, theirs = (sum(statistic(one[rows]) for one in system) / len(system) for system in runs)
        return ours - theirs

    [size] = sizes
    drawn = np.array([difference(rows) for block in _resamples(size, n, seed) for rows in block])
    tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p_value = min(1.0, 2 * (tail + 1) / (n + 1))
    observed = difference(slice(None))
    return PairedTest(observed, _percentiles(drawn, level), p_value, size, "paired bootstrap")


def approximate_randomization(
    a: ArrayLike, b: ArrayLike, n: int = 10_000, seed: int = 0, level: float = 0.95
) -> PairedTest:
    """Test of the mean difference by exchanging the two systems' scores at random (Noreen 1989).

    `a`, `b`: `[N]`, each example's score. p = (1 + exchanges at least as extreme) / (1 + n). The interval is the paired
    bootstrap's.
    """
    difference = _difference(a, b)
    _check_level(level)
    _check_resamples(n)
    moving = difference[difference != 0]  # exchanging equal scores changes nothing
    generator = np.random.default_rng(seed)
    observed = abs(float(difference.sum())) - _slack(difference) * difference.size
    extreme = 0
    for size in _blocks(moving.size, n):
        signs = generator.integers(0, 2, size=(size, moving.size), dtype=np.int8) * 2.0 - 1.0
        extreme += int((np.abs(signs @ moving) >= observed).sum())
    interval = _percentiles(_resampled_means(difference, n, seed), level)
    p_value = (1 + extreme) / (1 + n)
    return PairedTest(float(difference.mean()), interval, p_value, difference.size, "approximate randomization")


def mcnemar(
    a_correct: ArrayLike, b_correct: ArrayLike, n: int = 10_000, seed: int = 0, level: float = 0.95
) -> PairedTest:
    """McNemar's exact test: of the examples that only one system gets right, is it either one equally often?

    `a_correct`, `b_correct`: `[N]`, whether each example is right (booleans or 0/1). The interval of the difference in
    accuracy is the paired bootstrap's, from `n` resamples.
    """
    difference = _difference(a_correct, b_correct)
    if not np.isin(np.stack([np.asarray(a_correct), np.asarray(b_correct)]), (0, 1)).all():
        raise DataError("McNemar's test is for right and wrong answers, that is 1 and 0")
    _check_level(level)
    _check_resamples(n)
    only_a, only_b = int((difference > 0).sum()), int((difference < 0).sum())
    interval = _percentiles(_resampled_means(difference, n, seed), level)
    p_value = _sign_test(min(only_a, only_b), only_a + only_b)
    return PairedTest(float(difference.mean()), interval, p_value, difference.size, "McNemar exact")


def _sign_test(smaller: int, total: int) -> float:
    """min(1, 2·P(X <= smaller)) for X ~ Binomial(total, 1/2), in exact integers."""
    term = tail = 1
    for k in range(smaller):
        term = term * (total - k) // (k + 1)
        tail += term
    return min(1.0, 2 * tail / (1 << total))


def _resampled_means(values: Floats, n: int, seed: int) -> Floats:
    return np.concatenate([values[index].mean(1) for index in _resamples(values.size, n, seed)])


def _resamples(rows: int, n: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Blocks `[n', rows]` of row indices drawn with replacement, `n` resamples in all."""
    generator = np.random.default_rng(seed)
    for size in _blocks(rows, n):
        yield generator.integers(0, rows, size=(size, rows))


def _blocks(rows: int, n: int) -> Iterator[int]:
    step = max(1, _CELLS // max(1, rows))
    for start in range(0, n, step):
        yield min(step, n - start)


def _percentiles(drawn: Floats, level: float) -> Interval:
    low, high = np.quantile(drawn, ((1 - level) / 2, (1 + level) / 2))
    return Interval(float(low), float(high), level)


def _difference(a: ArrayLike, b: ArrayLike) -> Floats:
    first, second = _scores(a, "examples"), _scores(b, "examples")
    if first.shape != second.shape:
        raise DataError(
            f"a paired test needs the same examples twice, not {first.size} and {second.size}",
            do="evaluate both on the same rows, in the same order",
        )
    return first - second


def _slack(values: Floats) -> float:
    """Differences of a mean that are rounding, so that a tie counts as a tie."""
    return 1e-12 * float(np.abs(values).max())


def _scores(values: ArrayLike, what: str, ndim: tuple[int, ...] = (1,)) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim not in ndim:
        raise ValueError(f"scores of shape {array.shape}; expected {' or '.join(map(str, ndim))} dimension(s)")
    if not len(array):
        raise DataError(f"there are no {what} to compare")
    if not np.isfinite(array).all():
        raise DataError(f"the scores of the {what} are not all finite numbers", do="look for a run that diverged")
    return array


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"a confidence level lies between 0 and 1, not {level}")


def _check_resamples(n: int) -> None:
    if n < 1:
        raise ValueError(f"the number of resamples is at least 1, not {n}")
