"""The right answers of a table's rows: as the results record them, else from the data where they are at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foreword.comparison.results import Run
from foreword.errors import ForewordError


@dataclass(frozen=True)
class Truth:
    """What is known about a split's rows, in order; `gap` says what is not, and why.

    `targets`: class numbers. `golds`: the texts that are right for each row. `inputs`: what each row gives, by field.
    `train_classes`: how many training rows each class has.
    """

    targets: tuple[int, ...] | None = None
    golds: tuple[tuple[str, ...], ...] | None = None
    inputs: tuple[Mapping[str, Any], ...] | None = None
    train_classes: tuple[int, ...] | None = None
    gap: str = ""


def truth_of(runs: Sequence[Run], split: str, *, data: bool) -> Truth:
    """What the runs of one table, which were scored on the same rows, have as right answers.

    `data`: look for the data themselves too, whose rows are only taken if they have the hash that the results have.
    """
    recorded = _recorded(runs, split)
    if not data:
        return recorded
    found = _at_hand(max(runs, key=lambda run: run.record.get("train", {}).get("rows", 0)), split)
    if found.gap:
        return Truth(recorded.targets, train_classes=recorded.train_classes, gap=found.gap)
    return found


def _recorded(runs: Sequence[Run], split: str) -> Truth:
    targets = next((found for run in runs if isinstance(found := run.part(split).get("targets"), list)), None)
    counted = [found for run in runs if isinstance(found := run.record.get("train_classes"), list)]
    counts = max(counted, key=sum, default=None)
    return Truth(None if targets is None else tuple(targets), train_classes=None if counts is None else tuple(counts))


def _at_hand(run: Run, split: str) -> Truth:
    """The rows of the data that a run's settings describe."""
    from foreword.config import DataConfig, build
    from foreword.data.loading import load, task_for

    try:
        config = build(DataConfig, run.record["config"]["data"])
        task = task_for(config, str(run.record["kind"]))
        dataset = load(config, task)
        rows = dataset.rows(split)
        if dataset.fingerprint(split) != run.data(split):
            return Truth(gap=f"the {split} rows of {config.source} at hand are not those of the results")
    except ForewordError as error:
        return Truth(gap=f"the data are not at hand: {error.what}")
    inputs = tuple({name: row[name] for name in task.inputs if name in row} for row in rows)
    if task.answer == "class":
        counts = [0] * len(dataset.labels)
        for row in dataset.rows("train"):
            counts[row[task.target]] += 1
        return Truth(tuple(row[task.target] for row in rows), None, inputs, tuple(counts))
    if task.answer == "tags":
        return Truth(None, None, inputs)
    return Truth(None, tuple(tuple(row[task.target]) for row in rows), inputs)
