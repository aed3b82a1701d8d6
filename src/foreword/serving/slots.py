"""The key/values of running texts: one block of memory, in which every text has a slot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from foreword.backbone.geometry import Geometry

PLACES, ROWS = 64, 4
"""Places and slots are made by so many at a time."""


class Slots:
    """Slots 0 … n - 1 are in use, and texts move up when one before them ends, so that a step sees one block.

    As transformers' cache it takes one token of every text a pass (`update`). `lengths`: `[n]`, tokens that are there.
    """

    is_compileable = False

    def __init__(self, geometry: Geometry, dtype: torch.dtype = torch.float32, device: str = "cpu") -> None:
        self.geometry, self.dtype, self.device = geometry, dtype, device
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.lengths = torch.zeros(0, dtype=torch.long, device=device)
        self._rows = torch.zeros(0, dtype=torch.long, device=device)
        self._needs: list[int] = []
        self._room, self._width = (0, 0), 0

    def __len__(self) -> int:
        return len(self._needs)

    @property
    def place_bytes(self) -> int:
        """What one place of one text takes, in all layers."""
        geometry = self.geometry
        return 2 * geometry.layers * geometry.kv_heads * geometry.head_size * self.dtype.itemsize

    def bytes_with(self, needs: Sequence[int]) -> int:
        """The bytes of the block, were texts of so many tokens at their ends added to those that run."""
        own = [*self._needs, *needs]
        rows, places = self._larger(len(own), max(own, default=0))
        return rows * places * self.place_bytes

    def add(self, tables: Sequence[tuple[Tensor, Tensor]], lengths: Sequence[int], needs: Sequence[int]) -> None:
        """Texts that begin with key/values `[n, K, T, D]` of each layer, of which the first `lengths` are theirs.

        `needs`: how many tokens each will have at its end.
        """
        first, count = len(self), len(self) + len(lengths)
        self._make(count, max([*self._needs, *needs]))
        width = min(tables[0][0].shape[2], self._room[1])  # fronts of several lengths leave more padding than is needed
        for layer, (keys, values) in enumerate(tables):
            self.keys[layer][first:count, :, :width] = keys[:, :, :width]
            self.values[layer][first:count, :, :width] = values[:, :, :width]
        self._needs += needs
        self.lengths = torch.cat([self.lengths, torch.tensor(list(lengths), device=self.device)])
        self._rows = torch.arange(count, device=self.device)

    def remove(self, row: int) -> None:
        """A text ended. The last one takes its slot, unless it was the last."""
        last = len(self) - 1
        if row != last:
            used = int(self.lengths[last])
            for table in (*self.keys, *self.values):
                table[row, :, :used] = table[last, :, :used]
            self.lengths[row], self._needs[row] = self.lengths[last], self._needs[last]
        del self._needs[last]
        self.lengths, self._rows = self.lengths[:last], self._rows[:last]
        if not last:
            self.keys, self.values, self._room = [], [], (0, 0)

    def strike(self, row: int, count: int) -> None:
        """Take back the last `count` tokens of a text that has them."""
        if count:
            self.lengths[row] -= count

    def begin(self) -> Tensor:
        """A step: every text gets a place. The bias `[n, 1, 1, S]` that hides what is not a text's own."""
        self.lengths = self.lengths + 1
        self._width = int(self.lengths.max())
        seen = torch.arange(self._width, device=self.device) < self.lengths[:, None]
        bias = torch.zeros(seen.shape, dtype=self.dtype, device=self.device).masked_fill(~seen, float("-inf"))
        return bias[:, None, None]

    def _larger(self, rows: int, places: int) -> tuple[int, int]:
        """The room with so many texts of so many places: what is there, if it is enough."""
        enough = rows <= self._room[0] and places <= self._room[1]
        return self._room if enough else (_up(rows, ROWS), _up(places, PLACES))

    def _make(self, rows: int, places: int) -> None:
        """Room for so many texts of so many places."""
        room = self._larger(rows, places)
        if room == self._room:
            return
        geometry = self.geometry
        shape = (room[0], geometry.kv_heads, room[1], geometry.head_size)
        used = int(self.lengths.max()) if len(self.lengths) else 0
        for tables in (self.keys, self.values):
            for layer in range(geometry.layers):
                # what is behind a text's end is weighed by zero, and zero times what was left in memory may be NaN
                made = torch.zeros(shape, dtype=self.dtype, device=self.device)
                if used:
                    made[: len(self.lengths), :, :used] = tables[layer][: len(self.lengths), :, :used]
                if layer < len(tables):
                    tables[layer] = made
                else:
                    tables.append(made)
        self._room = room

    # -- as transformers' cache -----------------------------------------------------------------------------------

    def update(self, keys: Tensor, values: Tensor, layer: int, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Take the new `[n, K, 1, D]` of a layer; all of its `[n, K, S, D]`."""
        count, at = len(self), self.lengths - 1
        self.keys[layer][self._rows, :, at] = keys[:, :, 0]
        self.values[layer][self._rows, :, at] = values[:, :, 0]
        return self.keys[layer][:count, :, : self._width], self.values[layer][:count, :, : self._width]

    def get_seq_length(self, layer: int = 0) -> int:
        """How many tokens were there before the pass."""
        return self._width - 1


def behind(
    tables: Sequence[tuple[Tensor, Tensor]], fronts: Sequence[tuple[Sequence[Tensor], Sequence[Tensor]] | None]
) -> list[tuple[Tensor, Tensor]]:
    """Key/values `[n, K, T, D]` of each layer with those of the texts' own fronts, `[K, P, D]`, before them."""
    ahead = [0 if front is None else front[0][0].shape[1] for front in fronts]
    if not any(ahead):
        return list(tables)
    made = []
    for layer, pair in enumerate(tables):
        count, heads, width, size = pair[0].shape
        joined = []
        for which, table in enumerate(pair):
            whole = table.new_zeros(count, heads, max(ahead) + width, size)
            for row, (front, places) in enumerate(zip(fronts, ahead, strict=True)):
                if front is not None:
                    whole[row, :, :places] = front[which][layer]
                whole[row, :, places : places + width] = table[row]
            joined.append(whole)
        made.append((joined[0], joined[1]))
    return made


def _up(count: int, step: int) -> int:
    """The next multiple of `step`."""
    return -(-count // step) * step
