"""What the frozen backbone makes of a data set, computed once and kept on disk for all epochs, seeds and runs.

Two things never change in training: the output of the layers below the first injection, and, in a causal model, the
keys and values of the text in front of the first virtual token. Either is one array a row, `[T, W]`. A set of rows is
one folder of the user's cache, made in a temporary one and renamed, so that it is whole or not there; what was used
longest ago makes room when the cache is full.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor

from foreword import store
from foreword.errors import ConfigError, ForewordError
from foreword.text.rows import Row

Precision = Literal["float32", "float16"]
VERSION = 1
LIMIT_GB = 10.0
ATTEMPTS = 3


@dataclass(frozen=True)
class Wanted:
    """What is to be kept: `kind` and `start` say what it is of, `width` is W, `offset` moves the positions."""

    backbone: str
    kind: Literal["states", "memory"]
    start: int
    offset: int
    width: int
    precision: Precision

    def key(self, rows: Sequence[Row]) -> str:
        """The name of the folder: a hash over all that the numbers depend on."""
        digest = hashlib.sha256(repr((VERSION, self)).encode())
        for row in rows:
            digest.update(repr((row.ids, row.types)).encode())
        return digest.hexdigest()[:32]

    @property
    def row_bytes(self) -> int:
        """How much room a token takes."""
        return self.width * np.dtype(self.precision).itemsize

    def bytes(self, rows: Sequence[Row]) -> int:
        """How much room it takes."""
        return sum(len(row) for row in rows) * self.row_bytes


@dataclass(frozen=True)
class Kept:
    """The arrays of the rows, as views of one memory map. `error`: the largest loss by float16, against their rms."""

    arrays: list[np.ndarray]
    error: float
    made: bool


Produce = Callable[[], Iterator[tuple[int, Tensor]]]
"""Gives each row's number and its `[T, W]` array, in any order."""


def limit() -> int:
    """The cache's limit in bytes: `FOREWORD_CACHE_GB`, or ten of them. **Raises** `ConfigError` for no number."""
    given = os.environ.get("FOREWORD_CACHE_GB", str(LIMIT_GB))
    try:
        size = float(given)
    except ValueError:
        size = -1.0
    if not 0 <= size < float("inf"):
        raise ConfigError(f"FOREWORD_CACHE_GB is {given!r}, no size in gigabytes", do="set it to a number such as 10")
    return int(size * 1e9)


def room(wanted: Wanted, sets: Sequence[Sequence[Row]]) -> str | None:
    """Why there is no room for these sets of rows, or None. What is kept already needs none on the disk."""
    whole = sum(wanted.bytes(rows) for rows in sets)
    need = sum(wanted.bytes(rows) for rows in sets if not is_kept(wanted, rows))
    if need and whole > limit():
        return f"it takes {whole / 1e9:.1f} GB and the limit is {limit() / 1e9:g} (FOREWORD_CACHE_GB)"
    place = store.cache_dir()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free + sum(_size(folder) for folder in _folders())
    return f"it takes {need / 1e9:.1f} GB and the disk has {free / 1e9:.1f} free" if need > 0.9 * free else None


def is_kept(wanted: Wanted, rows: Sequence[Row]) -> bool:
    """Whether the arrays of these rows lie ready."""
    return (_root() / wanted.key(rows)).is_dir()


def kept(wanted: Wanted, rows: Sequence[Row], produce: Produce) -> Kept:
    """The arrays of `rows`, from the cache or made now.

    **Raises** `ForewordError` where the cache cannot be written to or the disk is full; nothing half-made stays.
    """
    key, made = wanted.key(rows), False
    for attempt in range(ATTEMPTS):
        if not is_kept(wanted, rows):
            made = True
            _make_room(wanted.bytes(rows), key)
        folder = store.make_once(f"states/{key}", lambda draft: _write(draft, wanted, rows, produce))
        try:
            os.utime(folder)
            error = float(json.loads((folder / "about.json").read_text(encoding="utf-8"))["error"])
            whole = np.load(folder / "states.npy", mmap_mode="r")
            break
        except (FileNotFoundError, ValueError):  # another process made room meanwhile, or the power failed on the write
            _drop(folder)
            if attempt == ATTEMPTS - 1:
                raise ForewordError(
                    "what is kept of the data is dropped as fast as it is made",
                    where=str(folder),
                    do="raise FOREWORD_CACHE_GB, or set training.cache: off",
                ) from None
    ends = np.cumsum([len(row) for row in rows])
    arrays = [whole[end - len(row) : end] for row, end in zip(rows, ends, strict=True)]
    return Kept(arrays, error, made)


def _write(draft: Path, wanted: Wanted, rows: Sequence[Row], produce: Produce) -> None:
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    shape = (int(starts[-1]), wanted.width)
    whole = np.lib.format.open_memmap(draft / "states.npy", mode="w+", dtype=wanted.precision, shape=shape)
    _allocate(draft / "states.npy")
    worst, squares, done = 0.0, 0.0, 0
    for number, tensor in produce():
        exact = tensor.float().cpu().numpy()
        place = whole[starts[number] : starts[number + 1]]
        with np.errstate(over="ignore"):  # told below
            place[:] = exact
        if wanted.precision == "float16":
            if not np.isfinite(place).all():
                raise ConfigError("the backbone's states do not fit float16", do="set training.cache: float32")
            worst = max(worst, float(np.abs(place.astype(np.float32) - exact).max(initial=0.0)))
            squares += float(np.square(exact).mean())
        done += 1
    if done != len(rows):
        raise RuntimeError(f"{done} of {len(rows)} rows were made")
    whole.flush()
    error = worst / (squares / done) ** 0.5 if squares else 0.0
    about = {"version": VERSION, "rows": len(rows), "error": error, **vars(wanted)}
    (draft / "about.json").write_text(json.dumps(about, indent=1), encoding="utf-8")


def _root() -> Path:
    return store.cache_dir() / "states"


def _folders() -> list[Path]:
    return [folder for folder in _root().glob("*") if folder.is_dir()] if _root().is_dir() else []


def _size(folder: Path) -> int:
    size = 0
    for path in folder.glob("*"):
        with suppress(FileNotFoundError):
            size += path.stat().st_size
    return size


def _allocate(path: Path) -> None:
    """Take the file's room now: a full disk is an error here, and would be a crash in a write to the map."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _drop(folder: Path) -> None:
    """Remove a folder so that no process ever finds a part of it. Who has it mapped keeps it."""
    aside = store.cache_dir() / f"tmp-dropped-{os.getpid()}-{folder.name}"
    with suppress(OSError):  # another process drops it
        folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def _make_room(need: int, key: str) -> None:
    """Drop what was used longest ago until `need` bytes fit. Another process that reads a dropped file keeps it."""
    held = []
    for folder in _folders():
        try:
            held.append((folder.stat().st_mtime, _size(folder), folder))
        except OSError:  # another process dropped it just now
            continue
    total = sum(size for _, size, _ in held)
    for _, size, folder in sorted(held, key=lambda one: one[0]):
        if total + need <= limit() and need < 0.9 * shutil.disk_usage(_root()).free:
            return
        if folder.name != key:
            _drop(folder)
            total -= size
