"""What a step costs on an encoder-decoder, whose two stacks run for different tokens of a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from foreword.assembly import Assembly
from foreword.backbone.anatomy import Organ
from foreword.batch import Item
from foreword.training.site_cost import flops_of


@dataclass(frozen=True)
class StackCost:
    """Operations of the matrix products of one row: forward, and backward without those of trained weights.

    `tokens`: of both stacks; `gradient`: 0 where nothing below the readout learns.
    """

    forward: float
    gradient: float
    tokens: float


def stack_cost(assembly: Assembly, items: Sequence[Item], lowest: int | None) -> StackCost:
    """The cost of the mean row of these items; a gradient runs through the layers from `lowest` on."""
    rows = [row for item in items for row in item.rows]
    ahead = sum(row.encoded for row in rows) / max(len(rows), 1)
    written = sum(len(row) - row.encoded for row in rows) / max(len(rows), 1)
    geometry, anatomy = assembly.backbone.geometry, assembly.backbone.anatomy
    width, sites = geometry.heads * geometry.head_size, assembly.method.at_rest().sites
    forward = gradient = 0.0
    for layer, organs in enumerate(anatomy.layers):
        decodes = layer in geometry.cross_layers
        tokens = written if decodes else ahead
        sited = {} if sites is None else sites.by_layer.get(layer, {})
        costs: list[_Part] = []
        at_sites = sum(map(flops_of, sited.get("", {}).values())) * tokens
        parts = _by_attention(organs)
        for number, part in enumerate(parts):
            seen = ahead if decodes and number == 1 else tokens
            cost = _Part(scores=0.0 if number == len(parts) - 1 else 4.0 * tokens * seen * width)
            for organ in part:
                run = seen if organ.role in ("key", "value") else tokens
                at_sites += sum(map(flops_of, sited.get(organ.path, {}).values())) * run
                matrix = 0.0 if organ.role == "norm" else 2.0 * organ.inputs * organ.outputs * run
                cost = cost.plus(organ.role, matrix)
            costs.append(cost)
        whole = sum(cost.whole for cost in costs)
        forward += whole + at_sites
        if lowest is not None and layer >= lowest:
            gradient += whole + 2 * at_sites - _spared(assembly, layer, lowest, costs)
    return StackCost(forward, gradient, ahead + written)


@dataclass(frozen=True)
class _Part:
    """An attention and the matrices around it, or the feed-forward."""

    queries: float = 0.0
    pairs: float = 0.0
    scores: float = 0.0
    rest: float = 0.0

    @property
    def whole(self) -> float:
        return self.queries + self.pairs + self.scores + self.rest

    def plus(self, role: str, cost: float) -> _Part:
        """With a module of this role."""
        if role in ("key", "value"):
            return replace(self, pairs=self.pairs + cost)
        return replace(self, queries=self.queries + cost) if role == "query" else replace(self, rest=self.rest + cost)


def _by_attention(organs: Sequence[Organ]) -> list[list[Organ]]:
    """A layer's modules by the attention that they belong to, and the feed-forward's last."""
    parts: list[list[Organ]] = [[]]
    for organ in organs:
        parts[-1].append(organ)
        if organ.role == "attention-output":
            parts.append([])
    return parts


def _spared(assembly: Assembly, layer: int, lowest: int, costs: Sequence[_Part]) -> float:
    """Of a backward pass that costs as much as the forward pass: what stands before anything that learns."""
    injection, geometry = assembly.method.at_rest(), assembly.backbone.geometry
    spared = [0.0] * len(costs)
    if lowest >= geometry.encoder_layers:  # nothing goes back to the encoder
        spared[1] = costs[1].pairs
    if layer == lowest and injection.soft is None:
        first = 0 if injection.weights is not None else _first(assembly, lowest)
        spared[:first] = [cost.whole for cost in costs[:first]]
        spared[first] = costs[first].queries + costs[first].pairs
    return sum(spared)


def _first(assembly: Assembly, layer: int) -> int:
    """The first of a layer's parts in which something learns."""
    injection, parts = assembly.method.at_rest(), _by_attention(assembly.backbone.anatomy.layers[layer])
    found = [len(parts) - 1]
    if injection.key_values is not None and layer in injection.key_values.layers:
        found.append(0)
    if injection.cross is not None and layer in injection.cross.layers:
        found.append(1)
    if injection.sites is not None:
        paths = injection.sites.by_layer.get(layer, {})
        found += [i for i, part in enumerate(parts) if any(organ.path in paths for organ in part)]
    return min(found)
