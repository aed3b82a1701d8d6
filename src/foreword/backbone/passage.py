"""Running a part of the trunk: from layer k on, up to layer k, and in the last layer only where it is read.

A part is a shell of the trunk: shallow copies of the modules on the way to its list of layers, and another list there.
Weights, norms and everything else are the trunk's own objects, so nothing is changed, copied or undone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from foreword.backbone.attention import Caught, Prefix, Taken
from foreword.backbone.sited import Stand, Twins, light


class Reached(Exception):
    """Leaves the trunk behind the layer that was asked for. `hidden`: `[B, T, H]`."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.hidden = hidden


class Fed(Stand):
    """Gives the states that the passage was handed, instead of computing them."""

    def __init__(self, layer: nn.Module, tuples: bool) -> None:
        super().__init__(layer)
        self.tuples = tuples

    def forward(self, hidden: Tensor, *args: Any, foreword: Prefix | None = None, **kwargs: Any) -> Any:
        """The states that were handed over."""
        assert foreword is not None and foreword.fed is not None
        return (foreword.fed,) if self.tuples else foreword.fed


class Skipped(Stand):
    """Hands on what it gets."""

    def __init__(self, layer: nn.Module, tuples: bool) -> None:
        super().__init__(layer)
        self.tuples = tuples

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        """The input."""
        return (hidden,) if self.tuples else hidden


class Left(Stand):
    """Runs the layer and leaves the trunk with what it gave."""

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        """**Raises** `Reached`, always."""
        given = self.layer(hidden, *args, **kwargs)
        raise Reached(given[0] if isinstance(given, tuple) else given)


class Read(Stand):
    """The last layer, run for the places that are read alone; zeros at the others.

    Keys and values are those of the whole text: the layer is run until its attention has them, and then again for the
    states at the places read, whose attention is given these keys and values.
    """

    def forward(self, hidden: Tensor, *args: Any, foreword: Prefix | None = None, **kwargs: Any) -> Any:
        """`[B, T, H]`, right at the places of `foreword.read`."""
        if foreword is None or foreword.read is None:
            return self.layer(hidden, *args, foreword=foreword, **kwargs)
        try:
            self.layer(hidden, *args, foreword=replace(foreword, catching=True), **kwargs)
            raise RuntimeError("the last layer has no attention that is routed here")
        except Caught as caught:
            keys, values, mask, causal = caught.keys, caught.values, caught.mask, caught.causal
        lines, places = foreword.lines, foreword.read.clamp(min=0)
        width = hidden.shape[1] if lines is None else lines.seen.shape[1]
        taken = Taken(keys, values, _mask_at(mask, places, width, keys.shape[2], causal))
        at = places if lines is None else lines.number.gather(1, places)
        narrowed = {name: _at(name, value, at) for name, value in kwargs.items()}
        given = self.layer(_gather(hidden, at), *args, foreword=replace(foreword, taken=taken), **narrowed)
        out = given[0] if isinstance(given, tuple) else given
        read = foreword.read if lines is None else foreword.read.where(lines.seen.gather(1, places), -1)
        out = out * _first(read)[..., None]
        if lines is not None:  # what the rows read of one line
            at, out = at.view(1, -1), out.flatten(0, 1)[None]
        whole = torch.zeros_like(hidden).scatter_add(1, at[..., None].expand_as(out), out)
        return (whole, *given[1:]) if isinstance(given, tuple) else whole


def _first(read: Tensor) -> Tensor:
    """`[B, A]` bool: the places that are read, each once."""
    alike = read[:, :, None] == read[:, None, :]
    return (read >= 0) & ~alike.tril(-1).any(-1)


def _gather(hidden: Tensor, places: Tensor) -> Tensor:
    """`[B, T, H]` or `[1, T, H]` at `[B, A]` places: `[B, A, H]`."""
    hidden = hidden.expand(len(places), -1, -1)
    return hidden.gather(1, places[..., None].expand(-1, -1, hidden.shape[-1]))


