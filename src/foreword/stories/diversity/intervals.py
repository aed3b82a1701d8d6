"""How sure a measure of variety is: at a common number of stories, and with an interval that does not lie.

A bootstrap of stories does not work here. About a third of a resample's stories are copies of others in it, and a story
and its copy are one to every measure of variety: where most of 8 stories differ, resampled Vendi scores lie around two
thirds of the true value, and their intervals often leave it out (`tests/stories/test_variety_intervals.py`). So nothing
is drawn with replacement here:

- the value is the mean of the measure over subsets of m of the N stories (all, or so many drawn), which is unbiased for
  what m new stories would give
- its variance is bounded by the jackknife: the sum over the m stories of the squared deviation of what is measured
  without each is on average not below the variance of m - 1 stories' measure, for any measure that ignores their order
  (Efron and Stein 1981), and a mean over subsets of N has at most m/N of that (Hoeffding 1948, theorem 5.2)
- the interval is Student's with m - 1 degrees of freedom, cut to what the measure can be

Where no story is like another at all, leaving one out changes every value alike and the interval has no width: then it
says as little as "0 of 8" does.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from foreword.errors import ForewordError
from foreword.evaluation.statistics import Interval, mean_interval
from foreword.stories.diversity.base import Measure
from foreword.stories.diversity.corpus import Sample

SUBSETS = 60
"""Subsets over which a value is averaged, where there are more."""
SPREAD = 6
"""Subsets of which the jackknife is computed and averaged."""
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A measure of `n` stories: its `value`, the standard `error`, `df` degrees of freedom, and the `interval`.

    `interval`, `error`: None where there are too few stories for one.
    """

    value: float
    n: int
    error: float | None = None
    df: int = 0
    interval: Interval | None = None


@dataclass(frozen=True)
class Difference:
    """One approach minus another: `value`, its interval (None where stories are too few), and how it was found."""

    value: float
    interval: Interval | None
    how: str

    @property
    def clear(self) -> bool:
        """Whether 0 lies outside of the interval; an interval without width says nothing (see above)."""
        between = self.interval
        return between is not None and between.low < between.high and not between.low <= 0 <= between.high


def estimate(measure: Measure, sample: Sample, n: int, seed: int = 0) -> Estimate:
    """`measure` of `n` of the sample's stories, 2 <= n <= N, by the rules above; no interval for fewer than three."""

    def of(indices: Sequence[int]) -> float:
        return measure.value(sample.take(indices))

    chosen = subsets(len(sample), n, SUBSETS, seed)
    value = sum(of(one) for one in chosen) / len(chosen)
    if n < 3:
        return Estimate(value, n)
    variance = sum(jackknife(of, one) for one in chosen[:SPREAD]) / min(SPREAD, len(chosen))
    error = math.sqrt(variance * n / len(sample))
    return Estimate(value, n, error, n - 1, _student(value, error, n - 1, measure.bounds(n)))


def jackknife(of: Callable[[Sequence[int]], float], indices: Sequence[int]) -> float:
    """The sum of squared deviations of what `of` gives without each of the indices (Efron and Stein 1981)."""
    without = np.array([of([*indices[:i], *indices[i + 1 :]]) for i in range(len(indices))])
    return float(((without - without.mean()) ** 2).sum())


def subsets(total: int, n: int, most: int, seed: int) -> list[tuple[int, ...]]:
    """All subsets of `n` of `total` numbers where they are at most `most`, else so many drawn, none of them twice."""
    if math.comb(total, n) <= most:
        return list(itertools.combinations(range(total), n))
    generator = np.random.default_rng(seed)
    found: dict[tuple[int, ...], None] = {}
    while len(found) < most:
        found[tuple(sorted(generator.choice(total, n, replace=False).tolist()))] = None
    return list(found)


def over_specs(values: Sequence[Estimate], bounds: tuple[float, float]) -> Estimate:
    """The mean of a measure over specs: of one spec its own estimate, of several Student's interval over the specs."""
    if len(values) == 1:
        return values[0]
    numbers = [one.value for one in values]
    found = mean_interval(numbers, LEVEL)
    interval = Interval(max(found.low, bounds[0]), min(found.high, bounds[1]), LEVEL)
    error = float(np.std(numbers, ddof=1)) / math.sqrt(len(numbers))
    return Estimate(sum(numbers) / len(numbers), values[0].n, error, len(numbers) - 1, interval)


def difference(a: Sequence[Estimate], b: Sequence[Estimate]) -> Difference:
    """a - b, whose estimates are of the same specs in the same order.

    With three specs or more: paired, Student's interval over the specs' differences. With fewer, the errors of both
    sides add up.
    """
    values = [one.value - other.value for one, other in zip(a, b, strict=True)]
    value = sum(values) / len(values)
    if len(values) >= 3:
        return Difference(value, mean_interval(values, LEVEL), f"paired over {len(values)} specs")
    errors = [one.error for one in (*a, *b)]
    if any(error is None for error in errors):
        return Difference(value, None, "too few stories for an interval")
    error = math.sqrt(sum((error or 0.0) ** 2 for error in errors)) / len(values)
    df = min(one.df for one in (*a, *b))
    return Difference(value, _student(value, error, df), "jackknife errors of both sides")


def _student(value: float, error: float, df: int, bounds: tuple[float, float] = (-math.inf, math.inf)) -> Interval:
    try:
        from scipy.special import stdtrit
    except ImportError:
        raise ForewordError("an interval needs scipy", do="pip install 'foreword[eval]'") from None
    half = float(stdtrit(df, (1 + LEVEL) / 2)) * error
    return Interval(max(value - half, bounds[0]), min(value + half, bounds[1]), LEVEL)
