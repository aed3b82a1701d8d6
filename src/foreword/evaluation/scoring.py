"""Scores of many items, in batches of similar length under a token budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from foreword.bank import Bank
from foreword.batch import Item, collate, pieces
from foreword.evaluation import metrics

GROUP = 32
"""Items that are scored together: enough for the matrix products, few enough that lengths in a group are alike."""


@dataclass(frozen=True)
class Scored:
    """What a split scored. `predictions`, `probabilities` `[N, C]` in the items' order; `metrics` by name."""

    predictions: list[int]
    probabilities: Tensor
    metrics: dict[str, float]
    degenerate: bool


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

    Of `names`, those that are not defined for this number of classes are left out.
    """
    scores = torch.stack(score_items(bank, items, max_tokens, advance)).float()
    labels = torch.tensor([item.label for item in items], device=scores.device)
    predictions = scores.argmax(-1).cpu().numpy()
    targets = labels.cpu().numpy()
    known = [name for name in metrics.defined(names, scores.shape[1]) if name != "loss"]
    measured = metrics.score(predictions, targets, scores.shape[1], known)
    measured["loss"] = float(cross_entropy(scores, labels))
    return Scored(
        predictions=[int(p) for p in predictions],
        probabilities=scores.softmax(-1).cpu(),
        metrics=measured,
        degenerate=metrics.is_degenerate(np.asarray(predictions), np.asarray(targets)),
    )
