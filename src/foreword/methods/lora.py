"""LoRA (Hu et al. 2022): a low-rank addition to chosen weight matrices."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from foreword.config import MethodConfig
from foreword.injections import Injection, LowRank, Sites
from foreword.methods._sites import Targets, key, layers_of, targeted
from foreword.methods.base import Method, MethodSetup
from foreword.methods.p_tuning_v2 import Depth


class LoRA(Method):
    """`W x + scale * B A x` with A `[r, in]`, B `[out, r]`, scale `lora_alpha / r` (section 4.1).

    B starts at zero, so that training starts at the bare backbone.
    """

    name: ClassVar[str] = "lora"

    class Config(MethodConfig):
        """PEFT's names and defaults.

        `target_modules`: the ends of modules' names, "all-linear", or one regular expression for whole names; by
        default the projections of queries and values (one module in families that have them in one). `use_rslora`:
        scale by `lora_alpha / sqrt(r)`. `init_lora_weights`: A as a linear layer's weight, or Gaussian of deviation
        1/r. `lora_dropout` acts on x, in training. `layers`: as p-tuning-v2's.
        """

        name: Literal["lora"] = "lora"
        r: int = Field(8, ge=1, le=65_536)
        lora_alpha: float = Field(8, gt=0)
        lora_dropout: float = Field(0.0, ge=0, lt=1)
        target_modules: Targets | None = None
        layers: Depth | list[int] = "all"
        use_rslora: bool = False
        init_lora_weights: Literal[True, "gaussian"] = True

    def __init__(self, config: Config, setup: MethodSetup) -> None:
        super().__init__(config, setup)
        layers = layers_of(config.layers, setup.backbone)
        self.scale = config.lora_alpha / (math.sqrt(config.r) if config.use_rslora else config.r)
        self.dropout = config.lora_dropout
        self.places: list[tuple[int, str]] = []
        self.a, self.b = nn.ParameterDict(), nn.ParameterDict()
        generator = setup.generator()
        for layer, organ in targeted(setup.backbone.anatomy, layers, config.target_modules, ("query", "value")):
            self.places.append((layer, organ.path))
            a, name = torch.empty(config.r, organ.inputs), key(layer, organ.path)
            if config.init_lora_weights == "gaussian":
                a.normal_(std=1 / config.r, generator=generator)
            else:
                nn.init.kaiming_uniform_(a, a=math.sqrt(5), generator=generator)
            self.a[name] = nn.Parameter(a)
            self.b[name] = nn.Parameter(torch.zeros(organ.outputs, config.r))

    def compiled(self) -> Injection:
        drops = self.training and self.dropout > 0
        rate, seed = (self.dropout, int(torch.randint(2**31, ()))) if drops else (0.0, 0)
        at = {
            (layer, path, LowRank.kind): LowRank(self.a[name], self.b[name], self.scale, rate, seed)
            for layer, path in self.places
            for name in [key(layer, path)]
        }
        return Injection(sites=Sites(dict(at)))
