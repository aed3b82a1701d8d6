"""What a run leaves behind: a log, a line for everything that happened, and its stories."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foreword.errors import ForewordError
from foreword.stories.writers.legible import paired
from foreword.whole import put

LOG = "log.jsonl"


class RunLog:
    """Appends to `log.jsonl` of a folder, and flushes every line; without a folder it does nothing.

    `again`: the run goes on, and so does its log.

    **Raises** `ForewordError` for a folder that cannot be written to, or that holds a log already.
    """

    def __init__(self, folder: Path | None, *, again: bool = False) -> None:
        self.folder = folder
        if folder is None:
            return
        if (folder / LOG).exists() and not again:
            raise ForewordError("the folder holds the stories of another run", where=str(folder), do="give another one")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / LOG).open("a+b") as file:  # a line that an end cut off must not run into the next one
                if file.tell() and (file.seek(-1, 2), file.read())[1] != b"\n":
                    file.write(b"\n")
        except OSError as error:
            raise _unwritable(error, folder) from None

    def write(self, event: str, values: Mapping[str, Any]) -> None:
        """One line of JSON."""
        if self.folder is None:
            return
        line = paired(json.dumps({"event": event, **values}, ensure_ascii=False))
        try:
            with (self.folder / LOG).open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise _unwritable(error, self.folder / LOG) from None

    def keep(self, name: str, values: Mapping[str, Any]) -> None:
        """A whole file of JSON, at once."""
        if self.folder is not None:
            put(self.folder / name, paired(json.dumps(values, ensure_ascii=False, indent=1)) + "\n")


def _unwritable(error: OSError, path: Path) -> ForewordError:
    do = "give a place that can be written to, or make room there"
    return ForewordError(f"cannot write: {error.strerror or error}", where=str(path), do=do)
