"""How sure a difference is: intervals over seeds and over examples, and paired tests of two systems.

Paired tests take the two systems' scores **of the same examples in the same order**. All are two-sided, and exchanging
the systems changes nothing but the sign of the difference. `bootstrap_pairs` and `randomization_pairs` do the same for
all pairs of many systems at once; `holm` corrects for their number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foreword.errors import DataError, ForewordError

Floats = NDArray[np.float64]
Pair = tuple[int, int]
"""Two systems, by their places in a list."""

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


def wilson(held: int, total: int) -> Interval:
    """Wilson's 95% interval (1927) of the share `held` of `total`, which has a width where all or none hold, too."""
    z = 1.959964
    middle = (held + z * z / 2) / (total + z * z)
    half = z / (total + z * z) * math.sqrt(held * (total - held) / total + z * z / 4)
    return Interval(max(0.0, middle - half), min(1.0, middle + half), 0.95)


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
    return _bootstrapped(float(difference.mean()), drawn, _slack(difference), difference.size, level)


def paired_corpus_bootstrap(
    a: Sequence[ArrayLike],
    b: Sequence[ArrayLike],
    statistic: Callable[[Floats], float],
    n: int = 10_000,
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
    return _bootstrapped(difference(slice(None)), drawn, 0.0, size, level)


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


def bootstrap_pairs(
    systems: Sequence[ArrayLike], n: int = 10_000, seed: int = 0, level: float = 0.95
) -> dict[Pair, PairedTest]:
    """`paired_bootstrap` of every two of S systems, over the same resamples: what each pair gives by itself.

    `systems`: `[S, N]`, each example's score by system. The key `(i, j)`, i < j, holds i minus j.
    """
    pairs, differences = _differences(systems)
    _check_level(level)
    _check_resamples(n)
    if not pairs:
        return {}
    size = len(differences)
    drawn = np.concatenate([_times_drawn(block) @ differences for block in _resamples(size, n, seed)]) / size
    made = (
        _bootstrapped(float(own.mean()), means, _slack(own), size, level)
        for own, means in zip(differences.T, drawn.T, strict=True)
    )
    return dict(zip(pairs, made, strict=True))


def corpus_bootstrap_pairs(
    systems: Sequence[Sequence[ArrayLike]],
    statistic: Callable[[Floats], float],
    n: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[Pair, PairedTest]:
    """`paired_corpus_bootstrap` of every two of S systems, over the same resamples.

    `systems`: for each system one array `[N, K]` of the examples' counts for each run. `statistic` has to be a function
    of the summed counts. The key `(i, j)`, i < j, holds i minus j.
    """
    runs = [[_scores(one, "examples", ndim=(2,)) for one in own] for own in systems]
    if not all(runs) or len({len(one) for own in runs for one in own}) > 1:
        raise DataError("a paired test needs the same examples of all systems", do="evaluate all on the same rows")
    _check_level(level)
    _check_resamples(n)
    if not runs:
        return {}
    size = len(runs[0][0])
    drawn = np.zeros((n, len(runs)))
    done = 0
    for block in _resamples(size, n, seed):
        times = _times_drawn(block)
        for i, own in enumerate(runs):
            values = [[statistic(total[None]) for total in times @ one] for one in own]
            drawn[done : done + len(block), i] = np.mean(values, axis=0)
        done += len(block)
    observed = [float(np.mean([statistic(one.sum(0)[None]) for one in own])) for own in runs]
    return {
        (i, j): _bootstrapped(observed[i] - observed[j], drawn[:, i] - drawn[:, j], 0.0, size, level)
        for i, j in _pairs(len(runs))
    }


def randomization_pairs(systems: Sequence[ArrayLike], n: int = 10_000, seed: int = 0) -> dict[Pair, float]:
    """The p values of `approximate_randomization` of every two of S systems, which share their random exchanges.

    `systems`: `[S, N]`, each example's score by system. The key is `(i, j)`, i < j.
    """
    pairs, differences = _differences(systems)
    _check_resamples(n)
    if not pairs:
        return {}
    size = len(differences)
    observed = np.abs(differences.sum(0)) - size * np.array([_slack(own) for own in differences.T])
    generator = np.random.default_rng(seed)
    extreme = np.zeros(len(pairs), dtype=np.int64)
    for block in _blocks(size, n):
        signs = generator.integers(0, 2, size=(block, size), dtype=np.int8) * 2.0 - 1.0
        extreme += (np.abs(signs @ differences) >= observed).sum(0)
    return {pair: float((1 + count) / (1 + n)) for pair, count in zip(pairs, extreme, strict=True)}


def holm(p_values: ArrayLike) -> Floats:
    """P values corrected for their number m (Holm 1979): those at or below 0.05 hold together at 0.05.

    The k-th smallest is multiplied by m - k + 1; none comes below one that was smaller, or above 1. `[m]`.
    """
    p = _scores(p_values, "tests") if np.size(p_values) else np.zeros(0)
    if p.size and not (0 <= p.min() and p.max() <= 1):
        raise ValueError("p values lie between 0 and 1")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, stepped)
    return adjusted


def _bootstrapped(observed: float, drawn: Floats, slack: float, size: int, level: float) -> PairedTest:
    tail = min(int((drawn <= slack).sum()), int((drawn >= -slack).sum()))
    p_value = min(1.0, 2 * (tail + 1) / (len(drawn) + 1))
    return PairedTest(float(observed), _percentiles(drawn, level), p_value, size, "paired bootstrap")


def _times_drawn(block: NDArray[np.int64]) -> Floats:
    """How often each row was drawn, `[n', rows]`, from the drawn indices `[n', rows]`."""
    several, rows = block.shape
    shifted = block + rows * np.arange(several)[:, None]
    return np.bincount(shifted.ravel(), minlength=several * rows).reshape(block.shape).astype(np.float64)


def _pairs(systems: int) -> list[Pair]:
    return [(i, j) for i in range(systems) for j in range(i + 1, systems)]


def _differences(systems: Sequence[ArrayLike]) -> tuple[list[Pair], Floats]:
    """Every pair, and its examples' differences as a column `[N, pairs]`."""
    pairs = _pairs(len(systems))
    columns = [_difference(systems[i], systems[j]) for i, j in pairs]
    return pairs, np.stack(columns, axis=1) if columns else np.zeros((0, 0))


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
