"""Span scores against hand-counted cases, a definition by quantifiers, and seqeval where it is installed."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.errors import DataError
from foreword.evaluation import tags
from foreword.evaluation.tags import Span

TAGS = ("O", "B-a", "I-a", "B-b", "I-b", "B-b-c", "I-b-c")


@st.composite
def corpora(draw):
    lengths = draw(st.lists(st.integers(0, 7), min_size=1, max_size=5))
    one = st.sampled_from(TAGS)
    sides = [[draw(st.lists(one, min_size=n, max_size=n)) for n in lengths] for _ in range(2)]
    if draw(st.booleans()):  # random tags hardly ever agree: let some of the sentences be right
        sides[0] = [gold if draw(st.booleans()) else ours for ours, gold in zip(*sides, strict=True)]
    return sides[0], sides[1]


def declared(sentence, strict):
    """Every stretch of words that the definition says is a span, by trying all of them."""

    def kind(i):
        return sentence[i][2:] if 0 <= i < len(sentence) and sentence[i] != "O" else None

    def begins(i):
        return sentence[i][0] == "B" or (sentence[i][0] == "I" and not strict and kind(i - 1) != kind(i))

    def continues(i, of):
        return i < len(sentence) and sentence[i] == f"I-{of}"

    return {
        Span(kind(i), i, j)
        for i in range(len(sentence))
        for j in range(i + 1, len(sentence) + 1)
        if begins(i) and all(continues(k, kind(i)) for k in range(i + 1, j)) and not continues(j, kind(i))
    }


@pytest.mark.parametrize(
    ("sentence", "expected", "strict"),
    [
        ("B-a I-a O B-b", [("a", 0, 2), ("b", 3, 4)], [("a", 0, 2), ("b", 3, 4)]),
        ("I-a I-a O", [("a", 0, 2)], []),  # I- without B-
        ("B-a I-b I-b", [("a", 0, 1), ("b", 1, 3)], [("a", 0, 1)]),  # I- of another type
        ("B-a B-a", [("a", 0, 1), ("a", 1, 2)], [("a", 0, 1), ("a", 1, 2)]),
        ("O I-a B-a I-a", [("a", 1, 2), ("a", 2, 4)], [("a", 2, 4)]),
        ("B-creative-work I-creative-work", [("creative-work", 0, 2)], [("creative-work", 0, 2)]),
        ("B I O", [("_", 0, 2)], [("_", 0, 2)]),
        ("O O", [], []),
        ("", [], []),
    ],
)
def test_spans_by_hand(sentence, expected, strict):
    assert list(tags.spans(sentence.split())) == expected
    assert list(tags.spans(sentence.split(), strict=True)) == strict


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(TAGS), max_size=9), st.booleans())
def test_spans_are_those_of_the_definition(sentence, strict):
    found = tags.spans(sentence, strict=strict)
    assert set(found) == declared(sentence, strict) and len(set(found)) == len(found)
    assert list(found) == sorted(found, key=lambda span: span.start)


@settings(max_examples=60, deadline=None)
@given(corpora(), st.booleans())
def test_scores_are_those_of_the_definition(corpus, strict):
    predictions, references = corpus
    ours = {(i, *span) for i, row in enumerate(predictions) for span in declared(row, strict)}
    gold = {(i, *span) for i, row in enumerate(references) for span in declared(row, strict)}

    def expected(ours, gold):
        precision = len(ours & gold) / len(ours) if ours else 0.0
        recall = len(ours & gold) / len(gold) if gold else 0.0
        return precision, recall, 2 * precision * recall / (precision + recall) if precision + recall else 0.0

    found = tags.score(predictions, references, strict=strict)
    assert (found["span_precision"], found["span_recall"], found["span_f1"]) == pytest.approx(expected(ours, gold))
    assert found == tags.from_rows(tags.rows(predictions, references, strict=strict))
    types = tags.by_type(predictions, references, strict=strict)
    assert list(types) == sorted({span[1] for span in ours | gold})
    for kind, score in types.items():
        mine, theirs = ({span for span in side if span[1] == kind} for side in (ours, gold))
        assert (score.precision, score.recall, score.f1) == pytest.approx(expected(mine, theirs))
        assert score.support == len(theirs)


@settings(max_examples=20, deadline=None)
@given(corpora())
def test_agrees_with_seqeval(corpus):
    seqeval = pytest.importorskip("seqeval.metrics")
    scheme = pytest.importorskip("seqeval.scheme").IOB2
    predictions, references = ([row for row in side if row] for side in corpus)  # it cannot take an empty sentence
    if not any(tag != "O" for row in [*predictions, *references] for tag in row):
        return  # nor a corpus without spans
    for strict, options in ((False, {}), (True, {"mode": "strict", "scheme": scheme})):
        if strict and not any(declared(row, True) for row in [*predictions, *references]):
            continue
        found = tags.score(predictions, references, strict=strict)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in ("precision", "recall", "f1"):
                expected = getattr(seqeval, f"{name}_score")(references, predictions, **options)
                assert found[f"span_{name}"] == pytest.approx(expected), (name, strict)


def test_micro_average_by_hand():
    gold = ["B-a I-a O B-b".split(), "B-a O".split(), "O".split()]
    ours = ["B-a I-a O B-a".split(), "O B-b".split(), "O".split()]
    assert tags.rows(ours, gold) == {"right": [1, 0, 0], "predicted": [2, 1, 0], "gold": [2, 1, 0]}
    assert tags.score(ours, gold) == pytest.approx({name: 1 / 3 for name in tags.score(ours, gold)})
    assert tags.by_type(ours, gold) == {
        "a": tags.TypeScore(1 / 2, 1 / 2, 1 / 2, support=2),
        "b": tags.TypeScore(0.0, 0.0, 0.0, support=1),
    }


def test_nothing_predicted_and_nothing_there_is_zero():
    assert set(tags.score([["O"]], [["O"]]).values()) == {0.0}
    assert tags.by_type([["O"]], [["O"]]) == {}


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        ([["O"]], [["O"], ["O"]], "1 tagged sentences for 2"),
        ([], [], "no sentences"),
        ([["O"], ["O"]], [["O"], ["O", "O"]], "sentence 1"),
        ([["O", "E-a"]], [["O", "O"]], "'E-a' is not a tag"),
        ([["O-a"]], [["O"]], "'O-a' is not a tag"),
        ([["person"]], [["O"]], "'person' is not a tag"),
    ],
)
def test_mistakes_are_named(predictions, references, message):
    with pytest.raises(DataError) as caught:
        tags.score(predictions, references)
    assert message in str(caught.value)
