"""Many forewords over one frozen backbone.

Every row of a batch names its foreword, or none. A training run is a bank of one, a sweep a bank of K, serving a bank
of thousands: one mechanism.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from foreword.backbone.attention import LayerPrefix, Prefix
from foreword.backbone.backbone import Backbone
from foreword.backbone.fitting import check_fits
from foreword.backbone.lines import Lines
from foreword.backbone.sited import Twins
from foreword.batch import Batch
from foreword.errors import ConfigError
from foreword.injections import Injection, KeyValues, Weights
from foreword.readouts.base import Readout


@dataclass(frozen=True)
class Entry:
    """One foreword of a bank: what it injects, and how its rows are read."""

    injection: Injection
    readout: Readout | None = None


class Bank:
    """Forewords by name, over one backbone.

    `whole`: run every layer for every place, also for padding and where only a few places are read; the same comes out,
    more slowly.
    """

    def __init__(self, backbone: Backbone, *, whole: bool = False) -> None:
        self.backbone, self.whole = backbone, whole
        self._entries: dict[str, Entry] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The forewords that are in it."""
        return tuple(self._entries)

    def put(self, name: str, injection: Injection, readout: Readout | None = None) -> None:
        """Add a foreword, or replace the one of that name."""
        check_fits(name, injection, self.backbone)
        self._entries[name] = Entry(injection, readout)

    def remove(self, name: str) -> None:
        """**Raises** `ConfigError` when there is none of that name."""
        self.entry(name)
        del self._entries[name]

    def entry(self, name: str) -> Entry:
        """**Raises** `ConfigError` when there is none of that name."""
        if name not in self._entries:
            raise ConfigError(f"the bank has no foreword '{name}'", do=f"it has: {', '.join(self._entries) or 'none'}")
        return self._entries[name]

    # -- running ------------------------------------------------------------------------------------------------

    def hidden(self, batch: Batch) -> Tensor:
        """`[B, T, H]` last hidden states, each row under its own foreword."""
        parts = [(rows, self._run(batch.select(rows))) for _, rows in self._by_weights(batch)]
        return _merge(parts, len(batch.owners))

    def logits(self, batch: Batch, where: Tensor) -> Tensor:
        """`[B, A, V]` of the language-model head at `[B, A]` places (those of `where` below 0 mean nothing)."""
        parts = []
        for weights, rows in self._by_weights(batch):
            part = batch.select(rows)
            with self.backbone.weights(weights.tensors if weights else None):
                hidden = self._run_inside(part, where[rows])
                at = where[rows].clamp(min=0)
                parts.append(
                    (rows, self.backbone.logits(hidden.gather(1, at[..., None].expand(-1, -1, hidden.shape[-1]))))
                )
        return _merge(parts, len(batch.owners))

    def run(self, batch: Batch) -> Tensor:
        """`[B, T, H]` as `hidden`, right where the rows' readouts read, under the weights that the backbone has now."""
        readouts = {owner: self._readout(owner) for owner in batch.rows_of}
        [stop] = {readout.stop for readout in readouts.values()}
        return self._run_inside(batch, self._reads(batch, readouts), stop)

    def scores(self, batch: Batch) -> list[tuple[list[int], Tensor]]:
        """Every foreword's own answers: pairs of the items' numbers (n) and their `[n, C]` scores."""
        answers = []
        for weights, rows in self._by_run(batch):
            part = batch.select(rows)
            with self.backbone.weights(weights.tensors if weights else None):
                answers += self._answers(part, self.run(part))
        return answers

    def _answers(self, batch: Batch, hidden: Tensor) -> list[tuple[list[int], Tensor]]:
        """The rows' hidden states read by each foreword's readout; where all are of one kin, side by side."""
        owned = batch.rows_of
        readouts = {owner: self._readout(owner) for owner in owned}
        if self._alike(readouts.values()):
            every = [readouts[owner] for owner in batch.owners]
            scores = every[0].beside(every, hidden, batch)
            return [([batch.items[row] for row in rows], scores[rows]) for rows in owned.values()]
        answers = []
        for owner, rows in owned.items():
            picked = batch.select(rows)
            inside = hidden if len(rows) == len(hidden) else hidden[rows]
            answers.append((list(dict.fromkeys(picked.items)), readouts[owner](inside, picked, self.backbone)))
        return answers

    # -- inside -------------------------------------------------------------------------------------------------

    def injection(self, owner: str | None) -> Injection:
        """What rows of `owner` see; the empty injection for none."""
        return Injection() if owner is None else self.entry(owner).injection

    def _by_weights(self, batch: Batch) -> list[tuple[Weights | None, list[int]]]:
        """Rows grouped by the weights they run under: those of the backbone, or a fine-tuned copy's."""
        groups: dict[int, tuple[Weights | None, list[int]]] = {}
        for row, owner in enumerate(batch.owners):
            weights = self.injection(owner).weights
            groups.setdefault(id(weights), (weights, []))[1].append(row)
        return list(groups.values())

    def _readout(self, owner: str | None) -> Readout:
        readout = None if owner is None else self.entry(owner).readout
        if readout is None:
            raise ConfigError(f"rows of '{owner}' have no readout", do="use hidden() or logits() for them")
        return readout

    def _alike(self, readouts: Collection[Readout]) -> bool:
        """Whether several readouts can read their rows side by side."""
        kins = {readout.kin for readout in readouts}
        return len(readouts) > 1 and len(kins) == 1 and None not in kins and not (self.whole or torch.is_grad_enabled())

    def _reads(self, batch: Batch, readouts: Mapping[str | None, Readout]) -> Tensor | None:
        """`[B, A]`, the places that the rows' readouts read; None where one of them reads all."""
        if self._alike(readouts.values()):
            return next(iter(readouts.values())).reads(batch)
        found: list[tuple[list[int], Tensor]] = []
        for owner, rows in batch.rows_of.items():
            reads = readouts[owner].reads(batch.select(rows))
            if reads is None:
                return None
            found.append((rows, reads))
        if len(found) == 1:
            return found[0][1]
        places = batch.ids.new_full((len(batch.owners), max(reads.shape[1] for _, reads in found)), -1)
        for rows, reads in found:
            places[torch.tensor(rows, device=places.device), : reads.shape[1]] = reads
        return places

    def _by_run(self, batch: Batch) -> list[tuple[Weights | None, list[int]]]:
        """Rows grouped by their weights and by how many layers their readouts ask for."""
        groups = []
        for weights, rows in self._by_weights(batch):
            by_stop: dict[int | None, list[int]] = {}
            for row in rows:
                by_stop.setdefault(self._readout(batch.owners[row]).stop, []).append(row)
            groups += [(weights, some) for some in by_stop.values()]
        return groups

    def _run(self, batch: Batch) -> Tensor:
        weights = self.injection(batch.owners[0]).weights
        with self.backbone.weights(weights.tensors if weights else None):
            return self._run_inside(batch)

    def _run_inside(self, batch: Batch, read: Tensor | None = None, stop: int | None = None) -> Tensor:
        if stop is not None:
            return self.backbone.states(
                self.embeds(batch),
                batch.mask,
                self.positions(batch),
                batch.types,
                self._prefix_of(batch),
                stop=stop,
                start=batch.start,
                states=batch.states,
                twins=self.twins_of(batch),
            )
        twins = self.twins_of(batch)
        return self.backbone.forward(
            self.embeds(batch),
            batch.mask,
            self.positions(batch),
            batch.types,
            self._prefix_of(batch),
            start=batch.start,
            states=batch.states,
            read=None if self.whole else read,
            twins=twins,
            border=batch.border,
            lines=None if twins is not None else self._lines(batch),
        )

    def _lines(self, batch: Batch) -> Lines | None:
        """How the rows can be run without padding. Not in training, whose batches are of similar length anyway."""
        if self.whole or torch.is_grad_enabled() or batch.start or batch.border is not None:
            return None
        return self.backbone.lines(batch.mask)

    def _prefix_of(self, batch: Batch) -> Prefix | None:
        """The rows' key/values: their foreword's, and those of a text that was run before them."""
        prefix = self.prefix(batch.owners)
        if batch.memory is None or batch.remembered is None:
            return prefix
        geometry, rows = self.backbone.geometry, len(batch.owners)
        shape = (rows, -1, geometry.layers, 2, geometry.kv_heads, geometry.head_size)
        table = batch.memory.view(shape).permute(2, 3, 0, 4, 1, 5)
        seen = torch.arange(table.shape[4], device=table.device) < batch.remembered[:, None]
        own = {} if prefix is None else prefix.layers
        joined = {}
        for layer in range(geometry.layers):
            memory = LayerPrefix(table[layer, 0], table[layer, 1], seen)
            joined[layer] = _joined(memory, own.get(layer), rows)
        return self.backbone.prefix(joined)

    def positions(self, batch: Batch) -> Tensor:
        """`[B, T]`, moved by what each row's key/values stand for. **Raises** `ConfigError` beyond the last."""
        offsets = [self.injection(owner).position_offset for owner in batch.owners]
        positions = batch.positions
        if any(offsets):
            positions = positions + torch.tensor(offsets, device=positions.device)[:, None]
        longest = int((positions * batch.mask).max()) + 1
        if longest > self.backbone.geometry.positions:
            raise ConfigError(
                f"a row needs {longest} positions, and {self.backbone.name} has {self.backbone.geometry.positions}",
                do="lower template.max_length or the number of virtual tokens",
            )
        return positions

    def embeds(self, batch: Batch) -> Tensor:
        """`[B, T, E]` word embeddings, with each row's virtual tokens in their places."""
        words = self.backbone.embed(batch.ids)
        tables, starts, total = [], {}, 0
        for owner in batch.rows_of:
            soft = self.injection(owner).soft
            if soft is not None:
                starts[owner] = total
                tables.append(soft.vectors)
                total += len(soft.vectors)
        self._check_places(batch)
        if not tables:
            return words
        start = torch.tensor([starts.get(owner, 0) for owner in batch.owners], device=words.device)
        rows, places = (batch.soft >= 0).nonzero(as_tuple=True)
        vectors = torch.cat(tables)[start[rows] + batch.soft[rows, places]].to(words.dtype)
        return words.index_put((rows, places), vectors)

    def _check_places(self, batch: Batch) -> None:
        """**Raises** `ConfigError` for a row with more virtual tokens than its foreword: they would be another's."""
        softs = {owner: self.injection(owner).soft for owner in batch.rows_of}
        lengths = [0 if (soft := softs[owner]) is None else len(soft.vectors) for owner in batch.owners]
        for owner, length, needed in zip(batch.owners, lengths, (batch.soft.amax(1) + 1).tolist(), strict=True):
            if needed > length:
                raise ConfigError(
                    f"a row of '{owner}' has places for {needed} virtual tokens, and its foreword has {length}",
                    do="encode the row with the foreword's own template",
                )

    def twins_of(self, batch: Batch) -> Twins | None:
        """`twins` of a batch's rows; dropout at sites draws other numbers for other batches."""
        drawn = any(self.injection(owner).random for owner in batch.rows_of)
        return self.twins(batch.owners, int(batch.ids.sum()) if drawn else 0)

    def twins(self, owners: Sequence[str | None], salt: int = 0) -> Twins | None:
        """What stands in for the layers at whose modules the rows' forewords do something; None where none does."""
        sites = {owner: own for owner in dict.fromkeys(owners) if (own := self.injection(owner).sites) is not None}
        return self.backbone.twins(owners, sites, salt) if sites else None

    def prefix(self, owners: Sequence[str | None]) -> Prefix | None:
        """The rows' key/values, layer by layer; None where no row has any."""
        injections = {owner: self.injection(owner) for owner in dict.fromkeys(owners)}
        own = _layers(owners, {owner: injection.key_values for owner, injection in injections.items()})
        cross = _layers(owners, {owner: injection.cross for owner, injection in injections.items()})
        if not own and not cross:
            return None
        above = self.backbone.geometry.layers
        return self.backbone.prefix({**own, **{layer + above: table for layer, table in cross.items()}})


