"""A study: many specs by several approaches with one writer and seed, that goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from foreword.errors import ConfigError, DataError, ForewordError
from foreword.stories import spec as specs
from foreword.stories.checking import check
from foreword.stories.consistency import require_consistent
from foreword.stories.resources import FOLDER
from foreword.stories.runlog import LOG
from foreword.stories.spec import StorySpec
from foreword.stories.story import Story
from foreword.stories.writers import Writer
from foreword.stories.writers.pool import Pool
from foreword.stories.writing import Watch, write

SPECS = FOLDER / "study.yaml"
DONE = "stories.json"


@dataclass(frozen=True)
class Unit:
    """The stories of one spec by one approach. `label`: what the approach is called in the study."""

    label: str
    approach: str
    name: str
    spec: StorySpec
    folder: Path


@dataclass(frozen=True)
class Made:
    """One story of a study: of which spec, its number, and what failed of the text as it was first written."""

    label: str
    name: str
    spec: StorySpec
    number: int
    story: Story
    raw: str
    raw_failed: tuple[str, ...]
    raw_passed: bool
    writer: str

    def to_dict(self) -> dict[str, Any]:
        """A line for `foreword story compare`: a story without its places of evidence, and notes where it fails."""
        found = self.story.to_dict()
        checks = [{**one, "evidence": [], "note": "" if one["passed"] else one["note"]} for one in found["checks"]]
        spec = self.spec.model_dump(mode="json", exclude_defaults=True)
        raw = {"raw": self.raw} if self.raw != self.story.text else {}
        return {**found, "approach": self.label, "checks": checks, "spec_name": self.name, "spec": spec,
                "writer": self.writer, "number": self.number, "raw_passed": self.raw_passed,
                "raw_failed": list(self.raw_failed), **raw}  # fmt: skip


def load_specs(path: str | Path = SPECS) -> dict[str, StorySpec]:
    """Specs by name, from a YAML file. **Raises** `ConfigError` that names the spec."""
    try:
        found = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise ConfigError(f"cannot read the specs: {reason}", where=str(path), do="give a YAML file") from None
    if not isinstance(found, Mapping) or not all(isinstance(one, Mapping) for one in found.values()):
        raise ConfigError("a study needs specs by name", where=str(path), do="write name: {topic: …, length: …}")
    made = {}
    for name, values in found.items():
        if not str(name).replace("-", "").replace("_", "").isalnum():
            raise ConfigError(f"'{name}' is no name for a spec", where=str(path), do="use letters, digits, - and _")
        made[str(name)] = specs.make(dict(values), where=f"{path}: {name}")
        require_consistent(made[str(name)])
    return made


def units(folder: Path, wanted: Mapping[str, StorySpec], approaches: Mapping[str, str]) -> list[Unit]:
    """All units, spec by spec, so that what there is after any time compares approaches on the same specs."""
    return [
        Unit(label, approach, name, spec, folder / label / name)
        for name, spec in wanted.items()
        for label, approach in approaches.items()
    ]


def run(
    todo: Sequence[Unit],
    writer: Writer,
    *,
    n: int,
    seed: int = 0,
    side: int = 1,
    watch: Watch | None = None,
    advance: Callable[[Unit], None] = lambda unit: None,
) -> None:
    """Write what is not written yet, `n` stories a unit, `side` units side by side in the writer's batches.

    Every story is in its unit's log as soon as it is written, and a unit that was broken off goes on with the stories
    that it has. **Raises** `KeyboardInterrupt` where it was stopped, `ConfigError` for a unit of another seed, number,
    spec or writer; what else writing raises.
    """
    left = []
    for unit in todo:
        known = _known(unit, writer, n, seed)
        if known is None:
            advance(unit)
        else:
            left.append((unit, known))

    def job(unit: Unit, known: Mapping[int, Story], who: Writer) -> None:
        made = write(unit.spec, approach=unit.approach, n=n, keep=n, seed=seed, writer=who, folder=unit.folder,
                     watch=watch, known=known)  # fmt: skip
        if made.stopped:  # its log stays, and what marks it as done goes
            (unit.folder / DONE).unlink(missing_ok=True)
            if made.stopped != "interrupted":
                raise ForewordError(f"the study stopped: {made.stopped}", where=str(unit.folder), do="run it again")
        else:
            advance(unit)

    for first in range(0, len(left), side):
        Pool(writer).run([partial(job, *pair) for pair in left[first : first + side]])


def collect(
    folder: Path, wanted: Mapping[str, StorySpec], labels: Sequence[str], *, unfinished: bool = False
) -> list[Made]:
    """All stories of the units that are done, in order; `unfinished`: of the others too.

    **Raises** `DataError` where there are none.
    """
    found = [
        one
        for label in labels
        for name, spec in wanted.items()
        if unfinished or (folder / label / name / DONE).exists()
        for one in _read(folder, label, name, spec)
    ]
    if not found:
        raise DataError("no unit of the study is done", where=str(folder), do="run foreword story study first")
    return found


def header(folder: Path, label: str) -> dict[str, Any]:
    """What the first run of a label tells: writer, settings, versions, seed and number."""
    for log in sorted((folder / label).glob(f"*/{LOG}")):
        first = next(_events(log), {})
        return {name: first[name] for name in ("writer", "settings", "versions", "seed", "n", "repair", "approach")}
    raise DataError(f"there is no run of '{label}'", where=str(folder))


def _known(unit: Unit, writer: Writer, n: int, seed: int) -> dict[int, Story] | None:
    """The stories that a unit has, as they were before the writer repaired them; or None where it is done.

    Of a story that an interrupt cut short nothing is kept. So what goes on is what an unbroken study would have been.
    """
    log = unit.folder / LOG
    if not log.exists():
        return {}
    first = next(_events(log), {})
    asked = {"spec": unit.spec.model_dump(mode="json"), "approach": unit.approach, "writer": writer.name, "n": n,
             "seed": seed, "settings": json.loads(json.dumps(writer.describe()))}  # fmt: skip
    for settings in (asked["settings"], first.get("settings", {})):
        settings.pop("batch", None)  # how many are written side by side changes no story
    if wrong := next((name for name, value in asked.items() if first.get(name, value) != value), None):
        what = f"the unit was begun with another {wrong}"
        raise ConfigError(what, where=str(unit.folder), do="give another --output, or the same settings")
    if (unit.folder / DONE).exists():
        return None
    whole = {row["number"]: row["whole"] for row in _events(log) if row["event"] == "raw"}
    found: dict[int, Story] = {}
    for row in _events(log):
        if row["event"] == "raw":
            found.pop(row["number"], None)
        elif row["event"] == "story" and row["number"] not in found and whole[row["number"]]:
            values = {key: value for key, value in row.items() if key not in ("event", "number")}
            found[row["number"]] = Story.from_dict(values)
    return found


def _read(folder: Path, label: str, name: str, spec: StorySpec) -> Iterator[Made]:
    """The stories of a unit, each checked by the rules of today, which may be others than those of its log."""
    log = folder / label / name / LOG
    if not log.exists():
        return
    raw: dict[int, dict[str, Any]] = {}
    last: dict[int, dict[str, Any]] = {}
    writer = ""
    for row in _events(log):
        writer = str(row.get("writer", writer))
        if row["event"] == "raw":
            raw[row["number"]] = row
        elif row["event"] == "story":
            last[row["number"]] = {key: value for key, value in row.items() if key not in ("event", "number")}
    for number, values in sorted(last.items()):
        first = raw[number]
        story = Story.from_dict(values)
        story = replace(story, checks=check(story.text, spec))
        drafted = replace(story, text=first["text"], checks=check(first["text"], spec))
        yield Made(label, name, spec, number, story, drafted.text, tuple(drafted.failed), drafted.passed, writer)


def _events(log: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log; one that was cut off by an end is left out."""
    for line in log.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            yield json.loads(line)
        except ValueError:
            continue
