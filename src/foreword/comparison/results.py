"""Result files as runs: read whatever is one, and name whatever is not."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from foreword.config import TrainingConfig
from foreword.data.dataset import canonical
from foreword.errors import DataError

NEWEST = 2
"""The newest schema of a result that is known here."""
LARGEST = 50_000_000
"""Bytes; a larger JSON is no result of one run."""
_NEEDED = ("schema", "task", "kind", "method", "seed", "config", "data", "versions", "parameters")


@dataclass(frozen=True)
class Run:
    """One run's result: the file it is in, the recipe's name, and what the file holds."""

    path: Path
    name: str
    record: Mapping[str, Any]

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return int(self.record["seed"])

    @property
    def table(self) -> tuple[str, str]:
        """What it can be compared on: the data's name, and the kind of task."""
        return str(self.record["task"]), str(self.record["kind"])

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """Its settings, with the defaults of today for those of training that came after it."""
        config = dict(self.record["config"])
        training = config.get("training")
        if isinstance(training, Mapping):
            config["training"] = {**TrainingConfig().model_dump(mode="json"), **training}
        return config

    @cached_property
    def recipe(self) -> str:
        """The resolved settings without the seed, without what changes no number, and without what is not set."""
        config = {k: v for k, v in self.config.items() if k not in ("seed", "output", "threads")}
        return canonical([_set(config), self.record.get("backbone_fingerprint")])

    @property
    def schema(self) -> int:
        """The schema of its file."""
        return int(self.record["schema"])

    @property
    def code(self) -> tuple[str, str | None]:
        """foreword's version, and the hash of the source files that decide a run's numbers: None where unknown."""
        code = self.record.get("code") or {}
        return str(code.get("version") or self.record["versions"].get("foreword", "?")), code.get("source")

    def part(self, split: str) -> Mapping[str, Any]:
        """What it scored on a split; empty where it has none."""
        found = self.record.get(split)
        return found if isinstance(found, Mapping) else {}

    def metrics(self, split: str) -> dict[str, float]:
        """The split's metrics by name."""
        return {name: value for name, value in self.part(split).items() if _is_metric(name, value)}

    def data(self, split: str) -> str | None:
        """The hash of the split's rows, in order."""
        found = self.record["data"].get(split) if isinstance(self.record["data"], Mapping) else None
        return found if isinstance(found, str) else None

    def examples(self, split: str) -> tuple[str, ...] | None:
        """The hash of each of the split's rows; None in a file of schema 1."""
        found = self.part(split).get("examples")
        return tuple(found.split()) if isinstance(found, str) else None

    def value(self, dotted: str) -> Any:
        """A field of its settings, such as `training.learning_rate`; None where there is none."""
        found: Any = self.record["config"]
        for name in dotted.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        return found


@dataclass(frozen=True)
class Read:
    """The runs that were found, and what was looked at and is none, with the reason."""

    runs: tuple[Run, ...]
    gaps: tuple[str, ...] = ()


def read(paths: Sequence[str | Path]) -> Read:
    """The runs in result files, run folders and folders of these.

    What is broken or no result is named among the gaps. **Raises** `DataError` where no run is left at all.
    """
    runs: list[Run] = []
    gaps: list[str] = []
    for path in map(Path, paths):
        if not path.exists():
            gaps.append(f"{path}: there is no such file or folder")
            continue
        found, aside = _folder(path) if path.is_dir() else ([_one(path)], 0)
        runs += [one for one in found if isinstance(one, Run)]
        gaps += [one for one in found if isinstance(one, str)]
        if aside:
            gaps.append(f"{path}: {aside} other JSON file(s) there are no results of a run")
    if not runs:
        what = "there is no result to compare" + ("".join(f"\n  {gap}" for gap in gaps))
        raise DataError(what, do="give results of foreword train: JSON files, run folders, or folders of these")
    return Read(*_distinct(runs, gaps))


