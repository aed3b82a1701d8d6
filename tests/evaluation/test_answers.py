"""SQuAD's measures against hand-worked cases, a second reading of the normalisation, and their laws."""

from __future__ import annotations

import string
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.errors import DataError
from foreword.evaluation import answers

# Texts near the rules: articles, punctuation and other scripts in every neighbourhood.
PIECES = st.sampled_from(["the", "a", "An", "cat", "Cat", "1,5", ".", "-", "_", "'", "é", " ", "\t", "\u00a0", "”"])
TEXTS = st.one_of(st.lists(PIECES, max_size=8).map("".join), st.text(max_size=12))


def normalised(text):
    """The rules once more, by characters: runs of letters and digits that are articles become spaces."""
    kept = [character for character in text.lower() if character not in string.punctuation]
    runs = ["".join(run) for _, run in groupby(kept, str.isalnum)]
    return " ".join("".join(" " if run in ("a", "an", "the") else run for run in runs).split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Cat, the hat!", "cat hat"),
        ("U.S.", "us"),
        ("well-known", "wellknown"),
        ("theatre", "theatre"),
        ("an\napple a\tday", "apple day"),
        ("the", ""),
        ("$5.50", "550"),
        ("“quoted”", "“quoted”"),  # ASCII punctuation only
        ("say “a” now", "say “ ” now"),  # an article leaves a space behind
    ],
)
def test_normalise_by_hand(text, expected):
    assert answers.normalise(text) == expected


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_normalise_follows_its_rules(text):
    assert answers.normalise(text) == normalised(text)
    assert answers.normalise(answers.normalise(text)) == answers.normalise(text)


@pytest.mark.parametrize(
    ("prediction", "gold", "match", "f1"),
    [
        ("the Denver Broncos", "Denver Broncos", 100, 100),
        ("Denver", "Denver Broncos", 0, 200 / 3),
        ("in Denver Denver", "Denver", 0, 50),  # a repeated word is shared once
        ("Carolina", "Denver", 0, 0),
        ("", "Denver", 0, 0),
        ("", "", 100, 0),  # as the official script has it
        ("the", "a", 100, 0),
        ("b c", "c b", 0, 100),  # F1 knows no order
    ],
)
def test_scores_by_hand(prediction, gold, match, f1):
    assert answers.exact_match(prediction, gold) == match
    assert answers.token_f1(prediction, gold) == pytest.approx(f1)


@settings(max_examples=150, deadline=None)
@given(TEXTS, TEXTS)
def test_f1_is_the_harmonic_mean_and_symmetric(prediction, gold):
    left, unmatched = normalised(gold).split(), normalised(prediction).split()
    n_predicted, n_gold, shared = len(unmatched), len(left), 0
    for word in left:
        if word in unmatched:
            unmatched.remove(word)
            shared += 1
    expected = 0.0
    if shared:
        precision, recall = shared / n_predicted, shared / n_gold
        expected = 100 * 2 * precision * recall / (precision + recall)
    assert answers.token_f1(prediction, gold) == pytest.approx(expected)
    assert answers.token_f1(gold, prediction) == answers.token_f1(prediction, gold)
    if answers.exact_match(prediction, gold) and normalised(gold):
        assert answers.token_f1(prediction, gold) == 100


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TEXTS, st.lists(TEXTS, min_size=1, max_size=3)), min_size=1, max_size=5))
def test_the_best_gold_answer_counts_and_score_is_the_mean(drawn):
    predictions, references = zip(*drawn, strict=True)
    by_row = answers.rows(predictions, references)
    for i, (prediction, golds) in enumerate(drawn):
        assert by_row["exact_match"][i] == max(answers.exact_match(prediction, gold) for gold in golds)
        assert by_row["answer_f1"][i] == max(answers.token_f1(prediction, gold) for gold in golds)
    expected = {name: sum(values) / len(drawn) for name, values in by_row.items()}
    assert answers.score(predictions, references) == pytest.approx(expected)


def test_one_gold_answer_needs_no_list():
    assert answers.score(["Paris", "x"], ["Paris", ("y", "the X")]) == {"exact_match": 100.0, "answer_f1": 100.0}
    assert answers.score(["Paris", "x"], ["Paris", "y"]) == {"exact_match": 50.0, "answer_f1": 50.0}


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        (["a"], ["a", "b"], "1 predictions for 2 references"),
        ([], [], "no rows"),
        (["a", "b"], ["a", []], "row 1"),
        (["a", None], ["a", "b"], "row 1"),
        (["a"], [[3]], "row 0"),
    ],
)
def test_mistakes_are_named(predictions, references, message):
    with pytest.raises(DataError) as caught:
        answers.score(predictions, references)
    assert message in str(caught.value)
