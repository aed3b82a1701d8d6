"""What the frozen backbone need not compute at every step, and how a run goes without it. All of it is exact.

- `trunk`: the first injection enters at layer k; the layers below it are run once for the data set.
- `documents`: in a causal model, the text in front of the first virtual token is run once for the data set, and its
  keys and values are kept.
- `front`: in a causal model, what all rows begin with (the prompt, or a hard text) is run once a step, not once a row,
  with gradients; the rows see its keys and values.

Which of them holds follows from method, template, readout and data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from foreword.assembly import Assembly
from foreword.backbone.attention import LayerPrefix
from foreword.backbone.backbone import Backbone
from foreword.bank import Bank
from foreword.batch import Batch, Item, collate, pieces
from foreword.injections import Injection, KeyValues, SoftTokens
from foreword.text.rows import Row
from foreword.training import states

Splits = Mapping[str, Sequence[Item]]
Advance = Callable[[int, int], None]


@dataclass(frozen=True)
class Route:
    """How a run goes.

    `layer`: where a kept trunk ends. `front`: what all rows begin with. `why`: for the plan. `ready`: whether what is
    kept lies there already; `size`: how many bytes of it this run reads.
    """

    kind: Literal["whole", "trunk", "documents", "front"] = "whole"
    layer: int = 0
    front: Row | None = None
    wanted: states.Wanted | None = None
    why: str = "every layer is run for every row"
    ready: bool = False
    size: int = 0

    @property
    def places(self) -> int:
        """Of how many tokens, of all splits, something is kept."""
        return 0 if self.wanted is None else self.size // self.wanted.row_bytes

    def compiled(self, backbone: Backbone, injection: Injection) -> Injection:
        """The injection as the shortened rows see it: what stands in front of all of them becomes key/values."""
        return injection if self.front is None else _in_front(backbone, injection, self.front)


WHOLE = Route()


def route_of(assembly: Assembly, splits: Splits) -> Route:
    """The shortest exact way for these rows."""
    backbone, injection = assembly.backbone, assembly.method.at_rest()
    if injection.weights is not None:
        return Route(why="every weight learns, so nothing stands still")
    if "passage" in backbone.refusals:
        return Route(why=f"{backbone.family} is not run in parts: {backbone.refusals['passage']}")
    sets = [[row for item in items for row in item.rows] for items in splits.values() if items]
    if not sets:
        return Route()
    if injection.soft is None and (found := _trunk(assembly, injection, sets)):
        return found
    if backbone.kind != "causal" or not _reads_few(assembly, splits):
        return Route()
    if backbone.windowed:  # what stands in front would be seen from everywhere
        return Route(why=f"every layer is run for every row: {backbone.family} looks back over a window")
    return _causal(assembly, injection, sets)


def follow(
    route: Route,
    assembly: Assembly,
    splits: Splits,
    advance: Advance = lambda done, of: None,
    lost: Callable[[float], None] = lambda error: None,
) -> Splits:
    """The items as the route has them: with what is kept of them, or without what is in front of all.

    `advance` is told of rows that are run for the cache, when it is made. `lost` is told, for each split that is kept
    in float16, its largest error against the root mean square of what is kept.
    """
    if route.wanted is None:
        return {split: _without_front(route, items) for split, items in splits.items()}
    return {split: _kept(route, assembly, items, advance, lost) if items else [] for split, items in splits.items()}


# -- which way --------------------------------------------------------------------------------------------------------


def _trunk(assembly: Assembly, injection: Injection, sets: Sequence[Sequence[Row]]) -> Route | None:
    """Layers below the first key/values and the first site, or all of them where only the readout learns."""
    geometry, precision = assembly.backbone.geometry, assembly.config.training.cache
    last = assembly.readout.stop or geometry.layers
    lowest = injection.lowest_layer
    layer = last if lowest is None else min(lowest, last)
    if layer == 0 or precision == "off" or not assembly.trained():
        return None
    wanted = states.Wanted(
        assembly.backbone.identity,
        "states",
        layer,
        injection.position_offset,
        assembly.backbone.state_width,
        precision,
    )
    if reason := states.room(wanted, sets):
        return Route(why=f"layers 0 to {layer - 1} could be kept, but {reason}")
    ready, size = all(states.is_kept(wanted, rows) for rows in sets), sum(map(wanted.bytes, sets))
    done = "lie ready" if ready else "are run once"
    why = f"layers 0 to {layer - 1} {done} for all rows ({size / 1e6:,.0f} MB, {precision})"
    return Route("trunk", layer, None, wanted, why, ready, size)


def _causal(assembly: Assembly, injection: Injection, sets: Sequence[Sequence[Row]]) -> Route:
    backbone, precision = assembly.backbone, assembly.config.training.cache
    rows = [row for one in sets for row in one]
    common, frozen = _common(rows), min(_frozen(row) for row in rows)
    whole = injection.key_values is None or len(injection.key_values.layers) == backbone.geometry.layers
    if common > 1 and whole and (injection.soft is None or common > frozen):
        front = _head(rows[0], common)
        return Route("front", 0, front, None, f"the {common} tokens that all rows begin with are run once a step")
    still = injection.key_values is None and injection.sites is None
    if frozen < 1 or injection.soft is None or not still or precision == "off":
        return Route()
    geometry = backbone.geometry
    width = geometry.layers * 2 * geometry.kv_heads * geometry.head_size
    wanted = states.Wanted(backbone.identity, "memory", 0, 0, width, precision)
    documents = [[_head(row, _frozen(row)) for row in one] for one in sets]
    if reason := states.room(wanted, documents):
        return Route(why=f"the text before the prompt could be kept, but {reason}")
    ready, size = all(states.is_kept(wanted, one) for one in documents), sum(map(wanted.bytes, documents))
    tokens = sum(_frozen(row) for row in rows) / len(rows)
    done = "lie ready" if ready else "are made once"
    told = f"({size / 1e6:,.0f} MB, {precision})"
    why = f"key/values of the text before the prompt ({tokens:.0f} tokens a row) {done} {told}"
    return Route("documents", 0, None, wanted, why, ready, size)


def _reads_few(assembly: Assembly, splits: Splits) -> bool:
    """Whether the readout reads named places, which then must not be among those that are taken away."""
    item = next(item for items in splits.values() for item in items)
    return assembly.readout.reads(collate([item], assembly.backbone.pad_id)) is not None


def _common(rows: Sequence[Row]) -> int:
    """How many places all rows begin with in common; something to read stays in each."""
    first, size = rows[0], min(_readable(row) for row in rows)
    for row in rows:
        while row.ids[:size] != first.ids[:size] or row.soft[:size] != first.soft[:size]:
            size -= 1
    return size


def _frozen(row: Row) -> int:
    """How many places stand before the first virtual token, and before what is read."""
    soft = next((i for i, token in enumerate(row.soft) if token >= 0), 0)
    return min(soft, _readable(row))


def _readable(row: Row) -> int:
    """The first place that a readout may read."""
    return min((*row.answers, len(row) - 1))


# -- what is in front of all rows -------------------------------------------------------------------------------------


def _in_front(backbone: Backbone, injection: Injection, front: Row) -> Injection:
    """Run the front once, under the injection's own key/values and sites, and give the rows its keys and values."""
    bank = Bank(backbone)
    bank.put("front", injection)
    batch = collate([Item((front,), "front")], backbone.pad_id, device=str(backbone.device))
    where, own = bank.positions(batch), injection.key_values
    prefix = (
        None if own is None else {layer: LayerPrefix(*own.tensor[i, :, None]) for i, layer in enumerate(own.layers)}
    )
    made = backbone.record(bank.embeds(batch), batch.mask, where, batch.types, prefix, bank.twins_of(batch))[:, :, 0]
    table = made if own is None else torch.cat([own.tensor, made], dim=3)
    rest = None if injection.soft is None else injection.soft.vectors[_used(front) :]
    soft = None if rest is None or not len(rest) else SoftTokens(rest)
    layers = tuple(range(backbone.geometry.layers))
    return replace(
        injection,
        soft=soft,
        key_values=KeyValues(layers, table),
        position_offset=injection.position_offset + len(front),
    )


