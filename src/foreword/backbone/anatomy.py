"""What a layer is made of: which of its modules have weights, in which order they run, and what each is for.

All of it is seen in one run of a few tokens, not read from names: projections stand before the attention function; the
first matrix after it is the attention's output, the last one the feed-forward's, and what lies between are the
feed-forward's inputs. Keys and values are told from queries by what the attention function was given. A decoder's layer
that attends to an encoder has a second set of projections, attention and output before its feed-forward.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from foreword.backbone.int8 import Int8Linear
from foreword.errors import ConfigError, Unsupported

Role = Literal[
    "query", "key", "value", "fused", "projection", "attention-output", "feed-forward-input", "feed-forward-output",
    "norm",
]  # fmt: skip
ATTENTION: tuple[Role, ...] = ("query", "key", "value", "fused", "projection", "attention-output")


@dataclass(frozen=True)
class Organ:
    """A module with weights: its path in the layer, what it is for, its widths, and whether it has a bias.

    `after_attention`: it runs behind the layer's (first) attention function. `idle`: the part of its output, first
    and behind the last, whose shift changes nothing, as with keys that are not rotated: it adds the same to all scores
    of a query.
    """

    path: str
    role: Role
    inputs: int
    outputs: int
    bias: bool
    after_attention: bool
    idle: tuple[int, int] | None = None


@dataclass(frozen=True)
class Anatomy:
    """The layers' modules with weights, in the order in which they run. `names`: the layers' names in the model."""

    layers: tuple[tuple[Organ, ...], ...]
    names: tuple[str, ...]
    width: int
    family: str

    @cached_property
    def widths(self) -> Mapping[tuple[int, str], tuple[int, int]]:
        """Inputs and outputs of every site, the layers themselves included."""
        found = {(layer, ""): (self.width, self.width) for layer in range(len(self.layers))}
        found |= {
            (layer, organ.path): (organ.inputs, organ.outputs)
            for layer, organs in enumerate(self.layers)
            for organ in organs
        }
        return found

    def of(self, layer: int, *roles: Role) -> list[Organ]:
        """The modules of these roles in a layer, in their order. **Raises** `Unsupported` for a role that none has."""
        found = []
        for role in roles:
            own = [organ for organ in self.layers[layer] if organ.role == role]
            if not own:
                raise Unsupported(
                    f"{self.family}: which module of layer {layer} is its {role} could not be seen",
                    do="name the modules with target_modules",
                )
            found += own
        return found

    def matching(self, layer: int, target: str | Sequence[str]) -> list[Organ]:
        """The matrices of a layer that `target` names, as in PEFT.

        A list holds ends of their names; a string is "all-linear", or a regular expression for whole names.
        """
        matrices = [organ for organ in self.layers[layer] if organ.role != "norm"]
        if target == "all-linear":
            return matrices
        whole = {organ.path: f"{self.names[layer]}.{organ.path}" for organ in matrices}
        if isinstance(target, str):
            return [organ for organ in matrices if re.fullmatch(target, whole[organ.path])]
        return [
            organ
            for organ in matrices
            if any(organ.path == name or f".{whole[organ.path]}".endswith(f".{name}") for name in target)
        ]

    def check_targets(self, layers: Sequence[int], target: str | Sequence[str], option: str) -> None:
        """**Raises** `ConfigError` for a name that no matrix of these layers has."""
        for name in [target] if isinstance(target, str) else target:
            one = name if isinstance(target, str) else [name]
            try:
                if any(self.matching(layer, one) for layer in layers):
                    continue
            except re.error as error:
                raise ConfigError(f"{option}: '{name}' is no regular expression: {error}") from None
            paths = [organ.path for layer in layers for organ in self.layers[layer] if organ.role != "norm"]
            known = sorted({path.rpartition(".")[2] for path in paths} | {path for path in paths if "." in path})
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise ConfigError(
                f"{option}: no matrix of {self.family}'s layers is called '{name}'",
                do=f"{hint}known: {', '.join(known)}",
            )


@dataclass(frozen=True)
class _Event:
    path: str
    module: nn.Module
    given: Tensor
    out: Tensor
    seen: int


Recorded = list[tuple[nn.Module, Tensor, Tensor]]


@torch.no_grad()
def anatomy_of(
    layers: Sequence[nn.Module],
    names: Sequence[str],
    attention: Sequence[int],
    width: int,
    family: str,
    run: Callable[[Recorded], Any],
) -> Anatomy:
    """Watch `run`, which runs the trunk once and appends to the list it is given what attention sees, layer by layer.

    `attention`: how often each layer attends. **Raises** `Unsupported` for layers that are not made of projections,
    attention and a feed-forward.
    """
    recorded: Recorded = []
    events: list[list[_Event]] = [[] for _ in layers]
    hooks = []
    for number, layer in enumerate(layers):
        for path, module in layer.named_modules():
            if path and _weighted(module):
                hooks.append(module.register_forward_hook(_watch(events[number], path, recorded)))
    try:
        run(recorded)
    finally:
        for hook in hooks:
            hook.remove()
    organs, first = [], 0
    for number, (seen, times) in enumerate(zip(events, attention, strict=True)):
        own = [replace(event, seen=event.seen - first) for event in seen]
        organs.append(_organs(number, own, [pair[1:] for pair in recorded[first : first + times]], width, family))
        first += times
    return Anatomy(tuple(organs), tuple(names), width, family)


def _watch(events: list[_Event], path: str, recorded: Recorded) -> Callable[..., None]:
    def hook(module: nn.Module, given: tuple[Any, ...], out: Any) -> None:
        events.append(_Event(path, module, given[0], out, len(recorded)))

    return hook


def _weighted(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return _matrix(module) or (isinstance(weight, Tensor) and weight.ndim == 1 and not list(module.children()))


def _matrix(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | Int8Linear) or type(module).__name__ == "Conv1D"


def _organs(
    layer: int, events: Sequence[_Event], attended: Sequence[tuple[Tensor, Tensor]], width: int, family: str
) -> tuple[Organ, ...]:
    """Of one layer; `attended`: the keys and values of each time that it attends."""
    found = {
        event.path: Organ(
            event.path, "norm", event.given.shape[-1], event.out.shape[-1],
            getattr(event.module, "bias", None) is not None, event.seen > 0,
        )
        for event in events
    }  # fmt: skip
    matrices = [event for event in events if _matrix(event.module)]
    times = len(attended)
    groups = [[event for event in matrices if event.seen == time] for time in range(times + 1)]
    plain = len(found) == len(events) and groups[0] and all(len(group) > 1 for group in groups[1:-1])
    outputs = [group[0] for group in groups[1:] if group]
    if not plain or len(groups[-1]) < 3 or {found[one.path].outputs for one in (*outputs, groups[-1][-1])} != {width}:
        raise Unsupported(
            f"{family} has no support for sites: layer {layer} is not projections, attention, and a feed-forward whose "
            f"modules run once each"
        )
    roles: dict[str, Role] = {event.path: "feed-forward-input" for event in groups[-1][1:-1]}
    roles |= {event.path: "attention-output" for event in outputs}
    roles |= {groups[-1][-1].path: "feed-forward-output"}
    idle: dict[str, tuple[int, int]] = {}
    for number, (key, value) in enumerate(attended):
        before = groups[number][number > 0 :]
        roles |= _projections(before, key, value)
        for event in before:
            biased = found[event.path].bias and roles[event.path] in ("key", "fused")
            if biased and (part := _part(event.out, key)) is not None:
                idle[event.path] = part
    return tuple(replace(organ, role=roles.get(path, "norm"), idle=idle.get(path)) for path, organ in found.items())


def _projections(before: Sequence[_Event], key: Tensor, value: Tensor) -> dict[str, Role]:
    """What each projection is for, by comparing what it gives with the keys and values that attention gets."""
    if len(before) == 1:
        return {before[0].path: "fused"}
    roles: dict[str, Role] = {event.path: "projection" for event in before}
    values = [event.path for event in before if _same(event.out, value)]
    # the first token is not rotated, or by nothing, where keys are rotated by their position
    keys = [event.path for event in before if _same(event.out[..., :1, :], key[:, :, :1])]
    if len(before) == 3 and len(values) == len(keys) == 1 and values != keys:
        roles[values[0]], roles[keys[0]] = "value", "key"
        roles[next(path for path in roles if path not in (values[0], keys[0]))] = "query"
        return roles
    for path in roles:  # normed or otherwise changed on the way: by their usual names
        last = path.rpartition(".")[2]
        for role in ("query", "key", "value"):
            if last == role or last in (f"{role[0]}_proj", f"{role[0]}_lin", role[0]):
                roles[path] = role
    return roles


def _part(out: Tensor, states: Tensor) -> tuple[int, int] | None:
    """Where in a projection's `[1, T, W]` stands what attention got as `[1, K, T, D]`; None for nowhere."""
    out = out.reshape(1, states.shape[2], -1)
    size, head = states.shape[1] * states.shape[3], states.shape[3]
    starts = range(0, out.shape[-1] - size + 1, head)
    return next(((start, start + size) for start in starts if _same(out[..., start : start + size], states)), None)


def _same(out: Tensor, states: Tensor) -> bool:
    """Whether a projection's `[1, T, K D]` is what attention got as `[1, K, T, D]`."""
    wide = states.transpose(1, 2).reshape(states.shape[0], states.shape[2], -1)
    out = out.reshape(wide.shape) if out.numel() == wide.numel() else out
    return out.shape == wide.shape and torch.allclose(out, wide, rtol=1e-3, atol=1e-5)
