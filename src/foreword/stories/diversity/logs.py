"""The lines of a run's log, as far as a comparison reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from foreword.data.files import Table
from foreword.errors import DataError
from foreword.stories.runlog import LOG

WITHOUT = ("batch", "max_tokens")
"""Settings that change no story: how many are written side by side, and what all may cost."""


def read(path: Path) -> Table:
    """All lines of a log. One that an end cut off is passed over: the last, or one behind which a run goes on.

    **Raises** `DataError`: unreadable, empty, another line that is broken.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise DataError(f"cannot read the log: {error.strerror}", where=str(path)) from None
    rows: list[dict[str, Any]] = []
    places: list[int] = []
    broken: DataError | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        row = _row(line, f"{path}:{number}")
        if isinstance(row, DataError):
            if broken:
                raise broken
            broken = row
            continue
        if broken and row.get("event") != "run":
            raise broken
        broken = None
        rows.append(row)
        places.append(number)
    if not rows:
        raise DataError("the log holds no line", where=str(path), do="write the stories anew")
    return Table(tuple(rows), tuple(places), str(path))


def is_log(table: Table, path: Path) -> bool:
    """Whether these are events; a text with a column of that name is none."""
    if path.name == LOG:
        return any("event" in row for row in table.rows)
    return any(
        (row.get("event") == "run" and "text" not in row) or (row.get("event") == "story" and "number" in row)
        for row in table.rows
    )


def events(table: Table) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Each line's event, the line, and its place. **Raises** `DataError` for a line without one."""
    for index, row in enumerate(table.rows):
        if not isinstance(row.get("event"), str):
            what = "the line of the log has no event"
            raise DataError(what, where=table.place(index), do="take it out, or write the stories anew")
        yield row["event"], row, table.place(index)


def number(row: Mapping[str, Any], where: str) -> int:
    """Which story a line is of. **Raises** `DataError`."""
    found = row.get("number")
    if not isinstance(found, int):
        raise DataError("the story of the log has no number", where=where, do="write it anew: foreword story write")
    return found


def settings(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's first line tells of how its stories were written and mended."""
    told = row.get("settings")
    found = {name: value for name, value in told.items() if name not in WITHOUT} if isinstance(told, Mapping) else {}
    return found | ({"repair": row["repair"]} if "repair" in row else {})


def _row(line: bytes, where: str) -> dict[str, Any] | DataError:
    """A line's object, or what is wrong with it."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is one
        return DataError(f"broken line, not JSON: {error}", where=where)
    if not isinstance(row, dict):
        return DataError(f"this line is a {type(row).__name__}, not an object", where=where)
    return row
