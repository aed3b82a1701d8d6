"""The metrics against scikit-learn, and their conventions where it warns."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.errors import ConfigError
from foreword.evaluation import metrics


@st.composite
def answers(draw, classes: int = 4):
    n_classes = draw(st.integers(2, classes))
    pair = st.tuples(st.integers(0, n_classes - 1), st.integers(0, n_classes - 1))
    rows = np.array(draw(st.lists(pair, min_size=1, max_size=40)))
    return rows[:, 0], rows[:, 1], n_classes


@settings(max_examples=60, deadline=None)
@given(answers())
def test_agrees_with_scikit_learn(drawn):
    predictions, targets, n_classes = drawn
    assert metrics.accuracy(predictions, targets) == pytest.approx(sk.accuracy_score(targets, predictions))
    macro = sk.f1_score(targets, predictions, average="macro", zero_division=0)
    assert metrics.macro_f1(predictions, targets) == pytest.approx(macro)
    if len(np.unique(targets)) > 1 and len(np.unique(predictions)) > 1:
        assert metrics.mcc(predictions, targets) == pytest.approx(sk.matthews_corrcoef(targets, predictions))
    else:  # 0/0, where scikit-learn's answer has changed between releases
        assert metrics.mcc(predictions, targets) == 0.0
    labels = list(range(n_classes))
    expected = sk.confusion_matrix(targets, predictions, labels=labels)
    np.testing.assert_array_equal(metrics.confusion(predictions, targets, n_classes), expected)


@settings(max_examples=60, deadline=None)
@given(answers(2), st.sampled_from([0, 1]))
def test_binary_f1_agrees_with_scikit_learn(drawn, positive):
    predictions, targets, _ = drawn
    expected = sk.f1_score(targets, predictions, labels=[positive], average="macro", zero_division=0)
    assert metrics.f1(predictions, targets, positive) == pytest.approx(expected)


@settings(max_examples=40, deadline=None)
@given(answers(), st.randoms(use_true_random=False))
def test_row_order_and_class_names_do_not_matter(drawn, random):
    predictions, targets, n_classes = drawn
    order = random.sample(range(len(targets)), len(targets))
    names = np.array(random.sample(range(n_classes), n_classes))
    for compute in (metrics.accuracy, metrics.macro_f1, metrics.mcc):
        changed = compute(names[predictions][order], names[targets][order])
        assert changed == pytest.approx(compute(predictions, targets), abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(answers())
def test_score_is_the_functions_by_name(drawn):
    predictions, targets, n_classes = drawn
    scores = metrics.score(predictions, targets, n_classes)
    expected = ["accuracy", "f1", "macro_f1", "mcc"] if n_classes == 2 else ["accuracy", "macro_f1", "mcc"]
    assert list(scores) == expected
    for name, value in scores.items():
        compute = metrics.METRICS[name].compute
        assert compute is not None
        assert value == pytest.approx(compute(predictions, targets))


def test_zero_over_zero_is_zero():
    nothing: list[int] = []
    assert (
        metrics.accuracy(nothing, nothing) == metrics.macro_f1(nothing, nothing) == metrics.mcc(nothing, nothing) == 0
    )
    assert metrics.f1([0, 0], [0, 0]) == 0.0
    assert metrics.f1([1, 1], [0, 0]) == 0.0
    assert metrics.mcc([1, 1, 1], [0, 1, 1]) == 0.0


def test_perfect_and_opposite():
    targets = [0, 1, 1, 0]
    assert metrics.score(targets, targets, 2) == {"accuracy": 1.0, "f1": 1.0, "macro_f1": 1.0, "mcc": 1.0}
    assert metrics.mcc([1, 0, 0, 1], targets) == -1.0


def test_large_counts_do_not_overflow():
    matrix = np.array([[3 * 10**9, 10**9], [10**9, 3 * 10**9]])
    assert metrics.score_confusion(matrix, ["mcc"])["mcc"] == pytest.approx(0.5)


def test_a_large_class_index_costs_nothing():
    assert metrics.accuracy([10**9, 0], [10**9, 1]) == 0.5
    assert metrics.macro_f1([-1, 0], [1, 0]) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("predictions", "targets"),
    [([0, 1], [0]), ([[0, 1]], [[0, 1]]), ([0.5, 1.0], [0, 1]), ([0, 2], [0, 1]), ([0, -1], [0, 1])],
)
def test_wrong_arrays_are_refused(predictions, targets):
    with pytest.raises(ValueError, match="class indices|predictions for"):
        metrics.score(predictions, targets, 2)


def test_wrong_names_are_refused_with_a_way_out():
    with pytest.raises(ConfigError, match="did you mean 'accuracy'"):
        metrics.score([0], [0], 2, ["acuracy"])
    with pytest.raises(ConfigError, match="use macro_f1"):
        metrics.score([0], [0], 3, ["f1"])
    with pytest.raises(ConfigError, match="not a function of the predictions"):
        metrics.score([0], [0], 2, ["loss"])


def test_directions():
    assert not metrics.METRICS["loss"].higher_is_better
    assert all(m.higher_is_better for name, m in metrics.METRICS.items() if name != "loss")


@pytest.mark.parametrize(
    ("predictions", "targets", "expected"),
    [
        ([1, 1, 1], [0, 1, 1], True),
        ([1, 1, 1], None, True),
        ([1, 1, 1], [1, 1, 1], False),
        ([1, 0, 1], [0, 1, 1], False),
        ([1], None, False),
        ([], None, False),
    ],
)
def test_degenerate(predictions, targets, expected):
    assert metrics.is_degenerate(predictions, targets) is expected


def test_binary_f1_is_defined_for_two_classes_alone():
    assert metrics.defined(("accuracy", "f1"), 2) == ("accuracy", "f1")
    assert metrics.defined(("accuracy", "f1"), 3) == ("accuracy",)
