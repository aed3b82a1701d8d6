"""Data sets by name: research sets that the user has in a folder (or the hub has), and `reviews` from its package."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Named:
    """A known set: its task, its name on the hub, and how the hub calls the task's fields."""

    task: str
    hub: str | None = None
    hub_columns: Mapping[str, str] = field(default_factory=dict)


NAMED: dict[str, Named] = {
    "mrpc": Named("pair-classification", "nyu-mll/glue:mrpc", {"text1": "sentence1", "text2": "sentence2"}),
    "sst2": Named("classification", "nyu-mll/glue:sst2", {"text": "sentence"}),
    "reviews": Named("classification"),
}


def find_folder(name: str) -> Path | None:
    """The folder of a named set: in `FOREWORD_DATA`, else in `shared/data` beside this folder or one above it."""
    places = [Path(os.environ["FOREWORD_DATA"]).expanduser()] if os.environ.get("FOREWORD_DATA") else []
    here = Path.cwd()
    places += [base / "shared" / "data" for base in (here, *here.parents)]
    return next((place / name for place in places if (place / name).is_dir()), None)
