"""What a split scored, whatever the answers are; and what answering the most frequent thing scores on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from foreword.bank import Bank
from foreword.batch import Item
from foreword.evaluation import baselines, metrics, ranks
from foreword.evaluation.scoring import Scored, evaluate_items
from foreword.evaluation.spotting import OUTSIDE, evaluate_spans, evaluate_tags, tag_scores
from foreword.evaluation.writing import evaluate_texts
from foreword.tasks.base import Task


def evaluate(
    bank: Bank,
    items: Sequence[Item],
    task: Task,
    labels: Sequence[str],
    max_tokens: int,
    advance: Callable[[int], None] = lambda n: None,
    *,
    quick: bool = False,
) -> Scored:
    """Measure items whose answers are known, by the task's metrics and by the loss.

    `quick`: without what takes long (texts are not written then, and the loss alone is measured). `advance` is told of
    items done. **Raises** what the evaluation of this kind of answer raises.
    """
    match task.answer:
        case "text":
            return evaluate_texts(bank, items, ("loss",) if quick else task.metrics, max_tokens, advance)
        case "tags":
            return evaluate_tags(bank, items, labels, task.metrics, max_tokens, advance)
        case "span":
            return evaluate_spans(bank, items, task.metrics, max_tokens, advance)
        case "class":
            return evaluate_items(bank, items, task.metrics, max_tokens, advance)


def majority(
    task: Task,
    labels: Sequence[str],
    train: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    names: Sequence[str],
) -> dict[str, float] | None:
    """The metrics `names` of answering `rows` with what is most frequent in `train`; None where answers are texts.

    Of words it is O that is answered, and candidates are named by how often they are right.
    """
    names = [name for name in names if name != "loss"]
    if task.answer == "tags":
        right = [[labels[tag] for tag in row[task.target]] for row in rows]
        return tag_scores([[OUTSIDE] * len(one) for one in right], right, names)
    if task.answer != "class":
        return None
    known, asked = ([row[task.target] for row in part] for part in (train, rows))
    ranked = ranks.majority_scores(known, asked, len(labels)) if set(names) & set(ranks.NAMES) else {}
    counted = metrics.defined([name for name in names if name not in ranked], len(labels))
    scores = (baselines.majority_scores(known, asked, len(labels), counted) if counted else {}) | ranked
    return {name: scores[name] for name in names if name in scores}
