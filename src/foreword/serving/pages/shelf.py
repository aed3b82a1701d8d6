"""The forewords of the folder as a person looks for them: found by words, and told from their manifests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from foreword import registry
from foreword.artifacts.manifest import Manifest, read_manifest
from foreword.errors import ArtifactError
from foreword.serving import cards
from foreword.serving.cards import Card
from foreword.serving.store import Store
from foreword.tasks.base import Task

RECORD = "result.json"
RECORD_BYTES = 64 * 2**20
PARTS = ("test", "validation")
"""The splits that a score is told of, the first that there is."""


@dataclass(frozen=True)
class Score:
    """One figure of a foreword's record."""

    metric: str
    value: float
    split: str


@dataclass(frozen=True)
class Book:
    """A foreword with what its manifest says; `problem` where it cannot be read any more."""

    card: Card
    manifest: Manifest | None
    problem: str = ""

    @property
    def method(self) -> str:
        """Its method's registered name."""
        return str(self.manifest.method.get("name", "")) if self.manifest else ""

    @property
    def trained(self) -> int | None:
        """How many parameters were trained."""
        return self.manifest.parameters.get("trained") if self.manifest else None

    @property
    def score(self) -> Score | None:
        """The task's first metric that was measured."""
        for split in PARTS:
            values = self.manifest.metrics.get(split, {}) if self.manifest else {}
            for metric in task_of(self.card).metrics:
                if metric in values:
                    return Score(metric, values[metric], split)
        return None


@dataclass(frozen=True)
class Line:
    """One fact of several forewords side by side; `best` are the places of the best ones."""

    name: str
    values: tuple[str, ...]
    best: frozenset[int] = frozenset()


def find(store: Store, words: str) -> list[Card]:
    """Those whose name, or task, holds every word, in any case."""
    wanted = words.casefold().split()
    return [
        card for card in store.cards.values() if all(word in f"{card.name} {card.task}".casefold() for word in wanted)
    ]


@cache
def task_of_name(name: str) -> Task:
    """A task by its registered name."""
    made: Task = registry.tasks.get(name)()
    return made


def task_of(card: Card) -> Task:
    """What the foreword does."""
    return task_of_name(card.task)


def anchor(name: str) -> str:
    """A name for an element of the page, from one that may hold anything."""
    return hashlib.sha256(name.encode()).hexdigest()[:12]


def read(card: Card) -> Book:
    """What its manifest says; reads from disk."""
    try:
        return Book(cards.read_card(card.name, card.folder), read_manifest(card.folder))
    except ArtifactError as error:
        return Book(card, None, error.what)


def place(store: Store, card: Card) -> str:
    """Its folder's path below the one that is served."""
    return card.folder.relative_to(store.root).as_posix()


def record(store: Store, card: Card) -> Mapping[str, Any]:
    """What `foreword train` wrote beside the artifact; empty where there is nothing. Links are not followed."""
    path = card.folder.parent / RECORD
    if card.folder.name != "artifact" or card.folder == store.root or path.is_symlink():
        return {}
    found = _json(path)
    return found if isinstance(found, dict) else {}


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes()) if path.stat().st_size <= RECORD_BYTES else None
    except (OSError, ValueError, RecursionError):
        return None


def side_by_side(store: Store, books: Sequence[Book]) -> list[Line]:
    """Manifests and records of several, a line a fact; lines that nobody has are left out."""
    records = [record(store, book.card) for book in books]
    manifests = [book.manifest for book in books]
    lines = [
        Line("task", tuple(book.card.task for book in books)),
        Line("method", tuple(book.method for book in books)),
        Line("readout", tuple(str(m.readout.get("name", "")) if m else "" for m in manifests)),
        Line("data", tuple(str(m.run.get("data", {}).get("source", "")) if m else "" for m in manifests)),
        Line("seed", tuple(_said(m.run.get("seed")) if m else "" for m in manifests)),
        Line("trained parameters", tuple(_said(book.trained) for book in books)),
        Line("stored numbers", tuple(_said(m.parameters.get("stored")) if m else "" for m in manifests)),
        *(Line(f"training {key}", tuple(_said(_part(one, "train", key)) for one in records))
          for key in ("rows", "steps", "epochs")),
        Line("training seconds", tuple(_said(one.get("seconds")) for one in records)),
        Line("peak memory, MB", tuple(_said(one.get("peak_memory_mb")) for one in records)),
        *_scores(books),
        Line("majority, accuracy", tuple(_said(_part(_part(one, "test"), "majority", "accuracy")) for one in records)),
        Line("made", tuple(book.card.created for book in books)),
    ]  # fmt: skip
    return [line for line in lines if any(line.values)]


def _scores(books: Sequence[Book]) -> list[Line]:
    """A line a metric and split; the best of several are marked where they are of one task and data."""
    found = [book.manifest.metrics if book.manifest else {} for book in books]
    sources = {(book.card.task, str(book.manifest.run.get("data")) if book.manifest else "") for book in books}
    lines = []
    for split in PARTS:
        names = dict.fromkeys(name for one in found for name in one.get(split, {}))
        for name in names:
            values = [one.get(split, {}).get(name) for one in found]
            best = _best(name, values) if len(sources) == 1 else frozenset()
            lines.append(Line(f"{split}: {name}", tuple("" if v is None else f"{v:.4f}" for v in values), best))
    return lines


def _best(metric: str, values: Sequence[float | None]) -> frozenset[int]:
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return frozenset()
    best = min(known) if metric == "loss" else max(known)
    return frozenset(place for place, value in enumerate(values) if value == best)


def _part(values: Any, *keys: str) -> Any:
    """What lies below keys of nested mappings, or None."""
    for key in keys:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def _said(value: Any) -> str:
    if value is None or isinstance(value, Mapping | list):
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def chosen(store: Store, names: Collection[str]) -> list[Card]:
    """Those of the names that are served, in their order."""
    return [store.cards[name] for name in names if name in store.cards]
