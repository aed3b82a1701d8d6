"""Ranks against sorting, their treatment of ties, and the baseline against the classification baseline's accuracy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.errors import DataError
from foreword.evaluation import baselines, ranks


@st.composite
def tables(draw):
    """Rows of few different scores, so that many tie; lists of their own length."""
    drawn = draw(
        st.lists(st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0]), min_size=1), min_size=1, max_size=8)
    )
    return drawn, [draw(st.integers(0, len(row) - 1)) for row in drawn]


def sorted_rank(row, gold):
    """The place after sorting from high to low, the right one behind all that score the same."""
    order = sorted(range(len(row)), key=lambda i: (-row[i], i == gold))
    return order.index(gold) + 1


@settings(max_examples=100, deadline=None)
@given(tables())
def test_ranks_are_places_after_sorting(drawn):
    scores, gold = drawn
    expected = [sorted_rank(row, place) for row, place in zip(scores, gold, strict=True)]
    assert ranks.ranks(scores, gold).tolist() == expected
    by_row = ranks.rows(scores, gold)
    assert by_row["p_at_1"] == [float(rank == 1) for rank in expected]
    assert by_row["p_at_10"] == [float(rank <= 10) for rank in expected]
    assert by_row["mrr"] == pytest.approx([1 / rank for rank in expected])
    found = ranks.score(scores, gold)
    assert found == pytest.approx({name: sum(values) / len(gold) for name, values in by_row.items()})
    assert found["p_at_1"] <= found["mrr"] <= 1 and found["p_at_1"] <= found["p_at_10"]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 12), st.randoms(use_true_random=False))
def test_the_order_of_candidates_and_rising_functions_do_not_matter(n, candidates, random):
    scores = np.array([[random.choice([-2.0, 0.0, 1.0, 3.0]) for _ in range(candidates)] for _ in range(n)])
    gold = np.array([random.randrange(candidates) for _ in range(n)])
    order = np.array(random.sample(range(candidates), candidates))
    moved = np.argsort(order)[gold]  # where each right candidate went
    assert ranks.score(np.exp(scores)[:, order], moved) == ranks.score(scores, gold)


def test_a_model_that_knows_nothing_comes_last():
    assert ranks.ranks(np.zeros((2, 12)), [0, 5]).tolist() == [12, 12]
    assert ranks.score(np.zeros((2, 12)), [0, 5]) == {"p_at_1": 0.0, "p_at_10": 0.0, "mrr": pytest.approx(1 / 12)}


def test_one_tie_costs_one_rank():
    assert ranks.ranks([[1.0, 3.0, 3.0, 0.0]], [1]).tolist() == [2]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 14), min_size=1, max_size=30), st.lists(st.integers(0, 14), min_size=1, max_size=10))
def test_majority_names_the_frequent_first(train, gold):
    found = ranks.majority_scores(train, gold, 15)
    assert found["p_at_1"] == pytest.approx(baselines.majority_scores(train, gold, 15, ["accuracy"])["accuracy"])
    scores = [train.count(c) - c / 100 for c in range(15)]  # of equally frequent ones the first
    assert found == pytest.approx(ranks.score([scores] * len(gold), gold))


def test_majority_by_hand():
    found = ranks.majority_scores([2, 2, 1], [2, 1, 0, 2], 4)  # ranks 1, 2, 3, 1
    assert found == {"p_at_1": 0.5, "p_at_10": 1.0, "mrr": pytest.approx((1 + 1 / 2 + 1 / 3 + 1) / 4)}


@pytest.mark.parametrize(
    ("scores", "gold", "error", "message"),
    [
        ([], [], DataError, "no rows"),
        ([[1.0]], [0, 0], DataError, "1 rows for 2"),
        ([[1.0, 2.0], [0.0, float("nan")]], [0, 0], DataError, "row 1"),
        ([[1.0, 2.0]], [2], ValueError, "candidate 2"),
        ([[1.0, 2.0]], [-1], ValueError, "candidate -1"),
        ([[1.0, 2.0]], [0.0], ValueError, "1-D array of integers"),
        ([[[1.0], [2.0]]], [0], ValueError, "shape"),
    ],
)
def test_mistakes_are_named(scores, gold, error, message):
    with pytest.raises(error) as caught:
        ranks.score(scores, gold)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("train", "gold", "error", "message"),
    [
        ([], [0], DataError, "training"),
        ([0], [], DataError, "evaluated"),
        ([0, 3], [0], ValueError, "0 … 2"),
        ([0], [-1], ValueError, "0 … 2"),
    ],
)
def test_mistakes_of_the_baseline_are_named(train, gold, error, message):
    with pytest.raises(error, match=message):
        ranks.majority_scores(train, gold, 3)
