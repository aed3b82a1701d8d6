"""What every method is: an initialiser, a parameterisation, and the injection that it compiles to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from foreword.backbone.backbone import Backbone
from foreword.config import MethodConfig
from foreword.errors import Unsupported
from foreword.injections import Injection
from foreword.text.template import Template

MOST = 2**16
"""Virtual tokens, and the width of what makes them: more is a slip of the pen, and would not fit the memory."""


@dataclass(frozen=True)
class MethodSetup:
    """What a method is built from.

    `template` is the one that `place` returned, with known slot lengths. `uses_head` says that the readout reads
    through the language-model head. `seed` decides the first values. `keyed`: the layers in which its foreword
    has keys that no projection of the backbone makes.
    """

    backbone: Backbone
    template: Template
    labels: tuple[str, ...]
    uses_head: bool = False
    seed: int = 0
    keyed: frozenset[int] = frozenset()

    def generator(self) -> torch.Generator:
        """A fresh generator for the first values."""
        return torch.Generator().manual_seed(self.seed * 2)


class Method(nn.Module, ABC):
    """A trainable module that compiles to plain data.

    A subclass is one file: its `Config`, its parameters, and `compiled`. `trains_readout` says whether a readout's own
    parameters are trained along; a hard prompt trains nothing. `brings_keys` says whether it compiles to key/values.
    """

    name: ClassVar[str]
    Config: ClassVar[type[MethodConfig]]
    trains_readout: ClassVar[bool] = True
    brings_keys: ClassVar[bool] = False

    def __init__(self, config: MethodConfig, setup: MethodSetup) -> None:
        super().__init__()

    @classmethod
    def place(cls, config: MethodConfig, template: Template) -> Template:
        """The template with this method's virtual tokens in it. Methods without any refuse soft slots."""
        if template.has_soft:
            raise Unsupported(
                f"the template has soft slots, and {cls.name} has no virtual tokens to put there",
                do="take {soft} out of the template, or use prompt-tuning or p-tuning",
            )
        return template

    @abstractmethod
    def compiled(self) -> Injection:
        """The injection for the parameters as they are, with gradients."""

    @torch.no_grad()
    def at_rest(self) -> Injection:
        """The injection for use: a copy without gradients and without dropout. The method's mode stays as it was."""
        training = self.training
        self.eval()
        injection = self.compiled().detached()
        self.train(training)
        return injection
