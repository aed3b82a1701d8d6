"""What a data set looks like before anything is trained on it: balance, lengths, repeats, contradictions."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from foreword import registry
from foreword.data.checking import labels_in
from foreword.data.dataset import Dataset, Example, canonical
from foreword.tasks.base import Task


def describe(dataset: Dataset, tokenizer: Callable[..., Any] | None = None) -> dict[str, Any]:
    """A plain, JSON-ready description.

    Per split: rows, rows of each class, the length of an input (all its fields together, in tokens without special
    ones, or in words without a `tokenizer`), that of a text that is to be written or found (the first that is right),
    rows with an empty field, rows that repeat an earlier input of the split, and the fingerprint. `across` counts the
    rows of a later split whose input is in an earlier one; `contradictory_inputs` counts inputs that have more than one
    label anywhere.
    """
    task: Task = registry.tasks.get(dataset.task)()
    inputs = {s: [canonical([row.get(f) for f in task.inputs]) for row in rows] for s, rows in dataset.splits.items()}
    labels: dict[str, set[Any]] = defaultdict(set)
    for split, keys in inputs.items():
        for key, row in zip(keys, dataset.splits[split], strict=True):
            labels[key].add(row[task.target])
    names = list(inputs)
    return {
        "name": dataset.name,
        "source": dataset.source,
        "task": dataset.task,
        "labels": list(dataset.labels),
        "notes": list(dataset.notes),
        "length_unit": "words" if tokenizer is None else "tokens",
        "splits": {split: _split(dataset, split, task, inputs[split], tokenizer) for split in names},
        "across": {
            f"{later} in {earlier}": sum(key in known for key in inputs[later])
            for at, earlier in enumerate(names)
            for later in names[at + 1 :]
            for known in [set(inputs[earlier])]
        },
        "contradictory_inputs": sum(len(found) > 1 for found in labels.values()),
    }


def _split(
    dataset: Dataset, split: str, task: Task, inputs: Sequence[str], tokenizer: Callable[..., Any] | None
) -> dict[str, Any]:
    rows = dataset.rows(split)
    counts = Counter(label for row in rows for label in labels_in(row[task.target]))
    written = [] if dataset.labels else [{"target": row[task.target][0]} for row in rows]
    return {
        "rows": len(rows),
        "labels": {name: counts[index] for index, name in enumerate(dataset.labels)},
        "length": _summary(_lengths(rows, task.fields, tokenizer)),
        **({"target_length": _summary(_lengths(written, ("target",), tokenizer))} if written else {}),
        "empty": sum(not all(_text(row[field]).strip() for field in task.fields) for row in rows),
        "duplicates": len(inputs) - len(set(inputs)),
        "fingerprint": dataset.fingerprint(split),
    }


def _lengths(rows: Sequence[Example], fields: Sequence[str], tokenizer: Callable[..., Any] | None) -> list[int]:
    totals = [0] * len(rows)
    for field in fields:
        texts = [_text(row[field]) for row in rows]
        if tokenizer is None:
            pieces = [text.split() for text in texts]
        else:
            pieces = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        totals = [total + len(piece) for total, piece in zip(totals, pieces, strict=True)]
    return totals


def _text(value: str | Sequence[str]) -> str:
    return value if isinstance(value, str) else " ".join(value)


def _summary(lengths: Sequence[int]) -> dict[str, float]:
    """Smallest, median, 95th percentile (nearest rank) and largest."""
    ordered = sorted(lengths)
    p95 = ordered[math.ceil(0.95 * len(ordered)) - 1]
    return {"min": ordered[0], "median": statistics.median(ordered), "p95": p95, "max": ordered[-1]}
