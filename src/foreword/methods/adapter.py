"""Bottleneck adapters: Houlsby et al. 2019, Pfeiffer et al. 2021, parallel (He et al. 2022), Compacter.

Compacter (Mahabadi et al. 2021) makes their matrices of Kronecker products. Pfeiffer's is here after the feed-forward
and in front of its residual and norm, in every family; AdapterHub's `seq_bn` gives it the normed sum instead, where a
family has that norm, and norms once more behind it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from foreword.backbone.anatomy import Anatomy
from foreword.config import MethodConfig
from foreword.errors import ConfigError, Unsupported, did_you_mean
from foreword.injections import Bottleneck, Injection, Sites
from foreword.injections.sites import ACTIVATIONS, Norm
from foreword.methods._phm import Kronecker, new_rule
from foreword.methods._sites import key, layers_of
from foreword.methods.base import Method, MethodSetup
from foreword.methods.p_tuning_v2 import Depth

Kind = Literal["houlsby", "pfeiffer", "parallel", "compacter", "compacter++"]
WIDEST = 64
"""Times the layers' width that an adapter may be wide: more is a slip of the pen, and would not fit the memory."""
WIDTHS = ("bottleneck_size", "reduction_factor", "width")
_WRITTEN = re.compile(r"\d+/\d+|\d+\.?|\d*\.\d+", re.ASCII)
_PHM = {"reduction_factor": 32.0, "activation": "gelu_new", "phm": 4, "shared_rule": True, "factor_rank": 1}
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "houlsby": {"reduction_factor": 16.0, "activation": "gelu"},
    "pfeiffer": {"reduction_factor": 16.0},
    "parallel": {"reduction_factor": 2.0, "scale": 4.0, "init": "identity"},
    "compacter": _PHM,
    "compacter++": _PHM,
}
"""What each paper (the library of the Pfeiffer adapters for its widths) sets, where it is not the default."""
BOTH = ("houlsby", "compacter")


