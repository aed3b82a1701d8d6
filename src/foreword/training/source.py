"""Which code made a result: the version, and a hash of those source files that decide a run's numbers.

Comments, docstrings and layout do not count, so that a hash changes only where the program does.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

DECIDING = (
    "assembly.py",
    "backbone",
    "bank.py",
    "batch.py",
    "data",
    "evaluation",
    "generation",
    "injections",
    "methods",
    "readouts",
    "tasks",
    "text",
    "training",
)
"""Files and folders of the package on which a run's numbers depend, its settings aside, which a result holds itself."""
ASIDE = (
    "evaluation/report.py",
    "evaluation/statistics.py",
    "training/live.py",
    "training/memory.py",
    "training/record.py",
    "training/source.py",
)
DIGITS = 12


def _read() -> dict[str, str]:
    root = Path(__file__).resolve().parents[1]
    places = [path for name in DECIDING for path in sorted((root / name).rglob("*.py")) or [root / name]]
    named = {path.relative_to(root).as_posix(): path for path in places if path.is_file()}
    return {name: path.read_text(encoding="utf-8") for name, path in named.items() if name not in ASIDE}


# Read when the program starts: the files may be edited while a run goes on, which is then still the older code's.
_FILES = _read()


@cache
def source_hash() -> str | None:
    """The first digits of a sha256 over the deciding files as they were at the start; None where there are none."""
    return _hash(_FILES) if _FILES else None


def _hash(files: dict[str, str]) -> str:
    digest = hashlib.sha256()
    for name, text in sorted(files.items()):
        digest.update(f"{name}\n{_meaning(text)}\n".encode())
    return digest.hexdigest()[:DIGITS]


def _meaning(text: str) -> str:
    """The program without its docstrings, as Python's own parser has it."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [part for part in node.body if not _is_text(part)] or [ast.Pass()]
    return ast.dump(tree)


def _is_text(part: ast.stmt) -> bool:
    return isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant) and isinstance(part.value.value, str)
