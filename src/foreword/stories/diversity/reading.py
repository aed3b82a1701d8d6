"""Stories from where they were written: run folders of `foreword story write`, and JSON lines of any origin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foreword.data import files
from foreword.data.dataset import canonical
from foreword.errors import DataError
from foreword.stories.runlog import LOG
from foreword.stories.story import Story


@dataclass(frozen=True)
class Entry:
    """A story, the spec it was written for (canonical JSON; empty where it is not known), and its writer."""

    story: Story
    spec: str = ""
    writer: str = ""


def read(places: Iterable[str | Path]) -> list[Entry]:
    """All stories of run folders, folders of such, and files of JSON lines, each place once.

    A folder's run is its log: of a story that was revised, the last state counts. A line of another file has `text`,
    and may have `approach` (else the file's name), `spec`, `writer`, and whatever a `Story` has.

    **Raises** `DataError`: nothing there, a line without a text.
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
    """The stories of each approach by spec; those of another writer than the commonest are named with it."""
    usual = Counter(entry.writer for entry in entries).most_common(1)
    made: dict[str, dict[str, list[Story]]] = {}
    for entry in entries:
        name = entry.story.approach
        if entry.writer != usual[0][0]:
            name = f"{name} ({entry.writer or 'unknown writer'})"
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
    table = files.read(path)
    if any("event" in row for row in table.rows):
        return list(_logged(table.rows, str(path)))
    return [_line(row, table.place(i), path) for i, row in enumerate(table.rows)]


def _logged(rows: Sequence[Mapping[str, Any]], where: str) -> Iterator[Entry]:
    """The stories of a log in their last state, in the order in which they were first told."""
    spec, writer, last = "", "", dict[int, Mapping[str, Any]]()
    for row in rows:
        if row["event"] == "run":
            spec, writer = canonical(row["spec"]), str(row["writer"])
        elif row["event"] == "story":
            last[int(row["number"])] = row
    if not last:
        raise DataError("the run wrote no story", where=where)
    for row in last.values():
        values = {name: value for name, value in row.items() if name not in ("event", "number")}
        yield Entry(_story(values, where), spec, writer)


def _line(row: Mapping[str, Any], where: str, path: Path) -> Entry:
    if not isinstance(row.get("text"), str):
        raise DataError("the line has no text", where=where, do='write {"text": "...", "approach": "..."}')
    story = {"title": "", "approach": path.stem, "seed": 0, "prompt": "", "checks": (), "edits": (), **row}
    spec = "" if row.get("spec") is None else canonical(row["spec"])
    kept = {name: value for name, value in story.items() if name in Story.__dataclass_fields__}
    return Entry(_story(kept, where), spec, str(row.get("writer", "")))


def _story(values: Mapping[str, Any], where: str) -> Story:
    try:
        return Story.from_dict(values)
    except (TypeError, KeyError) as error:
        raise DataError(
            f"the line is no story: {error}", where=where, do="write it anew: foreword story write"
        ) from None
