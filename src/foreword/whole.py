"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from foreword.errors import ForewordError


def put(path: Path, content: str | bytes, what: str = "") -> None:
    """Write a file in one stroke, its folders too; text as UTF-8. `what` it is, such as "the page", stands in errors.

    **Raises** `ForewordError` where it cannot be written; a file that was there before is then untouched.
    """
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.chmod(temporary, 0o644)  # mkstemp makes it private; what is written here is there to be read
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        do = "free some space" if full else "give the name of a file, in a folder that can be written to"
        named = f"cannot write {what}".rstrip()
        raise ForewordError(f"{named}: {error.strerror or error}", where=str(path), do=do) from None
