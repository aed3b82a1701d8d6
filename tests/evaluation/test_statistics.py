"""The tests against scipy's, against simulations in which nothing differs, and against their symmetries."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.errors import DataError, ForewordError
from foreword.evaluation import statistics

TESTS = [statistics.paired_bootstrap, statistics.approximate_randomization, statistics.mcnemar]
right = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=2, max_size=40)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-10, 10), min_size=2, max_size=8), st.sampled_from([0.5, 0.9, 0.95]))
def test_mean_interval_is_students(values, level):
    interval = statistics.mean_interval(values, level)
    half = scipy.stats.t.ppf((1 + level) / 2, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    assert interval.low == pytest.approx(np.mean(values) - half, abs=1e-9)
    assert interval.high == pytest.approx(np.mean(values) + half, abs=1e-9)
    assert interval.level == level


def test_mean_interval_covers_the_mean_as_often_as_it_says():
    runs = np.random.default_rng(0).normal(size=(3000, 3))
    covered = [(i := statistics.mean_interval(row)).low <= 0 <= i.high for row in runs]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.012)


@pytest.mark.parametrize(("held", "total"), [(0, 1), (20, 20), (3, 17), (160, 320)])
def test_wilson_is_scipys(held, total):
    theirs = scipy.stats.binomtest(held, total).proportion_ci(0.95, method="wilson")
    ours = statistics.wilson(held, total)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-6)


def test_bootstrap_interval_agrees_with_scipy():
    values = np.random.default_rng(1).exponential(size=80)
    for statistic in (None, np.std):
        ours = statistics.bootstrap_interval(values, statistic, n=4000)
        theirs = scipy.stats.bootstrap(
            (values,), statistic or np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(2)
        ).confidence_interval
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_the_quick_mean_is_the_mean():
    values = np.random.default_rng(1).normal(size=30)
    quick = statistics.bootstrap_interval(values, n=500, seed=3)
    slow = statistics.bootstrap_interval(values, np.mean, n=500, seed=3)
    assert (quick.low, quick.high) == pytest.approx((slow.low, slow.high))


def test_bootstrap_draws_whole_rows():
    pairs = np.repeat(np.arange(10.0)[:, None], 2, axis=1)
    interval = statistics.bootstrap_interval(pairs, lambda rows: float((rows[:, 0] == rows[:, 1]).mean()), n=50)
    assert (interval.low, interval.high) == (1.0, 1.0)


def test_blocks_are_all_the_resamples(monkeypatch):
    values = np.random.default_rng(0).normal(size=50)
    whole = statistics.approximate_randomization(values, np.zeros(50), n=1001)
    monkeypatch.setattr(statistics, "_CELLS", 700)
    assert sum(statistics._blocks(50, 1001)) == 1001
    assert statistics.approximate_randomization(values, np.zeros(50), n=1001).p_value == pytest.approx(
        whole.p_value, abs=0.05
    )


@settings(max_examples=60, deadline=None)
@given(right)
def test_mcnemar_is_the_exact_binomial_test(rows):
    a, b = np.array(rows).T
    only_a, only_b = int((a > b).sum()), int((b > a).sum())
    expected = scipy.stats.binomtest(only_a, only_a + only_b, 0.5).pvalue if only_a + only_b else 1.0
    assert statistics.mcnemar(a, b, n=10).p_value == pytest.approx(expected)


def test_mcnemar_of_many_examples_is_exact():
    a, b = np.repeat([1, 0], [2600, 2400]), np.repeat([0, 1], [2600, 2400])
    expected = scipy.stats.binomtest(2600, 5000, 0.5).pvalue
    assert statistics.mcnemar(a, b, n=10).p_value == pytest.approx(expected, rel=1e-9)


def test_randomization_agrees_with_scipy():
    generator = np.random.default_rng(3)
    a = generator.normal(0.35, 1.0, size=40)
    b = generator.normal(0.0, 1.0, size=40)
    ours = statistics.approximate_randomization(a, b)
    theirs = scipy.stats.permutation_test(
        (a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=10_000, rng=generator
    )
    assert ours.p_value == pytest.approx(theirs.pvalue, abs=0.012)
    assert ours.difference == pytest.approx(theirs.statistic)


@pytest.mark.parametrize("test", TESTS)
@settings(max_examples=30, deadline=None)
@given(rows=right)
def test_exchanging_the_systems_changes_only_the_sign(test, rows):
    a, b = np.array(rows).T
    one, other = test(a, b, n=200), test(b, a, n=200)
    assert one.difference == -other.difference
    assert one.p_value == other.p_value
    assert (one.interval.low, one.interval.high) == pytest.approx((-other.interval.high, -other.interval.low))
    assert one.interval.low <= one.interval.high
    assert 0 < one.p_value <= 1
    assert one.n == len(rows)


@pytest.mark.parametrize("test", TESTS)
def test_equal_systems_do_not_differ(test):
    a = [0, 1, 1, 0, 1]
    result = test(a, a)
    assert (result.difference, result.p_value) == (0.0, 1.0)
    assert (result.interval.low, result.interval.high) == (0.0, 0.0)


@pytest.mark.parametrize("test", TESTS)
def test_a_clear_difference_is_found(test):
    a, b = [1] * 30 + [0] * 10, [0] * 20 + [1] * 10 + [0] * 10
    result = test(a, b)
    assert result.difference == pytest.approx(0.5)
    assert result.p_value < 0.001
    assert result.interval.low > 0.25


@pytest.mark.parametrize("test", [statistics.paired_bootstrap, statistics.approximate_randomization])
def test_where_nothing_differs_one_in_twenty_is_found(test):
    generator = np.random.default_rng(5)
    scores = generator.normal(size=(2000, 2, 100))
    found = np.mean([test(a, b, n=199, seed=i).p_value <= 0.05 for i, (a, b) in enumerate(scores)])
    assert found == pytest.approx(0.05, abs=0.015)


def test_mcnemar_where_nothing_differs_finds_at_most_one_in_twenty():
    scores = np.random.default_rng(6).integers(0, 2, size=(2000, 2, 200))
    found = np.mean([statistics.mcnemar(a, b, n=1).p_value <= 0.05 for a, b in scores])
    assert 0.02 < found <= 0.05 + 0.01


def test_the_same_seed_gives_the_same_result():
    a, b = np.random.default_rng(0).normal(size=(2, 30))
    assert statistics.paired_bootstrap(a, b, n=300, seed=1) == statistics.paired_bootstrap(a, b, n=300, seed=1)
    assert statistics.paired_bootstrap(a, b, n=300, seed=1) != statistics.paired_bootstrap(a, b, n=300, seed=2)


def test_what_cannot_be_compared_is_told():
    with pytest.raises(DataError, match="at least two runs"):
        statistics.mean_interval([0.8])
    with pytest.raises(DataError, match="same examples twice, not 2 and 3"):
        statistics.paired_bootstrap([0, 1], [0, 1, 1])
    with pytest.raises(DataError, match="no examples"):
        statistics.bootstrap_interval([])
    with pytest.raises(DataError, match="not all finite"):
        statistics.approximate_randomization([0.0, float("nan")], [0.0, 1.0])
    with pytest.raises(DataError, match="right and wrong answers"):
        statistics.mcnemar([0.5, 0.5], [1, 0])
    with pytest.raises(ValueError, match="confidence level"):
        statistics.mean_interval([0.1, 0.2], level=95)
    with pytest.raises(ValueError, match="at least 1"):
        statistics.mcnemar([1], [0], n=0)


def test_without_scipy_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    with pytest.raises(ForewordError, match=r"foreword\[eval\]"):
        statistics.mean_interval([0.1, 0.2])


def _mean(counts):
    return float(counts[:, 0].sum() / counts[:, 1].sum())


def test_a_corpus_bootstrap_of_means_is_the_bootstrap_of_means():
    generator = np.random.default_rng(5)
    a, b = generator.normal(0.1, 1, 60), generator.normal(0, 1, 60)
    ones = np.ones(60)
    plain = statistics.paired_bootstrap(a, b, n=400, seed=3)
    corpus = statistics.paired_corpus_bootstrap(
        [np.stack([a, ones], 1)], [np.stack([b, ones], 1)], _mean, n=400, seed=3
    )
    assert corpus.difference == pytest.approx(plain.difference)
    assert (corpus.interval.low, corpus.interval.high) == pytest.approx((plain.interval.low, plain.interval.high))
    assert corpus.p_value == pytest.approx(plain.p_value) and corpus.n == 60


def test_a_corpus_bootstrap_averages_over_runs_and_finds_a_clear_difference():
    weights = np.arange(1.0, 41.0)
    runs = [np.stack([weights * share, weights], 1) for share in (0.5, 0.7)]
    other = np.stack([weights * 0.4, weights], 1)
    found = statistics.paired_corpus_bootstrap(runs, [other], _mean, n=200)
    assert found.difference == pytest.approx(0.2)
    assert found.p_value == pytest.approx(2 / 201)
    with pytest.raises(DataError, match="same examples"):
        statistics.paired_corpus_bootstrap(runs, [other[:-1]], _mean)
    with pytest.raises(DataError, match="same examples"):
        statistics.paired_corpus_bootstrap([], [other], _mean)
