"""IA3 (Liu et al. 2022): trained scales of keys, values, and of what the feed-forward's last matrix is given."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
from pydantic import model_validator
from torch import nn

from foreword.backbone.anatomy import Role
from foreword.config import MethodConfig
from foreword.errors import ConfigError
from foreword.injections import Injection, ScaleInput, ScaleOutput, Sites
from foreword.injections.sites import Operation, Place
from foreword.methods._sites import Targets, key, layers_of, targeted
from foreword.methods.base import Method, MethodSetup
from foreword.methods.p_tuning_v2 import Depth


class IA3(Method):
    """Vectors of ones at the start: `m(x) * l`, and `m(x * l)` at the feed-forward's output (section 3.3)."""

    name: ClassVar[str] = "ia3"

    class Config(MethodConfig):
        """PEFT's names.

        `target_modules`: the modules with a scale, named as for lora; by default keys, values and the feed-forward's
        output, as in the paper in every family. `feedforward_modules`: those of them that are scaled in front instead
        of behind; by default the feed-forward's output. `layers`: as p-tuning-v2's.
        """

        name: Literal["ia3"] = "ia3"
        target_modules: Targets | None = None
        feedforward_modules: Targets | None = None
        layers: Depth | list[int] = "all"

        @model_validator(mode="after")
        def _both_are_named(self) -> Self:
            if self.feedforward_modules is not None and self.target_modules is None:
                raise ConfigError(
                    "feedforward_modules says which of target_modules are scaled in front, and these are not given",
                    do="give target_modules as well",
                )
            return self

    def __init__(self, config: Config, setup: MethodSetup) -> None:
        super().__init__(config, setup)
        layers, anatomy = layers_of(config.layers, setup.backbone), setup.backbone.anatomy
        default: tuple[Role, ...] = ("key", "value", "feed-forward-output")
        chosen = list(targeted(anatomy, layers, config.target_modules, default))
        in_front = {(layer, organ.path) for layer, organ in chosen if organ.role == "feed-forward-output"}
        if (named := config.feedforward_modules) is not None:
            if named:
                anatomy.check_targets(layers, named, "feedforward_modules")
            in_front = {(layer, organ.path) for layer in layers if named for organ in anatomy.matching(layer, named)}
            if stray := in_front - {(layer, organ.path) for layer, organ in chosen}:
                raise ConfigError(
                    f"feedforward_modules names {min(stray)[1]}, and target_modules does not",
                    do="name it in target_modules too",
                )
        self.places: list[tuple[int, str, bool]] = []
        self.scales = nn.ParameterDict()
        for layer, organ in chosen:
            front = (layer, organ.path) in in_front
            self.places.append((layer, organ.path, front))
            self.scales[key(layer, organ.path)] = nn.Parameter(torch.ones(organ.inputs if front else organ.outputs))

    def compiled(self) -> Injection:
        at: dict[Place, Operation] = {}
        for layer, path, front in self.places:
            operation = (ScaleInput if front else ScaleOutput)(self.scales[key(layer, path)])
            at[layer, path, operation.kind] = operation
        return Injection(sites=Sites(at))
