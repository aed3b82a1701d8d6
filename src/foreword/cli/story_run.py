"""What the long commands of `foreword story` share: a clean end, and files that are looked at before the work."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM is taken as Ctrl-C is: what is written is kept. Only the main thread can ask for that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def require_targets(folder: Path | None = None, **targets: Path | None) -> None:
    """Files that are written at the end, by their options, beside the run's folder.

    **Raises** `ConfigError` for one that is a folder, that is given twice, or that cannot be written to.
    """
    from foreword.errors import ConfigError

    taken = {} if folder is None else {folder.expanduser().resolve(): "the run's folder"}
    for name, path in targets.items():
        if path is None:
            continue
        option, place = f"--{name}", path.resolve()
        if place in taken:
            raise ConfigError(f"{option} and {taken[place]} are the same place", where=str(path), do="give two names")
        taken[place] = option
        if place.is_dir():
            raise ConfigError(f"{option} is a folder", where=str(path), do="give the name of a file in it")
        above = next(one for one in place.parents if one.exists())  # folders that are missing are made
        if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
            what = "is no folder" if not above.is_dir() else "cannot be written to"
            do = "give the name of a file, in a folder that can be written to"
            raise ConfigError(f"{option} cannot be written: {above} {what}", where=str(path), do=do)
