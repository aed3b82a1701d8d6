"""What answering the most frequent thing scores, whatever the answers are."""

from __future__ import annotations

import pytest

from foreword import registry
from foreword.evaluation import baselines, ranks
from foreword.evaluation.measuring import majority


def test_classes_are_answered_with_the_most_frequent_one():
    task = registry.tasks.get("classification")()
    train, rows = [{"label": n} for n in (0, 1, 1)], [{"label": n} for n in (1, 0, 1, 1)]
    found = majority(task, ("no", "yes"), train, rows, ["accuracy", "f1", "macro_f1", "mcc", "loss"])
    assert found == baselines.majority_scores([0, 1, 1], [1, 0, 1, 1], 2, ["accuracy", "f1", "macro_f1", "mcc"])
    assert found["accuracy"] == 0.75


def test_candidates_are_named_by_how_often_they_are_right():
    task = registry.tasks.get("knowledge-probing")()
    train, rows = [{"object": n} for n in (2, 2, 0)], [{"object": n} for n in (2, 0, 1)]
    found = majority(task, ("a", "b", "c"), train, rows, ["p_at_1", "p_at_10", "mrr", "loss"])
    assert found == ranks.majority_scores([2, 2, 0], [2, 0, 1], 3)
    assert found["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)


def test_words_are_outside_of_all_spans():
    task = registry.tasks.get("tagging")()
    rows = [{"tags": (0, 1, 2)}, {"tags": (0,)}]
    found = majority(task, ("O", "B-a", "I-a"), rows, rows, ["span_f1", "accuracy", "loss"])
    assert found == {"span_f1": 0.0, "accuracy": 0.5}


@pytest.mark.parametrize("name", ["translation", "extractive-qa"])
def test_texts_have_no_majority(name):
    assert majority(registry.tasks.get(name)(), (), [], [], ["loss"]) is None
