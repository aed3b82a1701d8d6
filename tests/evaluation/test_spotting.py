"""What the scores of words and of tokens come to."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.errors import DataError
from foreword.evaluation.spotting import Tagged, best_span, tag_scores
from foreword.readouts.span import label_of, where
from foreword.text.rows import Spot


def test_the_spans_of_a_tagged_sentence_are_in_its_words():
    words = ("Ada", "Lovelace", "lived", "in", "London")
    made = Tagged(words, ("B-person", "I-person", "O", "O", "B-place"), (0.9, 0.8, 1.0, 1.0, 0.7))
    assert made.spans == [("person", "Ada Lovelace"), ("place", "London")]


def test_tags_are_measured_by_spans_and_by_words():
    right = [["B-a", "I-a", "O"], ["O", "B-b"]]
    made = [["B-a", "I-a", "O"], ["B-a", "O"]]
    names = ("span_f1", "span_precision", "span_recall", "accuracy")
    assert tag_scores(made, right, names) == {
        "span_f1": 0.5, "span_precision": 0.5, "span_recall": 0.5, "accuracy": 0.6,
    }  # fmt: skip
    assert tag_scores([["O"] * 3, ["O"] * 2], right, ("span_f1", "accuracy")) == {"span_f1": 0.0, "accuracy": 0.4}


def test_a_longest_span_of_any_size_costs_no_more_than_the_text() -> None:
    scores = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    assert best_span(scores, 10**12) == best_span(scores, 5)


@pytest.mark.parametrize(
    ("answer", "text", "place"),
    [
        ("Japan", "Japanese ships of Japan", 18),
        ("Sky", "BSkyB and Sky", 10),
        ("6,000", "26,000 or 6,000", 10),
        ("Sky", "BSkyB", 1),
        ("(a)", "f(a) x", 1),
        ("is", "was", -1),
        ("東京", "東京都は東京", 0),
    ],
)
def test_an_answer_is_looked_for_as_words_of_its_own(answer: str, text: str, place: int) -> None:
    assert where(answer, text) == place


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 12), st.integers(0, 10**6))
def test_the_best_span_is_legal_and_none_is_better(count, longest, seed):
    scores = torch.randn(2, count, generator=torch.Generator().manual_seed(seed))
    first, last = best_span(scores, longest)
    assert 0 <= first <= last < count and last - first < longest
    every = [scores[0, i] + scores[1, j] for i in range(count) for j in range(i, min(count, i + longest))]
    assert scores[0, first] + scores[1, last] == max(every)


TEXT = "Rome is old, and Rome is large."
SPOTS = tuple(
    Spot(number, start, end)
    for number, (start, end) in enumerate([(0, 4), (5, 7), (8, 11), (11, 12), (13, 16), (17, 21), (22, 24), (25, 31)])
)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (("Rome",), (0, 0)),
        (("old",), (2, 2)),
        (("and Rome is",), (4, 6)),
        (("Paris", "large"), (7, 7)),
        (("l",), (2, 2)),
        (("me is",), (0, 1)),
        ((TEXT,), (0, 7)),
    ],
)
def test_the_label_is_the_first_place_of_the_first_answer_that_is_there(answers, expected):
    assert label_of(SPOTS, TEXT, answers) == expected


def test_an_answer_between_the_tokens_is_at_one_of_them():
    assert label_of((Spot(0, 0, 1), Spot(1, 3, 4)), "a * b", ("*",)) == (1, 1)
    assert label_of((Spot(0, 0, 1),), "a *", ("*",)) == (0, 0)


def test_a_label_needs_an_answer_and_tokens():
    with pytest.raises(DataError, match="no answer"):
        label_of(SPOTS, TEXT, ("Paris",))
    with pytest.raises(DataError, match="makes nothing"):
        label_of((), TEXT, ("Rome",))
