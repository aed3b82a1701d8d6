"""Stories from where they were written: run folders of `foreword story write`, and JSON lines of any origin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foreword.data import files
from foreword.data.dataset import canonical
from foreword.errors import DataError
from foreword.stories.diversity import logs
from foreword.stories.runlog import LOG
from foreword.stories.story import Story
from foreword.stories.writers.legible import paired

MOST = 1e12
"""Seconds or tokens of a story: more is no number of either."""


@dataclass(frozen=True)
class Entry:
    """A story, the spec it was written for (canonical JSON; empty where it is not known), and its writer.

    `settings`: what its run tells of the writer, and `place`, where; both empty where there was no run.
    """

    story: Story
    spec: str = ""
    writer: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    place: str = ""


def read(places: Iterable[str | Path]) -> list[Entry]:
    """All stories of run folders, folders of such, and files of JSON lines, each place once.

    A folder's run is its log: of a story that was revised, the last state counts, and a line that an end cut off is
    passed over. A line of another file has `text`, and may have `approach` (else the file's name), `spec`, `writer`,
    and whatever a `Story` has.

    **Raises** `DataError`: nothing there, a line without a text, or with a value that is none.
    """
    found: list[Entry] = []
    seen: set[Path] = set()
    for place in places:
        for path in _files(Path(place).expanduser()):
            if path.resolve() not in seen:
                seen.add(path.resolve())
                found += _entries(path)
    return found


def by_approach(entries: Sequence[Entry]) -> dict[str, dict[str, list[Story]]]:
    """The stories of each approach by spec; those of another writer than the commonest are named with it.

    **Raises** `DataError` where two runs of one name tell of other settings.
    """
    usual = Counter(entry.writer for entry in entries).most_common(1)
    made: dict[str, dict[str, list[Story]]] = {}
    told: dict[tuple[str, str], tuple[Any, str]] = {}
    for entry in entries:
        name = entry.story.approach
        if entry.writer != usual[0][0]:
            name = f"{name} ({entry.writer or 'unknown writer'})"
        for setting, value in entry.settings.items():
            before, place = told.setdefault((name, setting), (value, entry.place))
            if before != value:
                raise DataError(
                    f"two runs of '{name}' differ in their {setting}: {before} and {value}",
                    where=f"{place} and {entry.place}",
                    do="give runs of the same settings, or .jsonl files that tell the two apart by their 'approach'",
                )
        made.setdefault(name, {}).setdefault(entry.spec, []).append(entry.story)
    return made


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise DataError(
            f"no such file or folder: {place}", do="give folders of `foreword story write`, or .jsonl files"
        )
    if (place / LOG).is_file():
        return [place / LOG]
    found = sorted(place.rglob(LOG)) or sorted(place.glob("*.jsonl"))
    if not found:
        do = f"give the folder of a run (it holds {LOG}), or .jsonl files with a text in every line"
        raise DataError("there are no stories here", where=str(place), do=do)
    return found


def _entries(path: Path) -> list[Entry]:
    table = logs.read(path) if path.name == LOG else files.read(path)
    if logs.is_log(table, path):
        return list(_logged(table, path))
    return [_line(row, table.place(i), path) for i, row in enumerate(table.rows)]


def _logged(table: files.Table, path: Path) -> Iterator[Entry]:
    """The stories of a log in their last state, in the order in which they were first told."""
    spec, writer, settings, last = "", "", dict[str, Any](), dict[int, tuple[Mapping[str, Any], str]]()
    for event, row, where in logs.events(table):
        if event == "run":
            spec, writer = _spec(row, where), _writer(row)
            settings = logs.settings(row)
        elif event == "story":
            last[logs.number(row, where)] = row, where
    if not last:
        raise DataError("the run wrote no story", where=str(path))
    for row, where in last.values():
        values = {name: value for name, value in row.items() if name not in ("event", "number")}
        yield Entry(_story(values, where), spec, writer, settings, str(path.parent))


def _line(row: Mapping[str, Any], where: str, path: Path) -> Entry:
    if not isinstance(row.get("text"), str):
        raise DataError("the line has no text", where=where, do='write {"text": "...", "approach": "..."}')
    story = {"title": "", "approach": path.stem, "seed": 0, "prompt": "", "checks": (), "edits": (), **row}
    spec = "" if row.get("spec") is None else _spec(row, where)
    kept = {name: value for name, value in story.items() if name in Story.__dataclass_fields__}
    return Entry(_story(kept, where), spec, _writer(row))


def _spec(row: Mapping[str, Any], where: str) -> str:
    if "spec" not in row:
        raise DataError("the run's line has no spec", where=where, do="write it anew: foreword story write")
    try:
        return paired(canonical(row["spec"]))
    except (TypeError, ValueError, RecursionError):
        raise DataError(
            "the line's spec is no plain data", where=where, do="give it as text, or leave it out"
        ) from None


def _writer(row: Mapping[str, Any]) -> str:
    return paired(str(row.get("writer") or ""))


def _story(values: Mapping[str, Any], where: str) -> Story:
    clean = {name: paired(value) if isinstance(value, str) else value for name, value in values.items()}
    try:
        made = Story.from_dict(clean)
    except (TypeError, KeyError) as error:
        raise DataError(
            f"the line is no story: {error}", where=where, do="write it anew: foreword story write"
        ) from None
    for name in ("text", "approach"):
        if not isinstance(clean[name], str):
            raise DataError(f"the line's {name} is {_shown(clean[name])}", where=where, do="give a text")
    for name in ("seconds", "tokens"):
        value = getattr(made, name)
        if not isinstance(value, int | float) or not 0 <= value < MOST:
            raise DataError(f"the line's {name} are {_shown(value)}", where=where, do="give a number, or leave it out")
    for one in made.checks:
        if not isinstance(one.constraint, str) or not isinstance(one.passed, bool) or not isinstance(one.hard, bool):
            raise DataError("a check of the line is none", where=where, do="leave it out, or write the story anew")
    return made


def _shown(value: Any) -> str:
    """A value for a message."""
    told = "null" if value is None else repr(value)
    return told if len(told) <= 40 else f"{told[:40]}…"
