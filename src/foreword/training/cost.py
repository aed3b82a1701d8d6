"""What a step must compute: floating-point operations of the matrix products.

Element-wise work is left out of the operations, so a time that follows from them is a floor.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from foreword.assembly import Assembly
from foreword.batch import Item, collate
from foreword.training.route import Route
from foreword.training.site_cost import site_cost
from foreword.training.stack_cost import stack_cost


@dataclass(frozen=True)
class Cost:
    """Operations: of one step, of one pass over the validation rows, and of what is kept, once (0 where it lies ready).

    `tokens`: mean length of a row as it is run; `read`: places a row that the last layer is run for, 0 for all.
    """

    step: float
    validation: float
    once: float
    tokens: float
    read: int


def cost_of(
    assembly: Assembly, route: Route, train: Sequence[Item], validation: Sequence[Item], *, ready: bool = False
) -> Cost:
    """The cost of a run by this route. The items are those before the route was taken."""
    if assembly.backbone.two_stacks:
        return _two_stacks(assembly, train, validation)
    shape = _shape(assembly)
    read = _read(assembly, train)
    rows = max(len(train[0].rows), 1) if train else 1
    batch = min(assembly.config.training.batch_size, max(len(train), 1)) * rows
    tokens, ahead = _tokens(route, train)
    forward = _forward(shape, route, batch, tokens, ahead, read)
    injection, sites = assembly.method.at_rest(), site_cost(assembly)
    at_sites = batch * sites.forward(tokens, read)
    gradient = 0.0
    if (lowest := lowest_layer(assembly)) is not None:
        gradient = _backward(shape, route, lowest, forward) + 2 * at_sites
        if injection.sites is not None:
            gradient -= batch * sites.below(tokens, ahead, read)
        elif injection.key_values is not None and route.front is None and lowest < shape.layers:
            # the text below the lowest key/values takes no gradient, so none goes back through its projections there
            gradient -= 2.0 * (shape.queries + shape.key_values) * tokens * batch
    forward += at_sites
    weights = forward if assembly.config.method.name == "full" else 0.0
    ahead_of_all = 0 if route.front is None else len(route.front)
    front, again = _front(shape, ahead_of_all)
    front, again = front + sites.forward(ahead_of_all), again + 2 * sites.forward(ahead_of_all)
    again -= sites.below(ahead_of_all, 0.0)
    held, held_ahead = _tokens(route, validation)
    evaluated = _forward(shape, route, len(validation) * rows, held, held_ahead, read)
    evaluated += len(validation) * rows * sites.forward(held, read)
    once = 0.0
    if route.kind in ("trunk", "documents") and not ready:
        layers = route.layer if route.kind == "trunk" else shape.layers
        once = 2.0 * layers * shape.layer * route.places
    again = 0.0 if lowest is None else again
    return Cost(forward + gradient + weights + front + again, evaluated + front, once, tokens, read)


def _two_stacks(assembly: Assembly, train: Sequence[Item], validation: Sequence[Item]) -> Cost:
    """Nothing is kept of these, and all that the decoder runs for is read."""
    rows = max(len(train[0].rows), 1) if train else 1
    batch = min(assembly.config.training.batch_size, max(len(train), 1)) * rows
    step = stack_cost(assembly, train, lowest_layer(assembly))
    weights = step.forward if assembly.config.method.name == "full" else 0.0
    evaluated = stack_cost(assembly, validation, None).forward * len(validation) * rows
    return Cost(batch * (step.forward + step.gradient + weights), evaluated, 0.0, step.tokens, 0)


@dataclass(frozen=True)
class _Shape:
    """Matrix entries that a token passes through: of a layer in all, and of its query, key and value matrices."""

    layers: int
    layer: float
    queries: float
    key_values: float
    hidden: int


def _shape(assembly: Assembly) -> _Shape:
    geometry = assembly.backbone.geometry
    width = geometry.heads * (geometry.head_size or geometry.hidden // geometry.heads)
    kv = (geometry.kv_heads or geometry.heads) * (geometry.head_size or geometry.hidden // geometry.heads)
    layer = layer_parameters(assembly) / geometry.layers
    return _Shape(
        assembly.readout.stop or geometry.layers,
        layer,
        float(geometry.hidden * width),
        2.0 * geometry.hidden * kv,
        geometry.hidden,
    )


def _forward(shape: _Shape, route: Route, rows: int, tokens: float, ahead: float, read: int) -> float:
    """One pass of `rows` rows of `tokens` tokens that see `ahead` more, through the layers that the route runs."""
    layers = shape.layers - route.layer
    if layers <= 0:
        return 0.0
    scores = 4.0 * tokens * (tokens + ahead) * shape.hidden
    whole = 2.0 * shape.layer * tokens + scores
    last = whole
    if read:
        narrow = 2.0 * shape.layer + 4.0 * (tokens + ahead) * shape.hidden
        last = 2.0 * (shape.queries + shape.key_values) * tokens + read * narrow
    return rows * ((layers - 1) * whole + last)


def _front(shape: _Shape, tokens: int) -> tuple[float, float]:
    """What all rows begin with, run once: forward, and backward from its keys and values (none above the last)."""
    layer = 2.0 * shape.layer * tokens + 4.0 * tokens * tokens * shape.hidden
    return shape.layers * layer, (shape.layers - 1) * layer + 2.0 * shape.key_values * tokens


def _backward(shape: _Shape, route: Route, lowest: int, forward: float) -> float:
    """As much again for those of the layers run that a gradient runs through."""
    return forward * max(shape.layers - lowest, 0) / max(shape.layers - route.layer, 1)


def _tokens(route: Route, items: Sequence[Item]) -> tuple[float, float]:
    """Mean tokens of a row as the route runs it, and of what it sees in front."""
    lengths = [len(row) for item in items for row in item.rows]
    mean = sum(lengths) / max(len(lengths), 1)
    if route.front is not None:
        return mean - len(route.front), float(len(route.front))
    if route.kind == "documents":
        heads = [next((i for i, soft in enumerate(row.soft) if soft >= 0), 0) for item in items for row in item.rows]
        ahead = sum(heads) / max(len(heads), 1)
        return mean - ahead, ahead
    return mean, 0.0


def _read(assembly: Assembly, items: Sequence[Item]) -> int:
    places = assembly.readout.reads(collate(items[:1], assembly.backbone.pad_id)) if items else None
    whole = places is None or assembly.readout.stop is not None or "passage" in assembly.backbone.refusals
    return 0 if places is None or whole else places.shape[1]


def lowest_layer(assembly: Assembly) -> int | None:
    """The lowest layer whose backward pass is needed; None where only the readout learns."""
    if not any(True for _ in assembly.method.parameters()):
        return None
    injection = assembly.method.at_rest()
    return injection.lowest_layer or 0 if injection.soft is None else 0


def layer_parameters(assembly: Assembly) -> int:
    """The matrix entries that every token passes through, attention scores and embeddings left out."""
    embeddings = {id(m.weight) for m in assembly.backbone.trunk.modules() if isinstance(m, nn.Embedding)}
    matrices = (p for n, p in assembly.backbone.trunk.named_parameters() if p.ndim == 2 and not n.startswith("pooler."))
    return sum(p.numel() for p in matrices if id(p) not in embeddings)


def matrix_rate(dtype: torch.dtype = torch.float32) -> float:
    """Multiply-adds that this machine does in numbers of a kind, in floating-point operations a second."""
    left, right = torch.randn(1024, 512).to(dtype), torch.randn(512, 1024).to(dtype)
    best = float("inf")
    for _ in range(12):
        started = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - started)
    return 2 * 1024 * 512 * 1024 / best
