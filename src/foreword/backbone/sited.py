"""How operations at sites enter a pass: twins of the layers that have some, made for the pass and dropped after it.

A twin is a shallow copy of a layer and of the modules on the way to its sites; weights, and every module without a site
inside, are the trunk's own objects. At a site stands a `Sited`, which holds the pass's operations. Nothing of the trunk
is changed, so that there is nothing to undo, and a layer that is recomputed for its gradient is the same twin.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear

from foreword.injections.sites import ACTIVATIONS, Bottleneck, LowRank, Operation, Sites

NORM_EPS = 1e-5


@dataclass(frozen=True)
class Twins:
    """The layers that stand in for the trunk's in one pass, by number, and the layer numbers of their attention."""

    layers: Mapping[int, nn.Module]
    slots: Mapping[nn.Module, int]


class Stand(nn.Module):
    """Stands in for a module in a pass; what it lacks is the module's."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)


@dataclass(frozen=True)
class Part:
    """The rows of one foreword at one site, None for all of the batch, and the operations there by kind.

    `draw` tells apart what random numbers are drawn for.
    """

    rows: Tensor | None
    operations: Mapping[str, Operation]
    draw: str


@dataclass(eq=False)
class Tap:
    """What a site was given, on its way to a parallel operation at a later site of the same layer."""

    value: Tensor | None = None


class Sited(Stand):
    """A module with the operations of every foreword of the pass; rows of none get what the module gives."""

    def __init__(
        self, layer: nn.Module, parts: Sequence[Part], count: int, taps: Mapping[str, Tap], tap: Tap | None
    ) -> None:
        """`count`: B. `taps`: those that operations here take from; `tap`: the one that is given what this site is."""
        # some hundreds are made for a pass: `nn.Module.__init__` would take most of the time
        values = {**_blank(), "_modules": {"layer": layer}, "parts": parts, "count": count, "taps": taps, "tap": tap}
        object.__setattr__(self, "__dict__", values)

    def forward(self, given: Tensor, *args: Any, **kwargs: Any) -> Any:
        """As the module's, with each row's operations."""
        if self.tap is not None:
            self.tap.value = given
        scales = [(part.rows, op.vector) for part in self.parts if (op := part.operations.get("scale_input"))]
        inputs = self._scaled(given, scales)
        answer = self.layer(inputs, *args, **kwargs)
        out = answer[0] if isinstance(answer, tuple) else answer
        for part in self.parts:
            out = self._after(out, inputs, part)
        return (out, *answer[1:]) if isinstance(answer, tuple) else out

    def _after(self, out: Tensor, inputs: Tensor, part: Part) -> Tensor:
        rows, found = part.rows, part.operations
        if (low := found.get("low_rank")) is not None:
            assert isinstance(low, LowRank)
            out = self._added(out, rows, _low_rank(low, self._of(inputs, rows), part.draw))
        if (shift := found.get("shift")) is not None:
            own = shift.vector.to(out.dtype)  # type: ignore[union-attr]
            out = self._added(out, rows, own if rows is None else own.expand(self._of(out, rows).shape))
        if (scale := found.get("scale_output")) is not None:
            out = self._scaled(out, [(rows, scale.vector)])  # type: ignore[union-attr]
        if (neck := found.get("bottleneck")) is not None:
            assert isinstance(neck, Bottleneck)
            source = self.taps[neck.source].value if neck.source else out
            assert source is not None
            delta = _bottleneck(neck, self._of(source, rows), part.draw)
            out = self._added(out, rows, delta) if neck.residual else self._put(out, rows, delta)
        return out

    # -- rows: some families flatten [B, T, W] to [B T, W] on the way ---------------------------------------------

    def _whole(self, states: Tensor) -> Tensor:
        return states if states.ndim > 2 else states.reshape(self.count, -1, states.shape[-1])

    def _of(self, states: Tensor, rows: Tensor | None) -> Tensor:
        return states if rows is None else self._whole(states)[rows]

    def _added(self, out: Tensor, rows: Tensor | None, delta: Tensor) -> Tensor:
        delta = delta.to(out.dtype)
        return out + delta if rows is None else self._whole(out).index_add(0, rows, delta).view(out.shape)

    def _put(self, out: Tensor, rows: Tensor | None, own: Tensor) -> Tensor:
        own = own.to(out.dtype)
        return own if rows is None else self._whole(out).index_copy(0, rows, own).view(out.shape)

    def _scaled(self, states: Tensor, scales: Sequence[tuple[Tensor | None, Tensor]]) -> Tensor:
        for rows, vector in scales:
            own = vector.to(states.dtype)
            states = self._put(states, rows, self._of(states, rows) * own)
        return states


@cache
def _blank() -> Mapping[str, Any]:
    """What every module has, in eval mode."""
    return {name: value for name, value in nn.Module().eval().__dict__.items() if name != "_modules"}


def _low_rank(op: LowRank, given: Tensor, draw: str) -> Tensor:
    inputs = _dropped(given, op.dropout, f"{op.seed}:{draw}:low_rank")
    return linear(linear(inputs, op.a.to(inputs.dtype)), op.b.to(inputs.dtype)) * op.scale


def _bottleneck(op: Bottleneck, given: Tensor, draw: str) -> Tensor:
    """What it adds."""
    states = _normed(op, given) if op.norm == "before" else given
    kind = given.dtype
    states = ACTIVATIONS[op.activation](linear(states, op.down.to(kind), op.down_bias.to(kind)))
    states = linear(states, op.up.to(kind), op.up_bias.to(kind))
    states = _normed(op, states) if op.norm == "after" else states
    scale = op.scale.to(kind) if isinstance(op.scale, Tensor) else op.scale
    return _dropped(states, op.dropout, f"{op.seed}:{draw}:bottleneck") * scale


def _normed(op: Bottleneck, states: Tensor) -> Tensor:
    assert op.norm_weight is not None and op.norm_bias is not None
    weight, bias = op.norm_weight.to(states.dtype), op.norm_bias.to(states.dtype)
    return layer_norm(states, states.shape[-1:], weight, bias, NORM_EPS)


def _dropped(states: Tensor, rate: float, draw: str) -> Tensor:
    """Dropout whose random numbers follow from `draw` alone, so that a layer that is run again draws the same."""
    if not rate:
        return states
    generator = torch.Generator(states.device).manual_seed(zlib.crc32(draw.encode()))
    kept = torch.rand(states.shape, generator=generator, device=states.device) >= rate
    return states * kept / (1 - rate)


def twins_of(
    layers: Sequence[nn.Module],
    slots: Mapping[nn.Module, int],
    owners: Sequence[str | None],
    sites: Mapping[str | None, Sites],
    salt: int = 0,
) -> Twins:
    """Twins of the layers that `sites` name, for a batch whose rows belong to `owners`; `salt` tells batches apart."""
    rows: dict[str | None, Tensor | None] = dict.fromkeys(sites)
    if len(set(owners)) > 1:
        device = next(layers[0].parameters()).device
        for owner in sites:
            rows[owner] = torch.tensor([i for i, one in enumerate(owners) if one == owner], device=device)
    found: dict[int, dict[str, list[Part]]] = {}
    for owner, own in sites.items():
        for layer, paths in own.by_layer.items():
            for path, operations in paths.items():
                part = Part(rows[owner], operations, f"{layer}:{path}:{salt}")
                found.setdefault(layer, {}).setdefault(path, []).append(part)
    extra: dict[nn.Module, int] = {}
    twins = {layer: _twin(layers[layer], parts, len(owners), slots, extra) for layer, parts in found.items()}
    return Twins(twins, extra)


def _twin(
    layer: nn.Module,
    parts: Mapping[str, Sequence[Part]],
    count: int,
    slots: Mapping[nn.Module, int],
    extra: dict[nn.Module, int],
) -> nn.Module:
    """A twin of one layer with its sites in their places; its attention's slot is added to `extra`."""
    operations = [op for some in parts.values() for part in some for op in part.operations.values()]
    taps = {op.source: Tap() for op in operations if isinstance(op, Bottleneck) and op.source}
    copies = {"": light(layer)}
    for path in dict.fromkeys((*taps, *parts)):
        if not path:
            continue
        *above, last = path.split(".")
        at, node = "", copies[""]
        for name in above:
            at = f"{at}.{name}" if at else name
            if at not in copies:
                own = node._modules[name]
                assert own is not None
                copies[at] = node._modules[name] = light(own)
                if own in slots:
                    extra[copies[at]] = slots[own]
            node = copies[at]
        module = node._modules[last]
        assert module is not None
        node._modules[last] = Sited(module, parts.get(path, ()), count, taps, taps.get(path))
    whole = copies[""]
    return Sited(whole, parts[""], count, taps, None) if "" in parts else whole


def light(module: nn.Module) -> nn.Module:
    """A shallow copy: everything is the module's own, but for the table of its children."""
    twin = object.__new__(type(module))
    values = dict(module.__dict__)
    values["_modules"] = dict(values["_modules"])
    object.__setattr__(twin, "__dict__", values)
    return twin
