"""How far training moved a foreword from where it began."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.nn.functional import cosine_similarity

from foreword.backbone.backbone import Backbone
from foreword.injections import Injection
from foreword.inspection.parts import parts_of


@dataclass(frozen=True)
class Moved:
    """One part: its Euclidean length before and after, that of their difference, and their cosine.

    `cosine` is None where one of them is zero, as LoRA and adapters begin.
    """

    part: str
    before: float
    after: float
    distance: float
    cosine: float | None


def drift(initial: Injection, final: Injection, backbone: Backbone) -> list[Moved]:
    """Every part of a foreword against its own start."""
    before, after = parts_of(initial, backbone), parts_of(final, backbone)
    found = []
    for name, now in after.items():
        then = before[name]
        lengths = float(then.norm()), float(now.norm())
        cosine = float(cosine_similarity(then.flatten(), now.flatten(), dim=0)) if min(lengths) > 0 else None
        found.append(Moved(name, *lengths, float((now - then).norm()), cosine))
    return found


def course(folder: Path | None) -> list[dict[str, Any]]:
    """The run's drift at each evaluation: `{step, distance, cosine}`, from `metrics.jsonl` beside the artifact.

    Empty where the run was not kept, or was of a version that did not write it.
    """
    path = None if folder is None else folder.resolve().parent / "metrics.jsonl"
    if path is None or not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:  # a killed process may leave half a line
            continue
        drifted = entry.get("drift") if isinstance(entry, dict) else None
        if isinstance(drifted, dict) and isinstance(drifted.get("distance"), float):
            found.append({"step": int(entry["step"]), **drifted})
    return found