class AdapterConfig(MethodConfig):
    """Settings; a `config` brings those of its paper, and each can be set.

    `config`: after attention and the feed-forward (houlsby), after the feed-forward (pfeiffer), beside it (parallel);
    compacter and compacter++ are houlsby and pfeiffer with `phm`. The width in front of the non-linearity is
    `bottleneck_size`, H / `reduction_factor`, or `width` times H, an exact fraction such as "8/3"; rounded up to a
    multiple of `multiple_of`. `where`: the sublayer's output, before residual and norm, or the layer's.
    `scale` of what is added, or "learned", from 1 on. `init`: near-identity draws both matrices from a normal
    distribution of deviation `init_std`, cut at two of them (Houlsby); identity starts `up` at zero, as LoRA does (He),
    or the norm behind it.
    `residual`: keep the sublayer's output in the sum. `layer_norm`: one of its own, before `down` or after `up`.
    `dropout` acts on what `up` gives. `phm`: n, the number of Kronecker products; `shared_rule`: one rule for all
    matrices of all layers; `factor_rank`: the rank of their factors, full where it is not given.
    """

    name: Literal["adapter"] = "adapter"
    config: Kind = "houlsby"
    bottleneck_size: int | None = Field(None, ge=1)
    reduction_factor: float | None = Field(None, gt=0)
    width: str | None = None
    multiple_of: int | None = Field(None, ge=1)
    activation: str = "relu"
    dropout: float = Field(0.0, ge=0, lt=1)
    scale: float | Literal["learned"] = 1.0
    init: Literal["near-identity", "identity"] = "near-identity"
    init_std: float = Field(0.01, gt=0)
    residual: bool = True
    layer_norm: Norm = "none"
    where: Literal["sublayer", "layer"] = "sublayer"
    layers: Depth | list[int] = "all"
    phm: int | None = Field(None, ge=1)
    shared_rule: bool = False
    factor_rank: int | None = Field(None, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, given: Any) -> Any:
        kind = given.get("config", "houlsby") if isinstance(given, Mapping) else None
        if not isinstance(kind, str) or kind not in PRESETS:
            return given
        preset = dict(PRESETS[kind])
        if any(given.get(name) is not None for name in WIDTHS):
            del preset["reduction_factor"]
        set_ = {name: value for name, value in given.items() if value is not None or name not in WIDTHS}
        return {**preset, **set_}

    @field_validator("activation")
    @classmethod
    def _known(cls, value: str) -> str:
        value = value.lower()
        if value not in ACTIVATIONS:
            raise ConfigError(f"method.activation: unknown activation '{value}'", do=did_you_mean(value, ACTIVATIONS))
        return value

    @field_validator("width", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        """A number in YAML is the fraction that it writes."""
        return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value

    @field_validator("width")
    @classmethod
    def _fraction(cls, value: str | None) -> str | None:
        try:
            if value is None or (_WRITTEN.fullmatch(value) and Fraction(value) > 0):
                return value
        except ZeroDivisionError:
            pass
        raise ConfigError(f"method.width: '{value}' is no fraction above 0", do='write it as in width: "8/3"')

    @field_validator("scale")
    @classmethod
    def _adds(cls, value: float | str) -> float | str:
        if value == 0 or (isinstance(value, float) and not math.isfinite(value)):
            raise ConfigError(
                f"method.scale: {value} times what the adapter gives is nothing to train", do="leave it out"
            )
        return value

    @field_validator("reduction_factor", mode="before")
    @classmethod
    def _plain_factor(cls, value: Any) -> Any:
        if isinstance(value, str) and "/" in value:
            raise ConfigError(
                f"reduction_factor: {value!r} is a fraction, and H is divided by this number",
                do=f"set width: {value} for {value} times H, and leave reduction_factor out",
            )
        return value

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        given = [name for name in WIDTHS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ConfigError(
                f"the adapter's width is given {len(given)} times: {', '.join(given)}",
                do=f"give one; --set method.{given[0]}=null takes a recipe's own out",
            )
        if self.where == "layer" and self.config not in ("pfeiffer", "compacter++"):
            raise ConfigError(
                f"where: layer is one place a layer, its output, and {self.config} is at others",
                do="use config: pfeiffer, or where: sublayer",
            )
        if not self.residual and self.config == "parallel":
            raise ConfigError("a parallel adapter is added to the feed-forward", do="leave residual out")
        if self.init == "identity" and self.init_std != 0.01:
            raise ConfigError("init_std is that of init: near-identity, and init is identity", do="take init_std out")
        if self.phm is None and self.config.startswith("compacter"):
            raise ConfigError(f"{self.config} is a sum of Kronecker products", do="leave phm out, or give their number")
        if self.phm is None and (self.shared_rule or self.factor_rank is not None):
            raise ConfigError("shared_rule and factor_rank are of phm, and it is not given", do="set phm, such as 4")
        return self

    def size(self, hidden: int) -> int:
        """The width in front of the non-linearity. **Raises** `ConfigError` where phm does not divide it."""
        if self.bottleneck_size is not None:
            exact = Fraction(self.bottleneck_size)
        elif self.reduction_factor is not None:
            exact = hidden / Fraction(str(self.reduction_factor))
        else:
            exact = hidden * Fraction(self.width or 1)
        rounded = self.multiple_of or (self.phm if self.bottleneck_size is None else None) or 1
        size = math.ceil(exact / rounded) * rounded
        if size > WIDEST * hidden:
            raise ConfigError(f"the adapter is more than {WIDEST} times as wide as the layers, which are {hidden}")
        if self.phm is not None and (size % self.phm or hidden % self.phm):
            wrong, what = (size, "the adapter's width") if size % self.phm else (hidden, "the layers' width")
            raise ConfigError(
                f"phm: {self.phm} does not divide {what}, {wrong}",
                do="set multiple_of to a multiple of phm" if size % self.phm else f"choose a divisor of {hidden}",
            )
        if self.phm is not None and self.factor_rank is not None and self.factor_rank > min(size, hidden) // self.phm:
            raise ConfigError(
                f"factor_rank: {self.factor_rank} is above {min(size, hidden) // self.phm}, which is full here",
                do="leave factor_rank out for full factors",
            )
        return size


class Adapter(Method):
    """`y + scale * up(act(down(x)))`, down `[r, H]`, up `[H, r]`, with biases; x is y, or the feed-forward's input."""

    name: ClassVar[str] = "adapter"
    Config = AdapterConfig

    def __init__(self, config: AdapterConfig, setup: MethodSetup) -> None:
        super().__init__(config, setup)
        layers, anatomy = layers_of(config.layers, setup.backbone), setup.backbone.anatomy
        generator = setup.generator()
        self.config = config
        self.rule = new_rule(config.phm, generator) if config.phm and config.shared_rule else None
        self.places = [(layer, path, source) for layer in layers for path, source in _places(config, anatomy, layer)]
        self.necks = nn.ModuleDict()
        for layer, path, source in self.places:
            inputs, outputs = anatomy.widths[layer, path]
            given = anatomy.widths[layer, source][0] if source else outputs
            if given != outputs:
                raise Unsupported(f"{anatomy.family}: the feed-forward of layer {layer} goes from {given} to {outputs}")
            self.necks[key(layer, path)] = _Neck(config, outputs, generator)

    def compiled(self) -> Injection:
        drops = self.training and self.config.dropout > 0
        random = {"dropout": self.config.dropout, "seed": int(torch.randint(2**31, ()))} if drops else {}
        at = {}
        for layer, path, source in self.places:
            neck = self.necks[key(layer, path)]
            assert isinstance(neck, _Neck)
            at[layer, path, Bottleneck.kind] = neck.compiled(self.rule, source, random)
        return Injection(sites=Sites(dict(at)))


def _places(config: AdapterConfig, anatomy: Anatomy, layer: int) -> list[tuple[str, str]]:
    """The sites of one layer, each with the site whose input it is given ("" for its own output)."""
    if config.where == "layer":
        return [("", "")]
    [last] = anatomy.of(layer, "feed-forward-output")
    if config.config == "parallel":
        return [(last.path, anatomy.of(layer, "feed-forward-input")[0].path)]
    first = anatomy.of(layer, "attention-output") if config.config in BOTH else []
    return [(organ.path, "") for organ in (*first, last)]


class _Neck(nn.Module):
    """The parameters of one bottleneck."""

    def __init__(self, config: AdapterConfig, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.config, size = config, config.size(hidden)
        near, std = config.init == "near-identity", config.init_std
        # a norm behind `up` starts at zero: were `up` zero as well, neither would ever get a gradient
        zero = not near and config.layer_norm != "after"
        down, up = (std, std) if near else (1 / math.sqrt(3 * hidden), 0.0 if zero else 1 / math.sqrt(3 * size))
        self.down: Tensor | Kronecker
        self.up: Tensor | Kronecker
        if config.phm is not None:
            n, rank, own = config.phm, config.factor_rank, not config.shared_rule
            self.down = Kronecker((hidden, size), n, rank, down, own, generator)
            self.up = Kronecker((size, hidden), n, rank, up, own, generator)
        elif near:
            self.down = nn.Parameter(_truncated((size, hidden), std, generator))
            self.up = nn.Parameter(_truncated((hidden, size), std, generator))
        else:
            self.down = nn.Parameter(_uniform((size, hidden), generator))
            self.up = nn.Parameter(torch.zeros(hidden, size) if zero else _uniform((hidden, size), generator))
        self.down_bias, self.up_bias = nn.Parameter(torch.zeros(size)), nn.Parameter(torch.zeros(hidden))
        if config.layer_norm != "none":
            # behind `up`, a norm would make anything as large as any other, so that it starts at zero there
            start = torch.ones if config.layer_norm == "before" else torch.zeros
            self.norm_weight, self.norm_bias = nn.Parameter(start(hidden)), nn.Parameter(torch.zeros(hidden))
        if config.scale == "learned":
            self.scale = nn.Parameter(torch.ones(()))

    def compiled(self, rule: Tensor | None, source: str, random: Mapping[str, Any]) -> Bottleneck:
        """The operation, its matrices made."""
        config = self.config
        down, up = (part(rule).T if isinstance(part, Kronecker) else part for part in (self.down, self.up))
        return Bottleneck(
            down,
            self.down_bias,
            up,
            self.up_bias,
            getattr(self, "norm_weight", None),
            getattr(self, "norm_bias", None),
            self.scale if config.scale == "learned" else float(config.scale),
            config.activation,
            config.residual,
            config.layer_norm,
            source,
            **random,
        )


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return nn.init.kaiming_uniform_(torch.empty(shape), math.sqrt(5), generator=generator)


def _truncated(shape: tuple[int, ...], std: float, generator: torch.Generator) -> Tensor:
    return nn.init.trunc_normal_(torch.empty(shape), std=std, a=-2 * std, b=2 * std, generator=generator)
