"""The baselines against what they claim to be: a constant answer, and a guesser."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.errors import DataError
from foreword.evaluation import baselines, metrics

labels = st.lists(st.integers(0, 2), min_size=1, max_size=30)


@settings(max_examples=50, deadline=None)
@given(labels, labels)
def test_majority_scores_are_those_of_the_constant_answer(train, targets):
    answer = baselines.majority(train, 3)
    assert train.count(answer) == max(train.count(c) for c in range(3))
    assert baselines.majority_scores(train, targets, 3) == pytest.approx(
        metrics.score(np.full(len(targets), answer), targets, 3)
    )


def test_a_tie_goes_to_the_lowest_index():
    assert baselines.majority([2, 1, 1, 2], 3) == 1


def test_random_scores_are_those_of_many_guesses():
    train, targets = [0] * 30 + [1] * 70, [0] * 400 + [1] * 600
    generator = np.random.default_rng(0)
    guesses = [metrics.score(generator.choice(2, size=1000, p=[0.3, 0.7]), targets, 2) for _ in range(300)]
    for name, value in baselines.random_scores(train, targets, 2).items():
        assert value == pytest.approx(np.mean([g[name] for g in guesses]), abs=5e-3)


def test_nothing_to_count_is_told():
    with pytest.raises(DataError, match="no training rows"):
        baselines.majority([], 2)
    with pytest.raises(DataError, match="no evaluated rows"):
        baselines.majority_scores([0, 1], [], 2)
    with pytest.raises(ValueError, match="0 … 1"):
        baselines.majority([0, 2], 2)
