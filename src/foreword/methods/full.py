"""Full fine-tuning, the baseline: every weight of the backbone is trained, in a copy.

It compiles to replaced weights, so the backbone itself stays as it is and other forewords can share the batch.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from foreword.config import MethodConfig
from foreword.injections import Injection, Weights
from foreword.methods.base import Method, MethodSetup


class Full(Method):
    """A trained copy of all parameters that the readout depends on: the trunk's, and the head's where it is read."""

    name: ClassVar[str] = "full"

    class Config(MethodConfig):
        """No settings of its own."""

        name: Literal["full"] = "full"

    def __init__(self, config: Config, setup: MethodSetup) -> None:
        super().__init__(config, setup)
        model, trunk = setup.backbone.model, setup.backbone.trunk
        inside = {id(parameter) for name, parameter in trunk.named_parameters() if not name.startswith("pooler.")}
        self.names = [
            name
            for name, parameter in model.named_parameters()
            if id(parameter) in inside or (setup.uses_head and ".pooler." not in name)
        ]
        own = dict(model.named_parameters())
        self.copies = nn.ParameterList([nn.Parameter(own[name].detach().clone()) for name in self.names])

    def compiled(self) -> Injection:
        return Injection(weights=Weights(dict(zip(self.names, self.copies, strict=True))))
