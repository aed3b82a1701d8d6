"""Data sets by name: research sets that the user has in a folder (or the hub has), and `reviews` from its package."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Named:
    """A known set: its task, what it calls the task's fields, its name on the hub, and what the hub calls them."""

    task: str
    hub: str | None = None
    hub_columns: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)


_EN_DE = {"source": "en", "translation": "de"}
NAMED: dict[str, Named] = {
    "mrpc": Named("pair-classification", "nyu-mll/glue:mrpc", {"text1": "sentence1", "text2": "sentence2"}),
    "sst2": Named("classification", "nyu-mll/glue:sst2", {"text": "sentence"}),
    "reviews": Named("classification"),
    "summarization": Named("summarization", "knkarthick/dialogsum", {"document": "dialogue"}),
    "qa": Named("generative-qa"),
    "ner_wnut17": Named("tagging"),
    "lama": Named("knowledge-probing", columns={"subject": "sub_label", "object": "obj_label"}),
    "translation_en_de": Named("translation", "bentrevett/multi30k", _EN_DE, _EN_DE),
}


def find_folder(name: str) -> Path | None:
    """The folder of a named set: in `FOREWORD_DATA`, else in `shared/data` beside this folder or one above it."""
    places = [Path(os.environ["FOREWORD_DATA"]).expanduser()] if os.environ.get("FOREWORD_DATA") else []
    here = Path.cwd()
    places += [base / "shared" / "data" for base in (here, *here.parents)]
    return next((place / name for place in places if (place / name).is_dir()), None)
