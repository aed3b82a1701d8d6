"""Files to raw rows: JSON lines, CSV, TSV (all also gzipped) and Parquet, each row with the line it stands on."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foreword.data.dataset import Example, Split
from foreword.errors import DataError

csv.field_size_limit(2**31 - 1)  # a value may be as long as in the other formats; Python's own limit is 131,072

NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}


@dataclass(frozen=True)
class Table:
    """Raw rows of one file or hub split. `lines[i]` is the line (or row, from 1) that row i stands on."""

    rows: tuple[Example, ...]
    lines: tuple[int, ...]
    source: str

    def place(self, index: int) -> str:
        """Where row `index` stands, as `file:line`."""
        return f"{self.source}:{self.lines[index]}"


def read(path: Path) -> Table:
    """All rows of one file. **Raises** `DataError`: unknown format, unreadable, empty, a broken line (its number)."""
    reader = READERS.get(suffix(path))
    if reader is None:
        known = ", ".join(READERS)
        raise DataError(f"unknown file format '{path.name}'", where=str(path), do=f"known: {known} (text also as .gz)")
    try:
        rows, lines = reader(path)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read the file: {error}", where=str(path)) from None
    if not rows:
        raise DataError("the file holds no rows", where=str(path))
    return Table(tuple(rows), tuple(lines), str(path))


def read_folder(folder: Path) -> dict[Split, Table]:
    """The files of a folder that are named after splits, such as `train.jsonl`, `dev.csv`. **Raises** `DataError`."""
    found: dict[Split, Table] = {}
    for split, names in NAMES.items():
        files = [p for p in sorted(folder.iterdir()) if p.name.split(".")[0] in names and suffix(p) in READERS]
        if len(files) > 1:
            both = ", ".join(p.name for p in files)
            raise DataError(f"several files for the split '{split}': {both}", where=str(folder), do="keep one of them")
        if files:
            found[split] = read(files[0])
    if "train" not in found:
        there = ", ".join(sorted(p.name for p in folder.iterdir())[:10]) or "nothing"
        do = "name the files train, validation and test, with .jsonl, .csv, .tsv or .parquet"
        raise DataError(f"no training file in this folder (it holds {there})", where=str(folder), do=do)
    return found


def read_label_names(folder: Path) -> tuple[str, ...] | None:
    """The class names in a folder's `labels.json` (`{"0": "negative", ...}` or a list), or None; else `DataError`."""
    path = folder / "labels.json"
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        names = [value[str(i)] for i in range(len(value))] if isinstance(value, dict) else list(value)
    except (ValueError, KeyError, TypeError, OSError):
        names = []
    if not names or not all(isinstance(n, str) for n in names) or len(set(names)) < len(names):
        do = 'write {"0": "first name", "1": "second name"}, counting from 0, each name once'
        raise DataError("labels.json does not map 0, 1, 2 ... to distinct names", where=str(path), do=do)
    return tuple(names)


def suffix(path: Path) -> str:
    """The format part of a file name, without `.gz`."""
    return Path(path.name.removesuffix(".gz")).suffix


def _text(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        do = f"save the file as UTF-8, for example with iconv -f {'utf-16' if wide else 'latin1'} -t utf-8"
        raise DataError("the file is not UTF-8", where=f"{path}:{line}", do=do) from None


def _json_lines(path: Path) -> tuple[list[Example], list[int]]:
    rows, lines = [], []
    # Only "\n" ends a line: U+2028 and the like are legal inside a JSON string.
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"broken line, not JSON: {error}", where=f"{path}:{number}") from None
        if not isinstance(row, dict):
            do = 'write one object a line, such as {"text": "...", "label": "..."}'
            raise DataError(f"this line is a {type(row).__name__}, not an object", where=f"{path}:{number}", do=do)
        rows.append(row)
        lines.append(number)
    return rows, lines


def _csv(path: Path) -> tuple[list[Example], list[int]]:
    return _separated(path, strict=True)


def _tsv(path: Path) -> tuple[list[Example], list[int]]:
    # Research sets in this format use quotation marks as plain characters, so quoting is off.
    return _separated(path, delimiter="\t", quoting=csv.QUOTE_NONE)


def _separated(path: Path, **form: Any) -> tuple[list[Example], list[int]]:
    reader = csv.reader(io.StringIO(_text(path), newline=""), **form)
    rows: list[Example] = []
    lines: list[int] = []
    start = 1
    try:
        header: list[str] = next(reader, [])
        if len(set(header)) < len(header):
            twice = sorted({name for name in header if header.count(name) > 1})
            raise DataError(f"column named twice: {', '.join(twice)}", where=f"{path}:1", do="give each its own name")
        start = reader.line_num + 1
        for values in reader:
            if values and len(values) != len(header):
                counts = f"{len(values)} values for {len(header)} columns"
                do = "quote values that hold the separator or a line end"
                raise DataError(f"broken line: {counts} ({', '.join(header)})", where=f"{path}:{start}", do=do)
            if values:
                rows.append(dict(zip(header, values, strict=True)))
                lines.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"broken line: {error}", where=f"{path}:{start}") from None
    return rows, lines


def _parquet(path: Path) -> tuple[list[Example], list[int]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise DataError("Parquet needs pyarrow", where=str(path), do="pip install 'foreword[data]'") from None
    try:
        rows = parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, ValueError) as error:
        raise DataError(f"not a readable Parquet file: {error}", where=str(path)) from None
    return rows, list(range(1, len(rows) + 1))


READERS: dict[str, Callable[[Path], tuple[list[Example], list[int]]]] = {
    ".jsonl": _json_lines,
    ".csv": _csv,
    ".tsv": _tsv,
    ".parquet": _parquet,
}
