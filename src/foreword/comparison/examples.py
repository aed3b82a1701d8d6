"""Single rows that tell more than means: where systems disagree, and what all of them get wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foreword.comparison.table import Row, Table

MOST = 8
"""Rows of each kind that are shown."""
CHARACTERS = 400


@dataclass(frozen=True)
class Example:
    """One row: its number from 0, its hash where known, its text and right answer where known, and each answer."""

    row: int
    hash: str
    text: str
    right: str
    answers: tuple[tuple[str, str], ...]


def disagreements(table: Table, most: int = MOST) -> list[Example]:
    """Rows on which the systems' scores differ most; of equals those in which each answer has as many followers."""
    names, scores = _scores(table)
    if len(names) < 2:
        return []
    spread = scores.max(0) - scores.min(0)
    order = np.lexsort((np.arange(scores.shape[1]), -scores.std(0), -spread))
    return [_example(table, int(i)) for i in order[:most] if spread[i] > 0]


def worst(table: Table, most: int = MOST) -> list[Example]:
    """Rows with the lowest score over all systems; of equals those whose wrong answers were the surest."""
    names, scores = _scores(table)
    if not names:
        return []
    mean = scores.mean(0)
    order = np.lexsort((np.arange(mean.size), -_sureness(table, mean.size), mean))
    return [_example(table, int(i)) for i in order[:most] if mean[i] < scores.max()]


def _scores(table: Table) -> tuple[list[str], np.ndarray]:
    """The systems whose rows have scores, and these `[S, N]`; baselines are no systems."""
    names = [row.name for row in table.rows if row.role == "system" and row.name in table.scores]
    whole = [name for name in names if len(table.scores[name]) == table.size]
    return whole, np.stack([table.scores[name] for name in whole]) if whole else np.zeros((0, 0))


def _sureness(table: Table, size: int) -> np.ndarray:
    """The mean confidence of each row's answers; 0 where none is recorded."""
    found = [part["confidences"] for row in table.rows for part in _parts(row, table) if part.get("confidences")]
    return np.mean(found, axis=0) if found else np.zeros(size)


def _parts(row: Row, table: Table) -> list:
    runs = row.system.runs if row.system else ()
    parts = [run.part(table.split) for run in runs]
    return [part for part in parts if part["rows"] == table.size]


def _example(table: Table, i: int) -> Example:
    answers = []
    for row in table.rows:
        made = [_word(part["predictions"][i], table.labels) for part in _parts(row, table)]
        if made and row.name in table.scores:
            counted = [f"{one} ({made.count(one)} of {len(made)} seeds)" for one in dict.fromkeys(made)]
            answers.append((row.name, made[0] if len(set(made)) == 1 else ", ".join(counted)))
    truth = table.truth
    text = " ⏐ ".join(map(_joined, truth.inputs[i].values())) if truth.inputs else ""
    right = ""
    if truth.targets is not None:
        right = _word(truth.targets[i], table.labels)
    elif truth.golds is not None:
        right = " / ".join(truth.golds[i])
    return Example(i, _hash(table, i), _cut(text), _cut(right), tuple((name, _cut(answer)) for name, answer in answers))


def _hash(table: Table, i: int) -> str:
    found: Sequence[str] | None = next((known for run in table.runs if (known := run.examples(table.split))), None)
    return found[i] if found and len(found) == table.size else ""


def _word(answer: object, labels: Sequence[str]) -> str:
    if isinstance(answer, int):
        return labels[answer] if 0 <= answer < len(labels) else str(answer)
    return _joined(answer)


def _joined(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _cut(text: str) -> str:
    return text if len(text) <= CHARACTERS else text[: CHARACTERS - 1] + "…"
