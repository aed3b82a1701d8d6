from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from foreword.evaluation.statistics import Interval
from foreword.stories.diversity import intervals, likeness, measures
from foreword.stories.diversity.base import Measure, count
from foreword.stories.diversity.corpus import Sample
from foreword.stories.diversity.intervals import Estimate


def by_kind(kinds: list[int]) -> Sample:
    """Stories of so many kinds: those of one kind are the same, others have nothing in common."""
    table = np.equal.outer(np.array(kinds), np.array(kinds)).astype(float)
    words = tuple((str(kind),) for kind in kinds)
    return Sample(tuple(map(str, kinds)), words, {"words": table}, {"words": table})


VENDI = measures.get("vendi_words")


def test_subsets_are_all_or_so_many_drawn():
    assert intervals.subsets(4, 3, 60, 0) == list(itertools.combinations(range(4), 3))
    drawn = intervals.subsets(30, 8, 60, 0)
    assert len(drawn) == len(set(drawn)) == 60
    assert all(len(set(one)) == 8 and max(one) < 30 for one in drawn)
    assert drawn == intervals.subsets(30, 8, 60, 0) != intervals.subsets(30, 8, 60, 1)


def test_more_stories_than_are_compared_are_averaged_over_subsets():
    sample = by_kind([0, 0, 1, 2])
    found = intervals.estimate(VENDI, sample, 3)
    three, two = 3.0, math.exp(-(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3)))
    assert found.value == pytest.approx((2 * three + 2 * two) / 4)
    assert found.n == 3
    whole = intervals.estimate(VENDI, sample, 4)
    assert found.error is not None and whole.error is not None


def test_the_jackknife_by_hand():
    values = [1.0, 2.0, 6.0]
    found = intervals.jackknife(lambda indices: sum(values[i] for i in indices) / len(indices), range(3))
    without = np.array([4.0, 3.5, 1.5])
    assert found == pytest.approx(((without - 3) ** 2).sum())


def test_an_interval_is_cut_to_what_the_measure_can_be():
    found = intervals.estimate(VENDI, by_kind([0, 0, 0, 1]), 4)
    assert found.interval is not None
    assert found.interval.low == 1 and found.interval.high <= 4
    assert intervals.estimate(VENDI, by_kind([0, 1]), 2).interval is None


def simulated(kinds: int, n: int, runs: int) -> tuple[float, float, float, float]:
    """The true mean; the mean of naive bootstraps; the share of their intervals, and of ours, that hold the truth."""
    chance = np.random.default_rng(5)
    shares = 1 / np.arange(1, kinds + 1)
    shares /= shares.sum()

    def vendi_of(drawn: np.ndarray) -> np.ndarray:
        counts = (drawn[..., None] == np.arange(kinds)).sum(-2) / drawn.shape[-1]
        return np.exp(-np.where(counts > 0, counts * np.log(np.where(counts > 0, counts, 1)), 0).sum(-1))

    truth = float(vendi_of(chance.choice(kinds, size=(20_000, n), p=shares)).mean())
    drawn = chance.choice(kinds, size=(runs, n), p=shares)
    resampled = vendi_of(drawn[np.arange(runs)[:, None, None], chance.integers(0, n, size=(runs, 200, n))])
    low, high = np.quantile(resampled, [0.025, 0.975], axis=1)
    ours = [intervals.estimate(VENDI, by_kind(one), n).interval for one in drawn[:300].tolist()]
    held = [one is not None and one.low - 1e-9 <= truth <= one.high + 1e-9 for one in ours]
    return truth, float(resampled.mean()), float(((low <= truth) & (truth <= high)).mean()), float(np.mean(held))


def test_the_bootstrap_of_stories_is_wrong_and_the_jackknife_is_not():
    """8 stories of 30 kinds, the commoner ones more often; kinds have nothing in common, so Vendi is by hand."""
    truth, bootstrap, covered, ours = simulated(kinds=30, n=8, runs=400)
    assert bootstrap < 0.75 * truth, "copies in a resample are taken for sameness of the stories"
    assert covered < 0.8, "so most intervals that claim 95 % are too low"
    assert ours > 0.85


@pytest.mark.slow
def test_the_jackknife_covers_with_more_stories():
    truth, _, covered, ours = simulated(kinds=30, n=20, runs=400)
    assert covered < 0.7
    assert ours > 0.92


def test_all_different_stories_have_an_interval_without_width():
    found = intervals.estimate(VENDI, by_kind(list(range(6))), 6)
    assert found.interval == Interval(pytest.approx(6), pytest.approx(6), 0.95)


def test_several_specs_are_the_sample():
    some = [Estimate(value, 8, 0.5, 7, Interval(1, 8, 0.95)) for value in (2.0, 3.0, 4.0)]
    found = intervals.over_specs(some, (1, 8))
    half = 4.302653 * 1 / math.sqrt(3)
    assert (found.value, found.df) == (3, 2)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((max(1, 3 - half), 3 + half), abs=1e-4)
    assert intervals.over_specs(some[:1], (1, 8)) == some[0]


def test_differences_are_paired_over_specs():
    steps = [Estimate(value, 8, 0.5, 7) for value in (2.0, 4.0, 6.0)]
    higher = [Estimate(one.value + 1 + 0.1 * i, 8, 0.5, 7) for i, one in enumerate(steps)]
    found = intervals.difference(higher, steps)
    assert found.value == pytest.approx(1.1)
    assert found.clear and "3 specs" in found.how, "specs differ by far more than the approaches do"
    back = intervals.difference(steps, higher)
    assert back.value == pytest.approx(-1.1)
    assert back.interval is not None and found.interval is not None
    assert back.interval.low == pytest.approx(-found.interval.high)


def test_differences_of_one_spec_add_the_errors():
    one, other = [Estimate(5.0, 8, 0.3, 7)], [Estimate(4.0, 8, 0.4, 7)]
    found = intervals.difference(one, other)
    assert found.interval is not None
    assert found.interval.high - found.value == pytest.approx(2.364624 * 0.5, abs=1e-4)
    assert not found.clear
    assert intervals.difference([Estimate(5.0, 2)], other).interval is None
    assert not intervals.difference([Estimate(0.2, 8, 0.0, 7)], [Estimate(0.1, 8, 0.0, 7)]).clear


def test_any_measure_that_ignores_order_can_be_estimated():
    spread = Measure("size", "size", "higher", count, "", "", lambda sample: float(len(sample)))
    found = intervals.estimate(spread, by_kind([0, 1, 1, 2]), 3)
    assert (found.value, found.error) == (3, 0)
    assert likeness.vendi(by_kind([0, 1]).kernels["words"]) == pytest.approx(2)
