"""Result files as `foreword train` writes them, small and made up."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TARGETS = [0, 1, 1, 0, 1, 1, 0, 1, 1, 1] * 6
"""Sixty right answers, most of them 1."""

_RECORD: dict[str, Any] = {
    "schema": 2, "task": "made-up", "kind": "classification", "method": "p-tuning-v2", "readout": "linear",
    "backbone": "tiny", "seed": 0, "labels": ["bad", "good"], "notes": [], "f1_of": "good",
    "train": {"rows": 100, "steps": 4, "steps_planned": 4, "epochs": 1.0, "best_step": 4, "stopped_early": False},
    "train_classes": [40, 60], "seconds": 12.5, "scoring_seconds": 0.6, "cut": {}, "peak_memory_mb": 500.0,
    "parameters": {"trained": 1000, "stored": 900, "backbone": 10000},
    "curve": [{"step": k, "loss": 1 / k, "validation.accuracy": k / 6} for k in (2, 4)],
    "config": {
        "data": {"source": "made-up"}, "backbone": "tiny", "method": {"name": "p-tuning-v2", "num_virtual_tokens": 4},
        "training": {"learning_rate": 0.01}, "seed": 0, "threads": 1, "output": None,
    },
    "data": {"train": "a" * 64, "validation": "b" * 64, "test": "c" * 64}, "prompt": "0" * 12,
    "backbone_fingerprint": "d" * 64, "code": {"version": "0.1.0", "source": "e" * 12},
    "versions": {"python": "3.11", "foreword": "0.1.0", "torch": "2.13", "transformers": "5.23", "numpy": "2"},
    "machine": {"processor": "one"}, "together": 1, "kept_error": None,
}  # fmt: skip


def record(
    predictions: Sequence[int], seed: int = 0, *, method: str = "p-tuning-v2", schema: int = 2, **changes: Any
) -> dict[str, Any]:
    """A run that answered `predictions` to `TARGETS`; `changes` are fields of the record."""
    made = copy.deepcopy(_RECORD) | {"seed": seed, "method": method, "schema": schema}
    made["config"] |= {"seed": seed, "method": {"name": method}}
    made["parameters"]["trained"] = 0 if method == "hard" else 1000
    wrong = [p != t for p, t in zip(predictions, TARGETS, strict=True)]
    made["test"] = {
        "rows": len(TARGETS),
        "accuracy": 1 - sum(wrong) / len(TARGETS),
        "f1": 0.5,
        "loss": 0.4,
        "degenerate": len(set(predictions)) == 1,
        "predictions": list(predictions),
        "majority": {"accuracy": sum(TARGETS) / len(TARGETS), "f1": 0.8},
        "targets": list(TARGETS),
        "confidences": [0.9] * len(TARGETS),
        "examples": " ".join(f"{k:012x}" for k in range(len(TARGETS))),
    }
    if schema == 1:
        for name in ("targets", "confidences", "examples"):
            del made["test"][name]
        for name in ("train_classes", "code", "prompt"):
            del made[name]
    return made | changes


def answers(wrong: int, start: int = 0) -> list[int]:
    """Right answers but for `wrong` of them, from row `start` on."""
    return [1 - t if start <= k < start + wrong else t for k, t in enumerate(TARGETS)]


def write(folder: Path, name: str, values: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def several(folder: Path) -> Path:
    """A hard prompt, two methods with three seeds, one of whose runs answers the majority class everywhere."""
    write(folder, "hard-seed0", record(answers(20), method="hard"))
    for seed in range(3):
        write(folder, f"good-seed{seed}", record(answers(4 + seed), seed))
        stuck = seed == 1
        write(folder, f"weak-seed{seed}", record([1] * 60 if stuck else answers(14 + seed), seed, method="lora"))
    return folder
