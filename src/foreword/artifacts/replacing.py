"""Folders that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from foreword.errors import ArtifactError


@contextmanager
def replaced(folder: Path, what: str) -> Iterator[Path]:
    """An empty folder to write into, which takes `folder`'s place when the block is left; an older one goes whole.

    **Raises** `ArtifactError` when `what` cannot be written; nothing half-written stays.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
            made = Path(scratch) / "new"
            made.mkdir()
            yield made
            if folder.exists():
                os.replace(folder, Path(scratch) / "old")
            os.replace(made, folder)
    except (OSError, SafetensorError) as error:
        raise ArtifactError(
            f"cannot write {what}: {error}", where=str(folder), do="free some space, or choose another folder"
        ) from None
