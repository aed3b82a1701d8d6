"""What a variant scores, row by row, so that two of them can be compared over the same rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from foreword.bank import Bank
from foreword.batch import Item, collate, pieces
from foreword.evaluation import tags
from foreword.evaluation.measuring import evaluate
from foreword.evaluation.metrics import METRICS
from foreword.evaluation.scoring import GROUP
from foreword.evaluation.statistics import (
    Floats,
    Interval,
    PairedTest,
    bootstrap_interval,
    paired_bootstrap,
    paired_corpus_bootstrap,
    wilson,
)
from foreword.inspection.subject import Subject, Variant

MAX_TOKENS = 16384
RESAMPLES = 2000
LEVEL = 0.95
"""Of intervals."""
Advance = Callable[[int], None]
COUNTS = ("right", "predicted", "gold")


@dataclass(frozen=True)
class Outcome:
    """One variant's score on N rows.

    `values`: `[N]`, each row's own, or `[N, 3]` counts of spans, of which span F1 is a function. `loss`: the mean
    cross-entropy. `answers` and `probabilities` (`[N, C]`) where they are classes.
    """

    metric: str
    values: Floats
    loss: float
    answers: tuple[object, ...] = ()
    probabilities: Tensor | None = None

    @property
    def score(self) -> float:
        """The metric over all rows."""
        return statistic(self.values)

    @property
    def higher_is_better(self) -> bool:
        """Whether more of the metric is better: not so of a loss."""
        return METRICS[self.metric].higher_is_better


def statistic(values: Floats) -> float:
    """The metric of rows: their mean, or span F1 of summed counts."""
    if values.ndim == 1:
        return float(values.mean())
    return tags.from_rows({name: values[:, i] for i, name in enumerate(COUNTS)})["span_f1"]


@torch.no_grad()
def measure(subject: Subject, variant: Variant | None = None, advance: Advance = lambda n: None) -> Outcome:
    """Score the subject's rows, or a variant of them, by the task's first metric.

    Texts are not written: of these it is each row's loss, the mean over the tokens of its right text.
    """
    injection = subject.injection if variant is None else variant.injection
    items = subject.items if variant is None else variant.items(subject.items)
    bank, task = subject.bank(injection), subject.foreword.reader.task
    if task.answer == "text":
        losses = row_losses(bank, items, advance)
        return Outcome("loss", losses, float(losses.mean()))
    scored = evaluate(bank, items, task, subject.foreword.labels, MAX_TOKENS, advance)
    name, loss = task.metrics[0], scored.metrics["loss"]
    answers = tuple(tuple(one) if isinstance(one, list) else one for one in scored.predictions)
    if task.answer == "tags":
        counts = np.stack([np.asarray(scored.by_row[part], dtype=np.float64) for part in COUNTS], axis=1)
        return Outcome("span_f1", counts, loss, answers)
    if name in scored.by_row:
        return Outcome(name, np.asarray(scored.by_row[name], dtype=np.float64), loss, answers, scored.probabilities)
    right = [float(answer == item.label) for answer, item in zip(answers, items, strict=True)]
    return Outcome("accuracy", np.asarray(right), loss, answers, scored.probabilities)


@torch.no_grad()
def row_losses(bank: Bank, items: Sequence[Item], advance: Advance = lambda n: None) -> Floats:
    """`[N]`: each row's mean cross-entropy over the tokens of its right text, in nats."""
    losses = np.zeros(len(items))
    for group in pieces(items, MAX_TOKENS, GROUP):
        batch = collate([items[i] for i in group], bank.backbone.pad_id, device=str(bank.backbone.device))
        for numbers, scores in bank.scores(batch):
            labels = batch.labels[torch.tensor(numbers, device=scores.device)]
            each = cross_entropy(scores.float(), labels[labels >= 0], reduction="none").cpu()
            sizes = [items[group[number]].labelled for number in numbers]
            for number, part in zip(numbers, each.split(sizes), strict=True):
                losses[group[number]] = float(part.mean())
        advance(len(group))
    return losses


def interval_of(outcome: Outcome, seed: int = 0) -> Interval:
    """The score's 95% interval over rows: Wilson's (1927) where a row is right or wrong, else the bootstrap's."""
    values = outcome.values
    if values.ndim == 1 and np.isin(values, (0.0, 1.0)).all():
        return wilson(int(values.sum()), len(values))
    return bootstrap_interval(values, statistic if values.ndim == 2 else None, n=RESAMPLES, seed=seed)


def difference(ours: Outcome, theirs: Outcome, seed: int = 0) -> PairedTest:
    """`ours` - `theirs` over the same rows, with its 95% interval (paired bootstrap).

    Where no row's score is another and scores lie between 0 and 1, resampling has nothing to vary. The interval is then
    the share of rows that may be others for all that is known (Clopper and Pearson 1934, 0 of n), in either direction.
    """
    if ours.values.ndim == 1:
        found = paired_bootstrap(ours.values, theirs.values, RESAMPLES, seed)
        bounded = bool(((ours.values >= 0) & (ours.values <= 1)).all()) and ours.higher_is_better
        if not bounded or (ours.values != theirs.values).any():
            return found
        most = 1 - ((1 - LEVEL) / 2) ** (1 / found.n)
        return replace(found, interval=Interval(-most, most, LEVEL))
    return paired_corpus_bootstrap([ours.values], [theirs.values], statistic, RESAMPLES, seed)