def _folder(folder: Path) -> tuple[list[Run | str], int]:
    """What is found in a folder: a run folder's own result, else all results below it, and how many are others."""
    if (folder / "result.json").is_file():
        return [_one(folder / "result.json")], 0
    found: list[Run | str] = []
    aside = 0
    for path in sorted(folder.rglob("*.json")):
        one = _one(path) if path.stat().st_size <= LARGEST else ""
        if isinstance(one, Run) or "is no result" not in one:
            found += [one] if one else []
        aside += isinstance(one, str) and "is no result" in one and path.parent == folder
    if not any(isinstance(one, Run) for one in found):
        found.append(f"{folder}: no result of a run is in it")
    return found, aside


def _one(path: Path) -> Run | str:
    """The run in a file, or what is wrong with it."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror or error}"
    except (ValueError, RecursionError) as error:
        return f"{path}: broken JSON: {error}"
    if not isinstance(record, dict) or not all(name in record for name in _NEEDED):
        return f"{path}: is no result of a run"
    if not isinstance(record["schema"], int) or record["schema"] > NEWEST:
        return f"{path}: written by a newer foreword (schema {record['schema']}, known here: {NEWEST})"
    if not _whole(record):
        return f"{path}: a result whose fields have other types than a run writes"
    folder = path.parent.name if path.name == "result.json" else path.stem
    return Run(path, re.sub(r"-seed\d+$", "", folder), record)


def _whole(record: Mapping[str, Any]) -> bool:
    kinds = {"config": dict, "data": dict, "versions": dict, "parameters": dict, "seed": int, "method": str}
    if not all(isinstance(record[name], kind) for name, kind in kinds.items()):
        return False
    return all(_whole_part(record[split]) for split in ("validation", "test") if split in record)


def _whole_part(part: Any) -> bool:
    """Whether a split's part says of each row what it says of any."""
    if not isinstance(part, dict) or not isinstance(part.get("predictions"), list):
        return False
    by_row = part.get("by_row", {})
    lists = [part[name] for name in ("targets", "confidences") if name in part]
    lists += by_row.values() if isinstance(by_row, dict) else [None]
    examples = part.get("examples", "")
    lists += [examples.split()] if isinstance(examples, str) and examples else []
    rows = len(part["predictions"])
    return part.get("rows") == rows and all(isinstance(one, list) and len(one) == rows for one in lists)


def _is_metric(name: str, value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value) and name != "rows"


def _distinct(runs: Sequence[Run], gaps: Sequence[str]) -> tuple[tuple[Run, ...], tuple[str, ...]]:
    """Each run once: a copy is dropped, and so is a second run of one recipe and seed, which is no other seed."""
    kept: dict[tuple[Any, ...], Run] = {}
    told = list(gaps)
    for run in runs:
        key = (run.table, run.recipe, run.seed)
        first = kept.setdefault(key, run)
        if first is not run and first.path.resolve() != run.path.resolve():
            same = all(
                first.part(s).get("predictions") == run.part(s).get("predictions") for s in ("validation", "test")
            )
            why = "a copy of" if same else "the same recipe and seed, with other answers, as"
            told.append(f"{run.path}: {why} {first.path}; left out")
    return tuple(kept.values()), tuple(told)


def _set(values: Any) -> Any:
    """Plain data without its Nones: a version that had no such field wrote none."""
    if isinstance(values, Mapping):
        return {name: _set(value) for name, value in values.items() if value is not None}
    return [_set(one) for one in values] if isinstance(values, list) else values


def _answers(run: Run) -> list[Any]:
    return [run.part(split).get("predictions") for split in ("validation", "test")]


def differing(runs: Sequence[Run]) -> Iterator[tuple[str, list[Any]]]:
    """The settings, by dotted name, in which the runs differ, seeds aside; each with its values in order."""
    flat = [dict(_flat(run.config)) for run in runs]
    names = dict.fromkeys(name for one in flat for name in one)
    for name in names:
        values = [one.get(name) for one in flat]
        if name not in ("seed", "output", "threads") and any(value != values[0] for value in values):
            yield name, values


def _flat(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(values, Mapping) and values:
        for name, value in values.items():
            yield from _flat(value, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, values