def _without_front(route: Route, items: Sequence[Item]) -> list[Item]:
    if route.front is None:
        return list(items)
    size, used = len(route.front), _used(route.front)
    return [_shortened(item, [size] * len(item.rows), used) for item in items]


def _used(front: Row) -> int:
    """How many virtual tokens stand in the front; they are the first ones."""
    return max((*front.soft, -1)) + 1


def _shortened(item: Item, sizes: Sequence[int], used: int = 0) -> Item:
    rows = tuple(_tail(row, size, used) for row, size in zip(item.rows, sizes, strict=True))
    return replace(item, rows=rows)


def _tail(row: Row, size: int, used: int) -> Row:
    return replace(
        row,
        ids=row.ids[size:],
        soft=tuple(token - used if token >= 0 else -1 for token in row.soft[size:]),
        types=row.types[size:],
        cls=None if row.cls is None or row.cls < size else row.cls - size,
        answers=tuple(place - size for place in row.answers),
    )


def _head(row: Row, size: int) -> Row:
    return replace(row, ids=row.ids[:size], soft=row.soft[:size], types=row.types[:size], cls=None, answers=())


# -- what is kept of every row ----------------------------------------------------------------------------------------


def _kept(
    route: Route, assembly: Assembly, items: Sequence[Item], advance: Advance, lost: Callable[[float], None]
) -> list[Item]:
    assert route.wanted is not None
    rows = rows_of(route, items)
    found = states.kept(route.wanted, rows, lambda: produced(route, assembly, rows, advance))
    if route.wanted.precision != "float32":
        lost(found.error)
    return _with(route, items, found.arrays)


