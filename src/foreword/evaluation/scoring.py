"""Scores of many items whose answers are classes, in batches of similar length under a token budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from foreword.bank import Bank
from foreword.batch import Item, collate, pieces
from foreword.evaluation import metrics, ranks

GROUP = 32
"""Items that are scored together: enough for the matrix products, few enough that lengths in a group are alike."""


@dataclass(frozen=True)
class Scored:
    """What a split scored, in the items' order; `metrics` by name.

    `predictions`: class numbers, with their `probabilities` `[N, C]`; texts; or the tags of each row's words. `by_row`:
    metrics that every row has by itself. `degenerate`: every row got the same answer, although the right ones differ.
    """

    predictions: list[int] | list[str] | list[list[str]]
    probabilities: Tensor | None
    metrics: dict[str, float]
    degenerate: bool
    by_row: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


def summed_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """The cross-entropy, summed over what is labelled.

    `scores`: `[m, C]`, for the m labels of `[n]` or `[n, A]` that are known, one after another.
    """
    return cross_entropy(scores.float(), labels[labels >= 0], reduction="sum")


@torch.no_grad()
def score_items(
    bank: Bank, items: Sequence[Item], max_tokens: int, advance: Callable[[int], None] = lambda n: None
) -> list[Tensor]:
    """Each item's `[C]` scores under its own foreword, in the items' order. `advance` is told of items done."""
    found: list[Tensor | None] = [None] * len(items)
    for group in pieces(items, max_tokens, GROUP):
        batch = collate([items[i] for i in group], bank.backbone.pad_id, device=str(bank.backbone.device))
        for numbers, scores in bank.scores(batch):
            for number, score in zip(numbers, scores, strict=True):
                found[group[number]] = score
        advance(len(group))
    return [score for score in found if score is not None]


def evaluate_items(
    bank: Bank,
    items: Sequence[Item],
    names: Sequence[str],
    max_tokens: int,
    advance: Callable[[int], None] = lambda n: None,
) -> Scored:
    """Score labelled items and measure: the task's metrics `names`, and the mean cross-entropy as `loss`.

    Of `names`, those that are not defined for this number of classes are left out; those of ranks are by row, too.
    """
    scores = torch.stack(score_items(bank, items, max_tokens, advance)).float()
    labels = torch.tensor([item.label for item in items], device=scores.device)
    predictions = scores.argmax(-1).cpu().numpy()
    targets = labels.cpu().numpy()
    known = [name for name in metrics.defined(names, scores.shape[1]) if name != "loss"]
    by_row = ranks.rows(list(scores.cpu().numpy()), targets) if set(known) & set(ranks.NAMES) else {}
    by_row = {name: values for name, values in by_row.items() if name in known}
    wanted = [name for name in known if name not in by_row]
    counted = metrics.score(predictions, targets, scores.shape[1], wanted) if wanted else {}
    means = {name: sum(values) / len(values) for name, values in by_row.items()}
    measured = {name: (counted | means)[name] for name in known}
    measured["loss"] = float(cross_entropy(scores, labels))
    return Scored(
        predictions=[int(p) for p in predictions],
        probabilities=scores.softmax(-1).cpu(),
        metrics=measured,
        degenerate=metrics.is_degenerate(np.asarray(predictions), np.asarray(targets)),
        by_row=by_row,
    )
