"""The examples of one run: checked rows in splits, the names of the classes, and fingerprints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from foreword.errors import DataError, did_you_mean

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
Example = dict[str, Any]


@dataclass(frozen=True)
class Dataset:
    """Checked examples.

    `splits` holds train and, where the source has them, validation and test. A row has the task's text fields (strings)
    and its target: a class index into `labels`, or a tuple of texts where there are no labels. `task` is the name of
    the task the rows were read for, `source` says where they came from, and `notes` what was done to them (rows
    dropped, a split cut here).
    """

    name: str
    splits: Mapping[Split, tuple[Example, ...]]
    labels: tuple[str, ...]
    task: str
    source: str
    notes: tuple[str, ...] = ()

    def rows(self, split: str) -> tuple[Example, ...]:
        """The rows of one split. **Raises** `DataError` if there is no such split."""
        for name, rows in self.splits.items():
            if name == split:
                return rows
        raise DataError(f"'{self.name}' has no split '{split}'", where=self.source, do=did_you_mean(split, self.splits))

    def fingerprint(self, split: str) -> str:
        """sha256 over the split's rows in order, each as canonical JSON: equal rows, equal fingerprint."""
        digest = hashlib.sha256()
        for row in self.rows(split):
            digest.update(canonical(row).encode("utf-8", "surrogatepass") + b"\n")
        return digest.hexdigest()


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces: one spelling for equal values."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