def _layers(owners: Sequence[str | None], tables: Mapping[str | None, KeyValues | None]) -> dict[int, LayerPrefix]:
    """The owners' key/values for each row, by layer."""
    present = {owner: table for owner, table in tables.items() if table is not None}
    if present and len(tables) == 1:
        table = next(iter(present.values()))
        return {layer: LayerPrefix(*table.tensor[i, :, None]) for i, layer in enumerate(table.layers)}
    return _stack(owners, present) if present else {}


def _joined(memory: LayerPrefix, own: LayerPrefix | None, rows: int) -> LayerPrefix:
    """Key/values of the rows' texts and of their forewords, in one."""
    if own is None:
        return memory
    keys, values = (part.expand(rows, -1, -1, -1) for part in (own.keys, own.values))
    assert memory.visible is not None
    visible = own.visible if own.visible is not None else memory.visible.new_ones(rows, keys.shape[2])
    return LayerPrefix(
        torch.cat([memory.keys, keys], dim=2),
        torch.cat([memory.values, values], dim=2),
        torch.cat([memory.visible, visible], dim=1),
    )


def _stack(owners: Sequence[str | None], tables: dict[str | None, KeyValues]) -> dict[int, LayerPrefix]:
    """Ragged key/values of several forewords, one per row; what a row does not have is invisible to it."""
    layers = tuple(sorted({layer for table in tables.values() for layer in table.layers}))
    longest = max(table.length for table in tables.values())
    parts = {owner: _spread(table, layers, longest) for owner, table in tables.items()}
    none = torch.zeros_like(next(iter(parts.values())))
    picked = torch.stack([parts.get(owner, none) for owner in owners])
    seen: dict[tuple[int, ...], Tensor | None] = {}  # one for all layers that are alike, which then share a mask too
    stacked = {}
    for layer, both in zip(layers, picked.unbind(1), strict=True):
        sizes = {owner: table.length if layer in table.layers else 0 for owner, table in tables.items()}
        lengths = tuple(sizes.get(owner, 0) for owner in owners)
        if lengths not in seen:
            places = torch.arange(longest, device=picked.device)
            whole = all(length == longest for length in lengths)
            seen[lengths] = None if whole else places < torch.tensor(lengths, device=picked.device)[:, None]
        keys, values = both.unbind(1)
        stacked[layer] = LayerPrefix(keys, values, seen[lengths])
    return stacked


def _spread(table: KeyValues, layers: tuple[int, ...], length: int) -> Tensor:
    """`[L', 2, K, P, D]` for these layers and that P, zero where the table has nothing."""
    tensor = table.tensor if table.length == length else pad(table.tensor, (0, 0, 0, length - table.length))
    if table.layers == layers:
        return tensor
    where = torch.tensor([layers.index(layer) for layer in table.layers], device=tensor.device)
    return tensor.new_zeros(len(layers), *tensor.shape[1:]).index_copy(0, where, tensor)


def _merge(parts: list[tuple[list[int], Tensor]], count: int) -> Tensor:
    """Rows back in the batch's order."""
    if len(parts) == 1:
        return parts[0][1]
    order = torch.tensor([row for rows, _ in parts for row in rows])
    back = torch.empty_like(order)
    back[order] = torch.arange(count)
    return torch.cat([tensor for _, tensor in parts])[back.to(parts[0][1].device)]
