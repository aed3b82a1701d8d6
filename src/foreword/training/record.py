"""One JSON a run: what was done, on what, with which result. Written by the program, never edited.

Schema 2 names every evaluated example by a hash of its input and target, and the prompt and the code by one each, so
that results can be compared row by row and never by mistake; it also holds the right classes and how sure the run was
of each answer. Schema 1 has none of these: there a split is known by the hash of all its rows in order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foreword.artifacts.manifest import machine, versions
from foreword.assembly import Assembly
from foreword.data import Dataset
from foreword.data.dataset import Example, canonical
from foreword.evaluation.measuring import majority
from foreword.evaluation.scoring import Scored
from foreword.tasks.base import Task
from foreword.training.checkpoint import Progress
from foreword.training.memory import highest
from foreword.training.plan import Plan
from foreword.training.source import source_hash
from foreword.whole import put

SCHEMA = 2
DIGITS = 12
"""Hexadecimal digits of an example's hash."""


def record(
    assembly: Assembly,
    dataset: Dataset,
    plan: Plan,
    progress: Progress,
    scored: Mapping[str, Scored],
    rows: int,
    scoring_seconds: float,
    cut: Mapping[str, str],
) -> dict[str, Any]:
    """The run's result as plain data. `rows`: of the training split that were used; `cut`: what was cut, by split."""
    config = assembly.config
    return {
        "schema": SCHEMA,
        "task": dataset.name,
        "kind": dataset.task,
        "method": config.method.name,
        "readout": config.readout.name if config.readout else None,
        "backbone": assembly.backbone.name,
        "seed": config.seed,
        "labels": list(dataset.labels),
        "notes": list(dataset.notes),
        "f1_of": dataset.labels[1] if len(dataset.labels) == 2 else None,
        "train": {
            "rows": rows,
            "steps": progress.step,
            "steps_planned": plan.steps,
            "epochs": round(progress.step / max(plan.steps_per_epoch, 1), 3),
            "best_step": progress.best_step,
            "stopped_early": progress.stopped_early,
        },
        **_classes(dataset, assembly.reader.task),
        **{split: _split(dataset, split, one, assembly.reader.task) for split, one in scored.items()},
        "seconds": round(progress.seconds, 2),
        "scoring_seconds": round(scoring_seconds, 2),
        "cut": dict(cut),
        "peak_memory_mb": round(highest() / 2**20, 1),
        "parameters": {
            "trained": plan.trained_parameters,
            "stored": plan.stored_parameters,
            "backbone": plan.backbone_parameters,
        },
        "curve": progress.curve,
        "plan": plan.to_dict(),
        "config": config.model_dump(mode="json"),
        "data": {split: dataset.fingerprint(split) for split in dataset.splits},
        "prompt": _prompt_hash(assembly),
        "backbone_fingerprint": assembly.backbone.fingerprint,
        "code": {"version": versions()["foreword"], "source": source_hash()},
        "versions": versions(),
        "machine": machine(),
    }


def _split(dataset: Dataset, split: str, scored: Scored, task: Task) -> dict[str, Any]:
    found: dict[str, Any] = {
        "rows": len(scored.predictions),
        **{name: round(value, 6) for name, value in scored.metrics.items()},
        "degenerate": scored.degenerate,
        "predictions": scored.predictions,
    }
    line = majority(task, dataset.labels, dataset.rows("train"), dataset.rows(split), list(scored.metrics))
    if line is not None:
        found["majority"] = {name: round(value, 6) for name, value in line.items()}
    if scored.by_row or line is None:
        found["by_row"] = {name: [round(value, 6) for value in values] for name, values in scored.by_row.items()}
        found["notes"] = scored.notes
    if task.answer == "class":
        found["targets"] = [row[task.target] for row in dataset.rows(split)]
    if scored.probabilities is not None:
        found["confidences"] = [round(float(sure), 3) for sure in scored.probabilities.max(-1).values]
    found["examples"] = " ".join(example_hash(row, task) for row in dataset.rows(split))
    return found


def example_hash(row: Example, task: Task) -> str:
    """The first digits of sha256 over what a row gives and what would be right: equal examples, equal hash."""
    shown = {name: row[name] for name in task.inputs if name in row}
    text = canonical([shown, row[task.target]])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]


def _prompt_hash(assembly: Assembly) -> str:
    """The hash of all that makes an example into what the model reads: with the example's own, that of its prompt."""
    encoder = assembly.reader.encoder
    parts = [str(encoder.template), encoder.max_length, encoder.shorten, encoder.keep, encoder.chat]
    shown = [[dict(fields), answer] for fields, answer in encoder.demonstrations]
    text = canonical([*parts, shown, list(assembly.reader.labels), assembly.backbone.name])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]


def _classes(dataset: Dataset, task: Task) -> dict[str, list[int]]:
    """How many training rows each class has: all that guessing needs to know."""
    if task.answer != "class":
        return {}
    counts = [0] * len(dataset.labels)
    for row in dataset.rows("train"):
        counts[row[task.target]] += 1
    return {"train_classes": counts}


def write_json(path: Path, values: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write in one stroke; lists of numbers stay on one line. **Raises** `ForewordError` where it cannot."""
    put(path, _pretty(values) + "\n")


def _pretty(value: Any, indent: int = 0) -> str:
    if isinstance(value, Mapping) and value:
        pad = " " * (indent + 1)
        inside = ",\n".join(f"{pad}{json.dumps(str(k))}: {_pretty(v, indent + 1)}" for k, v in value.items())
        return "{\n" + inside + "\n" + " " * indent + "}"
    return json.dumps(value, ensure_ascii=False)
