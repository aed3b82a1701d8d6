"""Which forewords a folder holds, read without their weights: what they answer, and for which backbone.

Links are not followed, so that nothing outside the folder is ever read. Scanning keeps a few hundred bytes of each.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from foreword import registry
from foreword.errors import ArtifactError, is_text
from foreword.tasks.base import Answer

MANIFEST, WEIGHTS = "foreword.json", "weights.safetensors"
MANIFEST_BYTES = 16 * 2**20
DEPTH = 8
"""How deep below the folder an artifact may lie."""
RENAME_SECONDS = 0.05
"""How long an artifact that is just being replaced may be absent."""

Identity = tuple[int, ...]
"""Inode, time and size of an artifact's two files: it changes when the artifact is replaced."""


@dataclass(frozen=True, slots=True)
class Card:
    """One foreword of the folder. `size`: of its weights, in bytes; `created`: as its manifest says, ISO 8601."""

    name: str
    folder: Path
    task: str
    answer: Answer
    backbone: str
    fingerprint: str
    created: str
    size: int


@dataclass(frozen=True)
class Found:
    """What a scan found: cards by name, and why others are refused."""

    cards: dict[str, Card]
    refused: dict[str, str]


def scan(root: Path) -> Found:
    """All artifacts below `root`. A folder `x/artifact` is called `x`, as `foreword train` writes it.

    **Raises** `ArtifactError` where `root` is no folder.
    """
    if not root.is_dir():
        raise ArtifactError(f"no such folder: {root}", do="give the folder that holds the forewords")
    cards: dict[str, Card] = {}
    refused: dict[str, str] = {}
    for folder in _artifacts(root, DEPTH):
        name = name_of(root, folder)
        try:
            cards[name] = read_card(name, folder)
        except ArtifactError as error:
            refused[name.encode("utf-8", "replace").decode()] = error.what
    return Found(dict(sorted(cards.items())), dict(sorted(refused.items())))


def name_of(root: Path, folder: Path) -> str:
    """What the artifact in `folder` is called."""
    parts = folder.relative_to(root).parts
    parts = parts[:-1] if len(parts) > 1 and parts[-1] == "artifact" else parts
    return "/".join(parts) or root.resolve().name


def _artifacts(folder: Path, depth: int) -> Iterator[Path]:
    """Folders with a manifest; hidden ones, in which artifacts are being written, and links are passed over."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    if any(entry.name == MANIFEST and not entry.is_symlink() for entry in entries):
        yield folder
        return
    for entry in entries:
        if depth and not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
            yield from _artifacts(Path(entry.path), depth - 1)


def identity(folder: Path) -> Identity:
    """The files' identity. **Raises** `ArtifactError` where one is missing, no plain file, or a link."""
    found: list[int] = []
    for name in (MANIFEST, WEIGHTS):
        try:
            info = (folder / name).lstat()
        except OSError:
            raise ArtifactError(f"the artifact has no {name}", where=str(folder)) from None
        if not stat.S_ISREG(info.st_mode):
            raise ArtifactError(f"its {name} is a link or no plain file, which is not followed", where=str(folder))
        found += [info.st_dev, info.st_ino, info.st_mtime_ns, info.st_size]
    return tuple(found)


def settled(folder: Path) -> Identity:
    """As `identity`, but one that is absent is looked for once more: it may be between the renames that replace it."""
    try:
        return identity(folder)
    except ArtifactError:
        time.sleep(RENAME_SECONDS)
    return identity(folder)


def read_card(name: str, folder: Path) -> Card:
    """The card of an artifact. **Raises** `ArtifactError` where its manifest is broken or foreign."""
    if not is_text(name):
        raise ArtifactError("its name is not UTF-8", where=repr(folder))
    size = identity(folder)[7]
    path = folder / MANIFEST
    try:
        if path.stat().st_size > MANIFEST_BYTES:
            raise ArtifactError(f"{MANIFEST} is larger than {MANIFEST_BYTES} bytes", where=str(path))
        values: Any = json.loads(path.read_bytes())
        task, backbone, created = values["task"], values["backbone"], values["created"]
        facts = (task, backbone["name"], backbone["fingerprint"], created)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(f"{MANIFEST} is broken or foreign ({type(error).__name__})", where=str(path)) from None
    if not all(isinstance(one, str) for one in facts) or task not in registry.tasks.names:
        raise ArtifactError(f"{MANIFEST} is broken or foreign: its task or its backbone is not known", where=str(path))
    return Card(name, folder, task, _answer(task), facts[1], facts[2], created, size)


@cache
def _answer(task: str) -> Answer:
    answer: Answer = registry.tasks.get(task)().answer
    return answer
