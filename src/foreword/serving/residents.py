"""One foreword in memory: read from disk, checked, put on the backbone, ready for requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from threading import Lock

from torch import Tensor

from foreword.artifacts import storage
from foreword.assembly import Reader
from foreword.backbone.backbone import Backbone
from foreword.backbone.fitting import check_fits
from foreword.bank import Bank
from foreword.errors import ArtifactError, ForewordError
from foreword.injections import Injection
from foreword.serving.attention import Front
from foreword.serving.cards import Card, Identity, identity, read_card, settled
from foreword.text.rows import Row
from foreword.use import Foreword

TRIES = 3
PROBES = ("one", "Two, 3 and more of them?")
"""Two texts that have nothing in common, to see what all rows of a foreword begin with."""


@dataclass(eq=False)
class Resident:
    """A version of a foreword. `key` is its name in the bank, which no other version ever has.

    `front`: what all of its rows begin with, for one that writes. `fronts`: the key/values in front of rows that begin
    so, and of others, once they are computed; all requests share them. `size`: bytes of its tensors, and of those
    key/values. `users`: requests that hold it.
    """

    key: str
    card: Card
    identity: Identity
    foreword: Foreword
    injection: Injection
    front: Row | None
    size: int
    users: int = 0
    fronts: dict[bool, Front] = field(default_factory=dict)


def read(key: str, card: Card, root: Path, bank: Bank, limit: int, words: Lock) -> Resident:
    """The artifact of `card`, from disk, for the backbone of `bank`. `words` is held while the tokenizer is used.

    **Raises** `ArtifactError` for one that lies outside of `root`, is larger than `limit` bytes, is broken, holds NaN,
    or is for another backbone. One that is replaced meanwhile is read again.
    """
    for _ in range(TRIES):
        before = settled(card.folder)
        if not card.folder.resolve().is_relative_to(root.resolve()):
            raise ArtifactError("it lies outside of the folder that is served", where=str(card.folder))
        try:
            return _read(key, card, bank, limit, words, before)
        except ForewordError as error:
            if settled(card.folder) == before:
                raise ArtifactError(error.what, where=str(card.folder)) from None
    raise ArtifactError("it is being replaced again and again", where=str(card.folder), do="ask for it later")


def _read(key: str, card: Card, bank: Bank, limit: int, words: Lock, before: Identity) -> Resident:
    backbone = bank.backbone
    if before[7] > limit:
        raise ArtifactError(f"its weights take {before[7]:,} bytes, and {limit:,} are allowed", where=str(card.folder))
    try:
        card = read_card(card.name, card.folder)  # a replacement may be of another task
        artifact = storage.read(card.folder)
        check_fits(card.name, artifact.injection, backbone)
        with words:
            reader = artifact.attach(backbone)
            front = front_of(reader) if reader.task.answer == "text" else None
    except ForewordError:
        raise
    except Exception as error:  # a file from elsewhere may be wrong in any way
        raise ArtifactError(f"it cannot be used: {type(error).__name__}", where=str(card.folder)) from error
    if identity(card.folder) != before:
        raise ArtifactError("it was replaced while it was read", where=str(card.folder))
    size = _bytes([*artifact.injection.tensors().values(), *reader.readout.state_dict().values()])
    if front is not None:
        table = artifact.injection.key_values
        size += front_bytes(backbone, len(front) + (0 if table is None else table.length))
    foreword = Foreword(key, bank, reader, artifact.manifest)
    return Resident(key, card, before, foreword, artifact.injection, front, size)


def front_bytes(backbone: Backbone, tokens: int) -> int:
    """What the key/values of so many tokens take."""
    geometry = backbone.geometry
    return 2 * geometry.layers * geometry.kv_heads * geometry.head_size * tokens * backbone.embedding.weight.itemsize


def front_of(reader: Reader) -> Row | None:
    """What all rows of a foreword begin with: virtual tokens, fixed text, worked examples; None where nothing.

    It is seen from two rows. A row that begins otherwise after all is run from its own beginning (`rest_of`).
    """
    if reader.encoder.kind != "causal":
        return None
    rows = [reader.item(dict.fromkeys(reader.task.fields, probe)).rows[0] for probe in PROBES]
    places = [list(zip(row.ids, row.soft, row.types, strict=True)) for row in rows]
    pairs = zip(places[0][:-1], places[1][:-1], strict=False)
    size = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return _cut(rows[0], slice(size)) if size else None


def rest_of(row: Row, front: Row | None) -> Row | None:
    """What follows the front in a row; None where the row does not begin with it."""
    size = 0 if front is None else len(front)
    if front is None or len(row) <= size or _cut(row, slice(size)) != front:
        return None
    return _cut(row, slice(size, None))


def _cut(row: Row, part: slice) -> Row:
    """A part of a row, of which nothing is read."""
    return replace(
        row, ids=row.ids[part], soft=row.soft[part], types=row.types[part], cls=None, answers=(), spots=(), cut=0
    )


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.itemsize for tensor in tensors)
