"""What the methods with operations at sites share: which layers, which modules, and names for what is trained there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from foreword.backbone.anatomy import Anatomy, Organ, Role
from foreword.backbone.backbone import Backbone
from foreword.errors import ConfigError
from foreword.methods.p_tuning_v2 import Depth, chosen_layers

Targets = list[str] | str


def layers_of(layers: Depth | list[int], backbone: Backbone) -> tuple[int, ...]:
    """The chosen layers. **Raises** `Unsupported` where the family has no sites."""
    backbone.require("parts")
    return chosen_layers(layers, len(backbone.anatomy.layers))


def targeted(
    anatomy: Anatomy, layers: Sequence[int], target: Targets | None, default: Sequence[Role]
) -> Iterator[tuple[int, Organ]]:
    """The matrices that `target_modules` names in these layers, or those of the default roles.

    A projection of queries, keys and values in one stands for each of them, as in PEFT.
    """
    if target is not None:
        if not target:
            raise ConfigError("target_modules names no module", do="leave it out, or name some")
        anatomy.check_targets(layers, target, "target_modules")
    for layer in layers:
        if target is not None:
            organs = anatomy.matching(layer, target)
        else:
            fused = any(organ.role == "fused" for organ in anatomy.layers[layer])
            roles = dict.fromkeys("fused" if fused and role in ("query", "key", "value") else role for role in default)
            organs = anatomy.of(layer, *roles)
        yield from ((layer, organ) for organ in organs)


def key(layer: int, path: str) -> str:
    """A name for the parameters at a site; torch wants none with dots."""
    return f"{layer}/{path.replace('.', '/')}"
