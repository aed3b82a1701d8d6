"""Rows into tensors: padding, positions, and which foreword each row names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from foreword.text.rows import Row


@dataclass(frozen=True, slots=True)
class Item:
    """One example ready for the backbone: a row for each variant that its readout needs, and the foreword it names.

    `label`: the number of its class, the ids of the tokens that are to be written, the tags of the words that have a
    place, or the first and the last token of a part of the text; -1 or none where it is not known. `references`: the
    texts that would be right, or the tags of all words. `source`: what the answer points into, a text or words.

    What the frozen backbone has computed of the rows already, one array a row, or nothing: `states` `[T, H]`, the input
    of layer `start`; `memory` `[S, 2 L K D]`, the keys and values of S tokens in front of the row.
    """

    rows: tuple[Row, ...]
    owner: str | None = None
    label: int | tuple[int, ...] = -1
    references: tuple[str, ...] = field(default=(), compare=False)
    source: str | tuple[str, ...] = field(default="", compare=False)
    states: tuple[np.ndarray, ...] = field(default=(), compare=False)
    start: int = 0
    memory: tuple[np.ndarray, ...] = field(default=(), compare=False)

    @property
    def labelled(self) -> int:
        """How many answers are known: one class, or so many tokens."""
        return len(self.label) if isinstance(self.label, tuple) else int(self.label >= 0)

    @property
    def tokens(self) -> int:
        """Length of the longest row, with what stands in front of it."""
        ahead = [len(part) for part in self.memory] or [0] * len(self.rows)
        return max(len(row) + before for row, before in zip(self.rows, ahead, strict=True))


@dataclass(frozen=True)
class Batch:
    """B rows of N items, padded to T tokens; an item's rows stand together, in order.

    `ids`, `mask` (1 for tokens), `types`, `positions` (from 0), `soft` (index of the row's own virtual token, or -1):
    `[B, T]`. `cls` (-1 where there is none) and `last` (the last token): `[B]`. `answers`: `[B, A]`, -1 where a row has
    fewer; `numbers`: likewise, which word or token of a field stands there, where the answer points into one. `owners`:
    the foreword of each row. `items`: which of the N items each row belongs to. `labels`: `[N]`, or `[N, A]` where an
    item has several; -1 where none is known.

    `border`: in an encoder-decoder, the first of the decoder's places, of which all rows have T - `border`; None where
    there is one stack. Both parts are padded, and places are counted through both; positions from 0 in each.

    Where the items bring them: `states` `[B, T, H]`, the input of layer `start`; `memory` `[B, S, 2 L K D]`, keys and
    values in front of the rows, of which each row sees the first `remembered` `[B]`. Positions count from behind them.
    """

    ids: Tensor
    mask: Tensor
    types: Tensor
    positions: Tensor
    soft: Tensor
    cls: Tensor
    last: Tensor
    answers: Tensor
    numbers: Tensor
    owners: tuple[str | None, ...]
    items: tuple[int, ...]
    labels: Tensor
    start: int = 0
    states: Tensor | None = None
    memory: Tensor | None = None
    remembered: Tensor | None = None
    border: int | None = None

    @property
    def rows_of(self) -> dict[str | None, list[int]]:
        """The rows that each foreword owns, in order."""
        found: dict[str | None, list[int]] = {}
        for row, owner in enumerate(self.owners):
            found.setdefault(owner, []).append(row)
        return found

    def select(self, rows: Sequence[int]) -> Batch:
        """The same batch with these rows only, in this order; `items` and `labels` keep their numbers."""
        if list(rows) == list(range(len(self.owners))):
            return self
        together = bool(rows) and list(rows) == list(range(rows[0], rows[0] + len(rows)))
        # rows that stand together are looked at where they are
        index = slice(rows[0], rows[0] + len(rows)) if together else torch.tensor(list(rows), device=self.ids.device)
        by_row = ("ids", "mask", "types", "positions", "soft", "cls", "last", "answers", "numbers")
        picked: dict[str, Any] = {name: getattr(self, name)[index] for name in by_row}
        brought = {name: getattr(self, name) for name in ("states", "memory", "remembered")}
        picked |= {name: tensor[index] for name, tensor in brought.items() if tensor is not None}
        owners, items = tuple(self.owners[i] for i in rows), tuple(self.items[i] for i in rows)
        return replace(self, owners=owners, items=items, **picked)


def collate(items: Sequence[Item], pad_id: int, side: Literal["left", "right"] = "right", device: str = "cpu") -> Batch:
    """Pad items' rows to the longest. Positions count tokens, whatever the side of the padding.

    The two parts of an encoder-decoder's rows are padded on the right, each for itself: BART counts positions from the
    first place on, padding or not.
    """
    rows = [row for item in items for row in item.rows]
    if rows[0].border is not None:
        return _two_parts(items, rows, pad_id, device)
    width = max(len(row) for row in rows)
    size = (len(rows), width)
    ids, soft = torch.full(size, pad_id), torch.full(size, -1)
    mask, types = torch.zeros(size, dtype=torch.long), torch.zeros(size, dtype=torch.long)
    answers = torch.full((len(rows), max(len(row.answers) for row in rows)), -1)
    numbers = torch.full_like(answers, -1)
    starts = [width - len(row) if side == "left" else 0 for row in rows]
    for i, (row, start) in enumerate(zip(rows, starts, strict=True)):
        place = slice(start, start + len(row))
        ids[i, place], soft[i, place] = torch.tensor(row.ids), torch.tensor(row.soft)
        types[i, place], mask[i, place] = torch.tensor(row.types), 1
        if row.answers:
            answers[i, : len(row.answers)] = torch.tensor(row.answers) + start
        if row.answers and row.spots:
            numbers[i, : len(row.spots)] = torch.tensor([spot.number for spot in row.spots])
    cls = torch.tensor([-1 if row.cls is None else row.cls + start for row, start in zip(rows, starts, strict=True)])
    last = torch.tensor([start + len(row) - 1 for row, start in zip(rows, starts, strict=True)])
    start = items[0].start if all(item.start == items[0].start for item in items) else 0
    memory = [part for item in items for part in item.memory or (None,) * len(item.rows)]
    remembered = torch.tensor([0 if part is None else len(part) for part in memory])
    brought = any(part is not None for part in memory)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    batch = Batch(
        ids=ids,
        mask=mask,
        types=types,
        positions=positions + remembered[:, None],
        soft=soft,
        cls=cls,
        last=last,
        answers=answers,
        numbers=numbers,
        owners=tuple(item.owner for item in items for _ in item.rows),
        items=tuple(n for n, item in enumerate(items) for _ in item.rows),
        labels=_labels([item.label for item in items]),
        start=start,
        states=_padded([part for item in items for part in item.states], width, starts) if start else None,
        memory=_padded(memory) if brought else None,
        remembered=remembered if brought else None,
    )
    return batch if device == "cpu" else _to(batch, device)


def _two_parts(items: Sequence[Item], rows: Sequence[Row], pad_id: int, device: str) -> Batch:
    """As one batch of the rows' encoder parts, and one of their decoder parts, side by side."""
    parts = [
        [replace(item, rows=tuple(half(row) for row in item.rows)) for item in items]
        for half in (_encoder_part, _decoder_part)
    ]
    left, right = (collate(part, pad_id) for part in parts)
    border = left.ids.shape[1]
    by_place = ("ids", "mask", "types", "positions", "soft")
    joined: dict[str, Any] = {n: torch.cat([getattr(left, n), getattr(right, n)], dim=1) for n in by_place}
    answers = torch.where(right.answers >= 0, right.answers + border, right.answers)
    batch = replace(left, last=right.last + border, answers=answers, numbers=right.numbers, border=border, **joined)
    return batch if device == "cpu" else _to(batch, device)


def _encoder_part(row: Row) -> Row:
    size = row.encoded
    return replace(
        row, ids=row.ids[:size], soft=row.soft[:size], types=row.types[:size], answers=(), spots=(), border=None
    )


def _decoder_part(row: Row) -> Row:
    size = row.encoded
    answers = tuple(place - size for place in row.answers)
    ids, soft, types = row.ids[size:], row.soft[size:], row.types[size:]
    return replace(row, ids=ids, soft=soft, types=types, cls=None, answers=answers, border=None)


def _labels(given: Sequence[int | tuple[int, ...]]) -> Tensor:
    """`[N]` classes, or `[N, A]` tokens or tags, -1 where there is none."""
    if not any(isinstance(label, tuple) for label in given):
        return torch.tensor(given)
    lines = [label if isinstance(label, tuple) else (label,) for label in given]
    labels = torch.full((len(lines), max(map(len, lines))), -1)
    for line, label in zip(labels, lines, strict=True):
        line[: len(label)] = torch.tensor(label, dtype=torch.long)
    return labels


def _padded(
    parts: Sequence[np.ndarray | None], width: int | None = None, starts: Sequence[int] | None = None
) -> Tensor:
    """Arrays `[n, W]` as one float32 tensor `[B, width, W]`, zero where there is nothing."""
    sizes = [0 if part is None else len(part) for part in parts]
    deep = next(part.shape[1] for part in parts if part is not None)
    whole = np.zeros((len(parts), max(sizes) if width is None else width, deep), np.float32)
    for i, (part, size) in enumerate(zip(parts, sizes, strict=True)):
        if part is not None:
            at = starts[i] if starts else 0
            whole[i, at : at + size] = part
    return torch.from_numpy(whole)


def _to(batch: Batch, device: str) -> Batch:
    moved: dict[str, Any] = {name: v.to(device) for name, v in vars(batch).items() if isinstance(v, Tensor)}
    return replace(batch, **moved)


def pieces(items: Sequence[Item], max_tokens: int, max_items: int | None = None) -> list[list[int]]:
    """Indices of `items`, in groups whose size (rows times longest row) stays within `max_tokens`.

    That is the padded size, and for an encoder-decoder, whose rows' parts are padded apart, a little less.

    A group has `max_items` items at the most. A single item that is larger than the budget stands alone. Shortest
    first, so that groups pad little.
    """
    order = sorted(range(len(items)), key=lambda i: items[i].tokens)
    groups: list[list[int]] = []
    rows = 0
    for index in order:
        item = items[index]
        room = groups and (max_items is None or len(groups[-1]) < max_items)
        if room and (rows + len(item.rows)) * item.tokens <= max_tokens:
            groups[-1].append(index)
            rows += len(item.rows)
        else:
            groups.append([index])
            rows = len(item.rows)
    return groups
