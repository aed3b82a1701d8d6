"""BitFit (Ben Zaken et al. 2022): only the biases of the layers are trained."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from foreword.backbone.anatomy import ATTENTION, Organ
from foreword.config import MethodConfig
from foreword.errors import Unsupported
from foreword.injections import Injection, Shift, Sites
from foreword.methods._sites import key, layers_of
from foreword.methods.base import Method, MethodSetup
from foreword.methods.p_tuning_v2 import Depth

Which = Literal["all", "attention", "feed-forward", "norm"]


class BitFit(Method):
    """What is added to the backbone's own biases, from zero on.

    A key's bias adds the same to all scores of a query, so that it changes nothing where keys are not rotated: it is
    left out there, as a parameter that never gets a gradient, be it of a matrix of its own or a part of a fused one.
    Beside key/values of its own foreword, which no bias moves, it counts. Biases outside of the layers stay frozen.
    """

    name: ClassVar[str] = "bitfit"

    class Config(MethodConfig):
        """`which`: the biases of all modules, of attention's or the feed-forward's matrices, or of the layer norms."""

        name: Literal["bitfit"] = "bitfit"
        which: Which = "all"
        layers: Depth | list[int] = "all"

    def __init__(self, config: Config, setup: MethodSetup) -> None:
        super().__init__(config, setup)
        backbone = setup.backbone
        self.idle: dict[tuple[int, str], tuple[int, int] | None] = {
            (layer, organ.path): None if layer in setup.keyed else organ.idle
            for layer in layers_of(config.layers, backbone)
            for organ in backbone.anatomy.layers[layer]
            if organ.bias and (layer in setup.keyed or organ.idle != (0, organ.outputs)) and _is(config.which, organ)
        }
        self.places = list(self.idle)
        if not self.places:
            kind = "" if config.which == "all" else f"{config.which} "
            raise Unsupported(
                f"bitfit trains biases, and {backbone.name} ({backbone.family}) has no {kind}biases in these layers",
                do="use ia3, or lora" if config.which == "all" else "set which: all, or use ia3",
            )
        widths = backbone.anatomy.widths
        sizes = {at: widths[at][1] - (idle[1] - idle[0] if idle else 0) for at, idle in self.idle.items()}
        self.shifts = nn.ParameterDict({key(*at): nn.Parameter(torch.zeros(size)) for at, size in sizes.items()})

    def compiled(self) -> Injection:
        """The shifts as they are, with zeros where nothing is trained."""
        at = {(*place, Shift.kind): Shift(_whole(self.shifts[key(*place)], idle)) for place, idle in self.idle.items()}
        return Injection(sites=Sites(dict(at)))


def _whole(shift: Tensor, idle: tuple[int, int] | None) -> Tensor:
    if idle is None:
        return shift
    first, behind = idle
    return torch.cat([shift[:first], shift.new_zeros(behind - first), shift[first:]])


def _is(which: Which, organ: Organ) -> bool:
    if which == "norm" or organ.role == "norm":
        return which in ("all", organ.role)
    return which == "all" or (which == "attention") == (organ.role in ATTENTION)
