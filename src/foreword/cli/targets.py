"""Files that a command writes at its end, looked at before its work."""

from __future__ import annotations

import os
from pathlib import Path


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
            raise ConfigError(f"{option} names a folder", where=str(path), do="give the name of a file in it")
        above = next(one for one in place.parents if one.exists())  # folders that are missing are made
        if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
            what = "is no folder" if not above.is_dir() else "cannot be written to"
            do = "give the name of a file, in a folder that can be written to"
            raise ConfigError(f"cannot write {option}: {above} {what}", where=str(path), do=do)