def likened(route: Route, items: Sequence[Item]) -> list[Item]:
    """The items as the route has them, of the right sizes, with zeros for what would be kept; nothing is made."""
    if route.wanted is None:
        return _without_front(route, items)
    whole = np.zeros((max((len(row) for row in rows_of(route, items)), default=0), route.wanted.width), np.float32)
    return _with(route, items, [whole[: len(row)] for row in rows_of(route, items)])


def _with(route: Route, items: Sequence[Item], kept: Sequence[np.ndarray]) -> list[Item]:
    """The items with one array a row of what is kept."""
    arrays, routed, trunk = iter(kept), [], route.kind == "trunk"
    for item in items:
        own = tuple(next(arrays) for _ in item.rows)
        if trunk:
            routed.append(replace(item, states=own, start=route.layer))
        else:
            routed.append(replace(_shortened(item, [len(array) for array in own]), memory=own))
    return routed


def rows_of(route: Route, items: Sequence[Item]) -> list[Row]:
    """The rows that are kept, or the part of them that is."""
    rows = [row for item in items for row in item.rows]
    return rows if route.kind == "trunk" else [_head(row, _frozen(row)) for row in rows]


def produced(
    route: Route, assembly: Assembly, rows: Sequence[Row], advance: Advance = lambda done, of: None
) -> Iterator[tuple[int, Tensor]]:
    """What is kept of each row, with the row's number; `rows` are those of `rows_of`."""
    return (_run_trunk if route.kind == "trunk" else _run_documents)(route, assembly, rows, advance)


@torch.no_grad()
def _run_trunk(route: Route, assembly: Assembly, rows: Sequence[Row], advance: Advance) -> Iterator[tuple[int, Tensor]]:
    backbone, offset = assembly.backbone, route.wanted.offset if route.wanted else 0
    for numbers, batch in _groups(assembly, rows, advance):
        below = backbone.states(
            backbone.embed(batch.ids), batch.mask, batch.positions + offset, batch.types, stop=route.layer
        )
        for place, number in enumerate(numbers):
            yield number, below[place, : len(rows[number])]


@torch.no_grad()
def _run_documents(
    route: Route, assembly: Assembly, rows: Sequence[Row], advance: Advance
) -> Iterator[tuple[int, Tensor]]:
    backbone = assembly.backbone
    for numbers, batch in _groups(assembly, rows, advance):
        made = backbone.record(backbone.embed(batch.ids), batch.mask, batch.positions, batch.types)
        for place, number in enumerate(numbers):
            size = len(rows[number])
            yield number, made[:, :, place, :, :size].permute(3, 0, 1, 2, 4).reshape(size, -1)


def _groups(assembly: Assembly, rows: Sequence[Row], advance: Advance) -> Iterator[tuple[list[int], Batch]]:
    items = [Item((row,)) for row in rows]
    done = 0
    for numbers in pieces(items, assembly.config.training.max_tokens, 32):
        backbone = assembly.backbone
        yield numbers, collate([items[i] for i in numbers], backbone.pad_id, device=str(backbone.device))
        done += len(numbers)
        advance(done, len(rows))
