"""Precision, recall and F1 of the spans of a tag sequence (entity level, micro-averaged), as shares in 0 … 1.

Tags are "O", and "B-" or "I-" followed by a type. A bare "B" or "I" has the type "_". A predicted span is right when
the gold sentence has a span of the same type with the same first and last word. 0/0 = 0, as in `metrics`.

**Two definitions of a span.** The default is the one of CoNLL-2000's `conlleval` and of seqeval: a span begins at a B-,
and also at an I- that cannot continue the word before it (there is none, it is O, or it is of another type). `strict`
is seqeval's strict mode for IOB2: a span begins at a B- only, and an I- that continues nothing belongs to no span.
Where all sequences are valid IOB2, as gold data is, the two agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from foreword.errors import DataError

Sentences = Sequence[Sequence[str]]


class Span(NamedTuple):
    """The words `start` … `end` - 1 of a sentence, which are of one type."""

    type: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class TypeScore:
    """Precision, recall and F1 of one type's spans, and how many of them the gold sentences have."""

    precision: float
    recall: float
    f1: float
    support: int


def spans(tags: Sequence[str], *, strict: bool = False) -> tuple[Span, ...]:
    """The spans of one sentence's tags `[T]`, from left to right.

    **Raises** `DataError` for a tag that is neither O nor begins with B or I.
    """
    found: list[Span] = []
    kind, start = None, 0  # the type of the span that is open, if any, and where it began
    for i, (prefix, of) in enumerate(_parsed(tags)):
        if prefix == "I" and of == kind:
            continue
        if kind is not None:
            found.append(Span(kind, start, i))
        kind, start = (of if prefix == "B" or (prefix == "I" and not strict) else None), i
    if kind is not None:
        found.append(Span(kind, start, len(tags)))
    return tuple(found)


def rows(predictions: Sentences, references: Sentences, *, strict: bool = False) -> dict[str, list[float]]:
    """Each sentence's counts of spans, `[N]` each: `right`, `predicted` and `gold`.

    F1 is not a mean over sentences; these are what it is a function of (`from_rows`), so that a bootstrap can draw
    sentences. Arguments and errors as in `score`.
    """
    pairs = _span_pairs(predictions, references, strict)
    return {
        "right": [float(len(predicted & gold)) for predicted, gold in pairs],
        "predicted": [float(len(predicted)) for predicted, _ in pairs],
        "gold": [float(len(gold)) for _, gold in pairs],
    }


def from_rows(counts: Mapping[str, ArrayLike]) -> dict[str, float]:
    """`score` from the counts of `rows`, or from a resample of them, `[M]` each."""
    right, predicted, gold = (float(np.sum(counts[name])) for name in ("right", "predicted", "gold"))
    precision, recall, f1 = _scores(right, predicted, gold)
    return {"span_precision": precision, "span_recall": recall, "span_f1": f1}


def score(predictions: Sentences, references: Sentences, *, strict: bool = False) -> dict[str, float]:
    """`span_precision`, `span_recall` and `span_f1` over all spans of all sentences, whatever their type.

    **Arguments:** `predictions` and `references` are tags by sentence, `[N][T]`; `strict` as told above, for both.
    **Raises** `DataError` for no sentences, sentences that differ in number or length, and tags of another scheme.
    """
    return from_rows(rows(predictions, references, strict=strict))


def by_type(predictions: Sentences, references: Sentences, *, strict: bool = False) -> dict[str, TypeScore]:
    """The scores of each type that occurs in the predictions or the references, by name in alphabetical order."""
    right, predicted, gold = Counter[str](), Counter[str](), Counter[str]()
    for ours, theirs in _span_pairs(predictions, references, strict):
        right.update(span.type for span in ours & theirs)
        predicted.update(span.type for span in ours)
        gold.update(span.type for span in theirs)
    return {
        kind: TypeScore(*_scores(right[kind], predicted[kind], gold[kind]), support=gold[kind])
        for kind in sorted({*predicted, *gold})
    }


def _span_pairs(predictions: Sentences, references: Sentences, strict: bool) -> list[tuple[set[Span], set[Span]]]:
    """The predicted and the gold spans of each sentence."""
    if len(predictions) != len(references):
        raise DataError(f"{len(predictions)} tagged sentences for {len(references)} of the references")
    if not len(predictions):
        raise DataError("there are no sentences to score")
    pairs = []
    for i, (predicted, gold) in enumerate(zip(predictions, references, strict=True)):
        if len(predicted) != len(gold):
            raise DataError(
                f"{len(predicted)} predicted tags for {len(gold)} words",
                where=f"sentence {i}",
                do="give every word one tag; words that the model did not see are O",
            )
        pairs.append((set(spans(predicted, strict=strict)), set(spans(gold, strict=strict))))
    return pairs


def _parsed(tags: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Prefix and type of each tag. Types may hold hyphens themselves: "B-creative-work"."""
    for i, tag in enumerate(tags):
        prefix, _, kind = tag.partition("-")
        if prefix not in ("B", "I") and tag != "O":
            raise DataError(f"'{tag}' is not a tag of the BIO scheme", where=f"word {i}", do="use O, B-type and I-type")
        yield prefix, kind or "_"


def _scores(right: float, predicted: float, gold: float) -> tuple[float, float, float]:
    """Precision, recall and F1 = 2·right / (predicted + gold)."""
    return _ratio(right, predicted), _ratio(right, gold), _ratio(2 * right, predicted + gold)


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else 0.0
