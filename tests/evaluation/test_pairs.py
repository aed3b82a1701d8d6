"""All pairs of many systems at once: each as by itself, Holm's correction, and how often nothing is found to differ."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.errors import DataError
from foreword.evaluation import statistics


def test_each_pair_is_tested_as_by_itself(monkeypatch):
    scores = np.random.default_rng(0).integers(0, 2, size=(4, 120)).astype(float)
    monkeypatch.setattr(statistics, "_CELLS", 10_000)  # several blocks
    found = statistics.bootstrap_pairs(scores, n=500, seed=3)
    assert list(found) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    for (i, j), test in found.items():
        alone = statistics.paired_bootstrap(scores[i], scores[j], n=500, seed=3)
        assert (test.difference, test.p_value, test.n) == pytest.approx((alone.difference, alone.p_value, alone.n))
        assert (test.interval.low, test.interval.high) == pytest.approx((alone.interval.low, alone.interval.high))


def test_exchanges_of_all_pairs_agree_with_each_by_itself_and_with_scipy():
    generator = np.random.default_rng(3)
    scores = generator.normal(0, 1, size=(3, 40)) + np.array([[0.4], [0.0], [0.1]])
    found = statistics.randomization_pairs(scores)
    for (i, j), p_value in found.items():
        assert p_value == pytest.approx(statistics.approximate_randomization(scores[i], scores[j]).p_value, abs=0.02)
    theirs = scipy.stats.permutation_test(
        (scores[0], scores[1]), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=10_000,
        rng=generator,
    )  # fmt: skip
    assert found[0, 1] == pytest.approx(theirs.pvalue, abs=0.015)


def _ratio(counts):
    return float(counts[:, 0].sum() / counts[:, 1].sum())


def _quick_ratio(counts):
    return float(counts[0, 0] / counts[0, 1])


def test_each_pair_of_a_corpus_metric_is_tested_as_by_itself():
    generator = np.random.default_rng(1)
    systems = [[generator.integers(1, 9, size=(50, 2)) for _ in range(runs)] for runs in (1, 3, 2)]
    found = statistics.corpus_bootstrap_pairs(systems, _ratio, n=200, seed=5)
    for (i, j), test in found.items():
        alone = statistics.paired_corpus_bootstrap(systems[i], systems[j], _ratio, n=200, seed=5)
        assert (test.difference, test.p_value) == pytest.approx((alone.difference, alone.p_value))
        assert (test.interval.low, test.interval.high) == pytest.approx((alone.interval.low, alone.interval.high))


def test_equal_systems_are_a_tie_in_all_pairs():
    one = np.random.default_rng(2).normal(size=300)
    assert {t.p_value for t in statistics.bootstrap_pairs([one, one, one.copy()], n=99).values()} == {1.0}
    assert set(statistics.randomization_pairs([one, one, one.copy()], n=99).values()) == {1.0}


@pytest.mark.parametrize("test", [statistics.bootstrap_pairs, statistics.randomization_pairs])
def test_one_system_makes_no_pair_and_other_examples_are_refused(test):
    assert test([[1.0, 0.0]]) == {} == test([])
    with pytest.raises(DataError, match="same examples"):
        test([[1.0, 0.0], [1.0]])


def test_corpus_pairs_of_other_examples_are_refused():
    one = np.ones((4, 2))
    with pytest.raises(DataError, match="same examples"):
        statistics.corpus_bootstrap_pairs([[one], [one[:3]]], _ratio)
    with pytest.raises(DataError, match="same examples"):
        statistics.corpus_bootstrap_pairs([[one], []], _ratio)


def test_holm_gives_the_textbook_values():
    # By hand: 0.01·4 = 0.04; 0.013·3 = 0.039 -> 0.04; 0.02·2 = 0.04; 0.04·1 -> 0.04.
    assert statistics.holm([0.01, 0.04, 0.013, 0.02]) == pytest.approx([0.04, 0.04, 0.04, 0.04])
    # Holm's own order of steps: the smallest by m, the next by m - 1, …, and never above 1.
    assert statistics.holm([0.5, 0.001, 0.02]) == pytest.approx([0.5, 0.003, 0.04])
    assert statistics.holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert statistics.holm([]).size == 0
    with pytest.raises(ValueError, match="between 0 and 1"):
        statistics.holm([1.2])


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_lies_between_the_value_and_bonferroni(values):
    found = statistics.holm(values)
    assert all(p <= q + 1e-12 and q <= min(1.0, p * len(values)) + 1e-12 for p, q in zip(values, found, strict=True))
    order = np.argsort(values, kind="stable")
    assert (np.diff(found[order]) >= 0).all()


def _worlds(count, rows, seeds, kind, seed):
    """Two systems that do not differ, in many worlds: some rows are hard for both. A score is a mean over the seeds."""
    generator = np.random.default_rng(seed)
    for _ in range(count):
        shown = generator.normal(size=rows) + generator.normal(size=(2, seeds, rows))
        yield (shown > 0 if kind == "accuracy" else shown).astype(float).mean(1)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "seeds"), [("accuracy", 3), ("graded", 1)])
def test_under_the_null_one_in_twenty_is_found(kind, seeds):
    boot, exchanged = [], []
    for world, scores in enumerate(_worlds(4000, 200, seeds, kind, 11)):
        boot.append(statistics.bootstrap_pairs(scores, n=399, seed=world)[0, 1].p_value <= 0.05)
        exchanged.append(statistics.randomization_pairs(scores, n=399, seed=world)[0, 1] <= 0.05)
    assert np.mean(boot) == pytest.approx(0.05, abs=0.01)
    assert np.mean(exchanged) == pytest.approx(0.05, abs=0.01)


@pytest.mark.slow
def test_exchanges_of_one_runs_right_and_wrong_answers_err_on_the_safe_side():
    """Few rows differ, so few values of the difference can occur: an exact test then finds less than one in twenty."""
    scores = _worlds(3000, 200, 1, "accuracy", 15)
    found = [statistics.randomization_pairs(s, n=399, seed=k)[0, 1] <= 0.05 for k, s in enumerate(scores)]
    assert 0.03 <= np.mean(found) <= 0.055


@pytest.mark.slow
def test_under_the_null_a_corpus_metric_is_found_once_in_twenty():
    generator = np.random.default_rng(12)
    rejected = []
    for world in range(3000):
        counts = generator.binomial(20, 0.3, size=(2, 1, 150, 1))
        systems = np.concatenate([counts, np.full_like(counts, 20)], axis=-1).astype(float)
        found = statistics.corpus_bootstrap_pairs(list(systems), _quick_ratio, n=199, seed=world)
        rejected.append(found[0, 1].p_value <= 0.05)
    assert np.mean(rejected) == pytest.approx(0.05, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("runs", [2, 3, 5, 10])
def test_intervals_over_seeds_cover_the_mean_as_often_as_they_say(runs):
    values = np.random.default_rng(runs).normal(0.8, 0.02, size=(8000, runs))
    intervals = [statistics.mean_interval(row) for row in values]
    covered = np.mean([i.low <= 0.8 <= i.high for i in intervals])
    assert covered == pytest.approx(0.95, abs=0.015)


@pytest.mark.slow
def test_intervals_over_examples_cover_the_mean_as_often_as_they_say():
    generator = np.random.default_rng(13)
    values = (generator.random(size=(3000, 300)) < 0.8).astype(float)
    covered = [(i := statistics.bootstrap_interval(row, n=399, seed=k)).low <= 0.8 <= i.high
               for k, row in enumerate(values)]  # fmt: skip
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


@pytest.mark.slow
def test_intervals_of_paired_differences_cover_the_difference_as_often_as_they_say():
    generator = np.random.default_rng(14)
    covered = []
    for world in range(3000):
        scores = (generator.random(size=(2, 300)) < np.array([[0.8], [0.7]])).astype(float)
        interval = statistics.bootstrap_pairs(scores, n=399, seed=world)[0, 1].interval
        covered.append(interval.low <= 0.1 <= interval.high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)
