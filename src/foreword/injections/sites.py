"""What is done at single modules of the layers, as plain data: low rank, scale, shift, bottleneck.

A *site* is a module of one layer, by the layer's number and the module's path inside the layer ("" is the layer
itself). At a site there may be one operation of each kind. They act in a fixed order, whatever put them there:

    x' = s_in * x        y = m(x') + scale * b a x'        y = (y + v) * s_out        y = y + scale * up act(down x'')

x'' being y itself, or, in a parallel bottleneck, what another site of the layer was given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from foreword.errors import ArtifactError

# by PyTorch's names, and by those that other libraries use
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "elu": functional.elu,
    "gelu": functional.gelu,
    "gelu_new": lambda x: functional.gelu(x, approximate="tanh"),
    "hardsigmoid": functional.hardsigmoid,
    "hardswish": functional.hardswish,
    "hardtanh": functional.hardtanh,
    "identity": lambda x: x,
    "leaky_relu": functional.leaky_relu,
    "logsigmoid": functional.logsigmoid,
    "mish": functional.mish,
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "relu": functional.relu,
    "relu2": lambda x: functional.relu(x).square(),
    "relu6": functional.relu6,
    "selu": functional.selu,
    "sigmoid": torch.sigmoid,
    "silu": functional.silu,
    "softplus": functional.softplus,
    "softsign": functional.softsign,
    "tanh": torch.tanh,
    "tanhshrink": functional.tanhshrink,
}
ACTIVATIONS |= {
    other: ACTIVATIONS[name]
    for other, name in {
        "gelu_fast": "gelu_new", "gelu_orig": "gelu", "gelu_python": "gelu", "gelu_pytorch_tanh": "gelu_new",
        "leakyrelu": "leaky_relu", "linear": "identity", "swish": "silu",
    }.items()
}  # fmt: skip
Norm = Literal["none", "before", "after"]


@dataclass(frozen=True, eq=False)
class LowRank:
    """`m(x) + scale * b (a x)` (LoRA, Hu et al. 2022, eq. 3). `a`: `[r, in]`; `b`: `[out, r]`.

    `dropout` on x is drawn anew from `seed` and the batch, in training alone.
    """

    kind: ClassVar[str] = "low_rank"
    a: Tensor
    b: Tensor
    scale: float = 1.0
    dropout: float = 0.0
    seed: int = 0


@dataclass(frozen=True, eq=False)
class ScaleInput:
    """`m(x * vector)`, `vector`: `[in]` (IA3 at the feed-forward's output, Liu et al. 2022, section 3.3)."""

    kind: ClassVar[str] = "scale_input"
    vector: Tensor


@dataclass(frozen=True, eq=False)
class ScaleOutput:
    """`m(x) * vector`, `vector`: `[out]` (IA3 at keys and values)."""

    kind: ClassVar[str] = "scale_output"
    vector: Tensor


@dataclass(frozen=True, eq=False)
class Shift:
    """`m(x) + vector`, `vector`: `[out]`: what BitFit adds to a module's own bias (Ben Zaken et al. 2022)."""

    kind: ClassVar[str] = "shift"
    vector: Tensor


@dataclass(frozen=True, eq=False)
class Bottleneck:
    """`y + scale * up(act(down(x)))`, where x is y, or what the site `source` of the layer was given.

    `down`: `[r, W]`, `down_bias`: `[r]`, `up`: `[out, r]`, `up_bias`: `[out]`. `scale`: a number, or a trained tensor
    `[]`. `residual` False leaves y out of the sum. `norm`: a layer norm of its own on x, or on what `up` gives;
    `norm_weight`, `norm_bias` are its values. `dropout` acts on what `up` gives, as in `LowRank`.
    """

    kind: ClassVar[str] = "bottleneck"
    down: Tensor
    down_bias: Tensor
    up: Tensor
    up_bias: Tensor
    norm_weight: Tensor | None = None
    norm_bias: Tensor | None = None
    scale: float | Tensor = 1.0
    activation: str = "relu"
    residual: bool = True
    norm: Norm = "none"
    source: str = ""
    dropout: float = 0.0
    seed: int = 0


Operation = LowRank | ScaleInput | ScaleOutput | Shift | Bottleneck
KINDS: Mapping[str, type[Operation]] = {cls.kind: cls for cls in get_args(Operation)}
Place = tuple[int, str, str]
"""Layer, path of the module inside it, kind of operation."""

_NAME = re.compile(rf"(\d+)\.(.*)\.({'|'.join(KINDS)})\[([^\[\]]*)\]\.(\w+)")


@dataclass(frozen=True)
class Sites:
    """One foreword's operations, by place."""

    at: Mapping[Place, Operation]

    @cached_property
    def by_layer(self) -> Mapping[int, Mapping[str, Mapping[str, Operation]]]:
        """The operations at each site, by layer, path and kind."""
        grouped: dict[int, dict[str, dict[str, Operation]]] = {}
        for (layer, path, kind), operation in self.at.items():
            grouped.setdefault(layer, {}).setdefault(path, {})[kind] = operation
        return grouped

    @property
    def lowest(self) -> int:
        """The lowest layer with a site."""
        return min(layer for layer, _, _ in self.at)

    @property
    def highest(self) -> int:
        """The highest layer with a site."""
        return max(layer for layer, _, _ in self.at)

    @property
    def drops(self) -> bool:
        """Whether random numbers are drawn when it is used: in training, with dropout."""
        return any(getattr(operation, "dropout", 0.0) > 0 for operation in self.at.values())

    def tensors(self) -> dict[str, Tensor]:
        """Named tensors; names hold the settings, such as `3.output.dense.bottleneck[activation=gelu,...].up`."""
        named: dict[str, Tensor] = {}
        for (layer, path, kind), operation in self.at.items():
            values = {part.name: getattr(operation, part.name) for part in fields(operation)}
            held = {name: value for name, value in values.items() if isinstance(value, Tensor)}
            plain = ",".join(f"{k}={v}" for k, v in values.items() if k not in held and v not in (None, ""))
            named |= {f"{layer}.{path}.{kind}[{plain}].{name}": tensor for name, tensor in held.items()}
        return named

    @classmethod
    def from_tensors(cls, named: Mapping[str, Tensor]) -> Sites:
        """**Raises** `ArtifactError` on a name or a shape that no operation has."""
        found: dict[Place, dict[str, Any]] = {}
        for name, tensor in named.items():
            match = _NAME.fullmatch(name)
            if match is None:
                raise ArtifactError(f"unknown tensors: sites.{name}")
            layer, path, kind, plain, part = match.groups()
            values = found.setdefault((int(layer), path, kind), dict(_settings(name, kind, plain)))
            if part in values or part not in {one.name for one in fields(KINDS[kind])}:
                raise ArtifactError(f"unknown tensors: sites.{name}")
            values[part] = tensor
        return cls({place: _operation(place, values) for place, values in found.items()})


def _settings(name: str, kind: str, plain: str) -> Iterator[tuple[str, Any]]:
    """The settings that a name holds. **Raises** `ArtifactError` for others than the kind's."""
    read: dict[str, Callable[[str], Any]] = {"scale": float, "dropout": float, "seed": int, "source": str, "norm": str}
    read |= {"activation": str, "residual": {"True": True, "False": False}.__getitem__}
    known = {one.name for one in fields(KINDS[kind])} & set(read)
    for pair in filter(None, plain.split(",")):
        key, _, value = pair.partition("=")
        try:
            if key not in known:
                raise KeyError(key)
            yield key, read[key](value)
        except (KeyError, ValueError):
            raise ArtifactError(f"the tensor sites.{name} has a setting that is not known here: {pair}") from None


def _operation(place: Place, values: dict[str, Any]) -> Operation:
    layer, path, kind = place
    where = f"{kind} at {path or 'the output'} of layer {layer}"
    try:
        operation = KINDS[kind](**values)
    except TypeError:
        raise ArtifactError(f"{where} lacks some of its tensors") from None
    if not _fits(operation):
        shapes = {name: tuple(value.shape) for name, value in values.items() if isinstance(value, Tensor)}
        raise ArtifactError(f"{where} has tensors or settings that do not go together: {shapes}")
    return operation


def _fits(operation: Operation) -> bool:
    if isinstance(operation, LowRank):
        return operation.a.ndim == operation.b.ndim == 2 and operation.a.shape[0] == operation.b.shape[1]
    if not isinstance(operation, Bottleneck):
        return operation.vector.ndim == 1
    one, up = operation, operation.up
    if one.down.ndim != 2 or up.ndim != 2 or one.down.shape[0] != up.shape[1]:
        return False
    normed = {"none": None, "before": one.down.shape[1:], "after": up.shape[:1]}
    if one.norm not in normed or one.activation not in ACTIVATIONS:
        return False
    norms = [None if part is None else part.shape for part in (one.norm_weight, one.norm_bias)]
    biases = one.down_bias.shape == one.down.shape[:1] and one.up_bias.shape == up.shape[:1]
    return biases and norms == [normed[one.norm]] * 2 and (not isinstance(one.scale, Tensor) or one.scale.ndim == 0)


def merged(parts: Mapping[str, Sites]) -> Sites:
    """The operations of several parts in one. **Raises** `ValueError` with the two names and the place of a clash."""
    whole: dict[Place, Operation] = {}
    owner: dict[Place, str] = {}
    for name, sites in parts.items():
        for place, operation in sites.at.items():
            if place in whole:
                raise ValueError(owner[place], name, place)
            whole[place], owner[place] = operation, name
    return Sites(whole)