def _at(name: str, value: Any, places: Tensor) -> Any:
    """A layer's argument for the places alone, where it goes by place."""
    if name == "position_embeddings" and value is not None:
        return tuple(_gather(part, places) for part in value)
    if name == "position_ids" and value is not None:
        return value.expand(len(places), -1).gather(1, places)
    return value


def _mask_at(mask: Tensor | None, places: Tensor, queries: int, keys: int, causal: bool) -> Tensor | None:
    """The mask's lines at the places: `[B, 1, A, P + S]`; None where all may look everywhere."""
    if mask is None:
        if not causal:
            return None
        before = keys - queries
        return (torch.arange(keys, device=places.device) <= places[..., None] + before)[:, None]
    mask = mask.expand(len(places), 1, -1, -1)
    return mask.gather(2, places[:, None, :, None].expand(-1, 1, -1, mask.shape[-1]))


class Passages:
    """The shells of one trunk, made when first asked for.

    Of a trunk of two stacks, shells are made with twins alone: its layers are numbered through both.

    **Raises** `LookupError` where the trunk keeps its layers in no list that could be found.
    """

    def __init__(self, trunk: nn.Module, slots: Mapping[nn.Module, int], sizes: Sequence[int]) -> None:
        """`sizes`: how many layers each stack has."""
        self.trunk, self.tuples = trunk, False
        self.lists = [_find(trunk, slots, range(sum(sizes[:i]), sum(sizes[: i + 1]))) for i in range(len(sizes))]
        self.layers = [layer for _, layers in self.lists for layer in layers]
        self._made: dict[tuple[int, int | None, bool], nn.Module] = {}

    def learn(self, run: Callable[[], Any]) -> None:
        """See in a run of the trunk whether its layers give tuples."""
        given: list[bool] = []
        hook = self.layers[0].register_forward_hook(lambda layer, _, out: given.append(isinstance(out, tuple)))
        try:
            run()
        finally:
            hook.remove()
        self.tuples = given[0]

    def get(self, start: int = 0, stop: int | None = None, read: bool = False, twins: Twins | None = None) -> nn.Module:
        """The trunk from layer `start` on (its input handed over as `Prefix.fed`), left behind layer `stop - 1`.

        With `twins`, these stand in for the layers of their numbers, and the shell is of one pass.
        """
        if twins is not None:
            return self._shell(start, stop, read, twins)
        key = (start, stop, read)
        if key not in self._made:
            self._made[key] = self._shell(*key).eval()
        return self._made[key]

    def _shell(self, start: int, stop: int | None, read: bool, twins: Twins | None = None) -> nn.Module:
        layers: list[nn.Module] = list(self.layers)
        for number, twin in () if twins is None else twins.layers.items():
            layers[number] = twin
        if read and start < len(layers):
            layers[-1] = Read(layers[-1])
        for i in range(start):
            layers[i] = Skipped(layers[i], self.tuples) if i else Fed(layers[i], self.tuples)
        if stop is not None:
            layers[stop - 1] = Left(layers[stop - 1])
        top, done = light(self.trunk), 0
        for path, own in self.lists:
            node = top
            for name in path[:-1]:
                child = node._modules[name]
                assert child is not None
                node._modules[name] = child = light(child)
                node = child
            node._modules[path[-1]] = nn.ModuleList(layers[done : done + len(own)])
            done += len(own)
        return top


def _find(
    trunk: nn.Module, slots: Mapping[nn.Module, int], numbers: Sequence[int]
) -> tuple[list[str], Sequence[nn.Module]]:
    """The way to the list whose modules hold the attention of the layers of these numbers, in order."""
    for name, module in trunk.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == len(numbers) > 0:
            pairs = zip(numbers, module, strict=True)
            if all(any(slots.get(inner) == number for inner in layer.modules()) for number, layer in pairs):
                return name.split("."), list(module)
    raise LookupError("its layers are in no list")
