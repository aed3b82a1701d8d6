"""Exact match and token F1 of short answers, as SQuAD v1.1 measures them (Rajpurkar et al. 2016, section 6.1).

Everything is in **percent**. An answer is compared with each of its gold answers and keeps the best score. Answers are
compared after `normalise`, and the empty cases are those of the official script of v1.1: where prediction and gold
answer are both empty after it (such as "" or "the"), the match is exact and yet F1 is 0, since no token is shared.
(v2.0, which has questions without an answer, gives 100 there; that is another metric.)
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

from foreword.errors import DataError

NAMES = ("exact_match", "answer_f1")
"""The metrics that are measured here."""

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")


def normalise(text: str) -> str:
    """Lower case, no ASCII punctuation, no English articles, single spaces; in this order.

    Punctuation leaves no space behind ("U.S." is "us", "well-known" is "wellknown"); an article does.
    """
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction: str, gold: str) -> float:
    """100 where the normalised texts are the same, else 0."""
    return 100.0 * (normalise(prediction) == normalise(gold))


def token_f1(prediction: str, gold: str) -> float:
    """F1 of the normalised texts' words as multisets, 2·shared / (predicted + gold), in percent; none shared is 0."""
    predicted, true = normalise(prediction).split(), normalise(gold).split()
    shared = (Counter(predicted) & Counter(true)).total()
    return 200.0 * shared / (len(predicted) + len(true)) if shared else 0.0


def metric_max(metric: Callable[[str, str], float], prediction: str, golds: Sequence[str]) -> float:
    """The best of `metric(prediction, gold)` over the gold answers, of which there is at least one."""
    return max(metric(prediction, gold) for gold in golds)


def rows(predictions: Sequence[str], references: Sequence[str | Sequence[str]]) -> dict[str, list[float]]:
    """Each row's `exact_match` and `answer_f1`, `[N]` each, in percent.

    **Arguments:** `predictions` `[N]`; `references` `[N]`, each the gold answer or all the gold answers of a row.
    **Raises** `DataError` where the two do not fit together, there are no rows, or a row has no gold answer.
    """
    pairs = paired(predictions, references)
    return {
        "exact_match": [metric_max(exact_match, prediction, golds) for prediction, golds in pairs],
        "answer_f1": [metric_max(token_f1, prediction, golds) for prediction, golds in pairs],
    }


def score(predictions: Sequence[str], references: Sequence[str | Sequence[str]]) -> dict[str, float]:
    """The means over the rows of `exact_match` and `answer_f1`, in percent. Arguments and errors as in `rows`."""
    return {name: sum(values) / len(values) for name, values in rows(predictions, references).items()}


def paired(predictions: Sequence[str], references: Sequence[str | Sequence[str]]) -> list[tuple[str, tuple[str, ...]]]:
    """Each predicted text with all its right texts, of which there is at least one; `[N]`, N >= 1.

    **Raises** `DataError` for no rows, different numbers of rows, a row without right texts, and what is not text.
    """
    if len(predictions) != len(references):
        raise DataError(
            f"{len(predictions)} predictions for {len(references)} references",
            do="give one prediction for each row of the references, in the same order",
        )
    if not len(predictions):
        raise DataError("there are no rows to score")
    pairs = []
    for i, (prediction, reference) in enumerate(zip(predictions, references, strict=True)):
        golds = (reference,) if isinstance(reference, str) else tuple(reference)
        if not golds:
            raise DataError("there is nothing to compare with", where=f"row {i}", do="give at least one right text")
        if not all(isinstance(text, str) for text in (prediction, *golds)):
            raise DataError("predictions and references are texts", where=f"row {i}")
        pairs.append((prediction, golds))
    return pairs
