"""Data sets of the Hugging Face hub, by `name` or `name:configuration`, through the `datasets` library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from foreword.data.dataset import Split
from foreword.data.files import NAMES, Table
from foreword.errors import DataError


def read(source: str, target: str) -> tuple[dict[Split, Table], tuple[str, ...] | None, tuple[str, ...]]:
    """The splits, the class names of the column `target` if the hub has them, and notes on what was left out.

    A split whose labels are all -1 (hidden, as in GLUE's tests) is left out. **Raises** `DataError`: `datasets` is not
    installed, there is no network, no such set, or no training split.
    """
    name, _, configuration = source.partition(":")
    try:
        import datasets
    except ImportError:
        do = "pip install 'foreword[data]', or give the path of a file or folder"
        raise DataError(f"'{source}' would be read from the hub, which needs the package datasets", do=do) from None
    try:
        loaded = datasets.load_dataset(name, configuration or None)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        do = "check the name (name:configuration) and the network, or give the path of a local file or folder"
        raise DataError(f"cannot read '{source}' from the hub: {reason}", do=do) from None
    return from_splits(loaded, source, target)


def from_splits(
    loaded: Mapping[str, Any], source: str, target: str
) -> tuple[dict[Split, Table], tuple[str, ...] | None, tuple[str, ...]]:
    """As `read`, from a mapping of split names to hub splits."""
    tables: dict[Split, Table] = {}
    notes: list[str] = []
    for split, names in NAMES.items():
        found = next((name for name in names if name in loaded), None)
        if found is None:
            continue
        rows: Iterable[Mapping[str, Any]] = loaded[found]
        kept = tuple(dict(row) for row in rows)
        if not kept:
            continue
        if all(row.get(target) == -1 for row in kept):
            notes.append(f"{split} left out: its labels are hidden")
            continue
        tables[split] = Table(kept, tuple(range(1, len(kept) + 1)), f"{source} {found}")
    if "train" not in tables:
        do = "download it and give the file that you want to train on"
        raise DataError(f"'{source}' has no training split, only: {', '.join(loaded)}", do=do)
    features = getattr(loaded[next(n for n in NAMES["train"] if n in loaded)], "features", None) or {}
    feature = features.get(target)
    labels = getattr(getattr(feature, "feature", feature), "names", None)  # of one class, or of a list of them
    return tables, tuple(labels) if labels else None, tuple(notes)
