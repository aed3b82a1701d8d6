"""What a foreword is made of, as comparable tensors: for its drift from where it began, and its likeness to others."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from foreword.backbone.backbone import Backbone
from foreword.injections import Bottleneck, Injection, LowRank
from foreword.injections.sites import Operation
from foreword.inspection.subject import tables_of

NEUTRAL = {"scale_input": 1.0, "scale_output": 1.0}
"""What an operation by one vector is where it does nothing; 0 for the others."""


@torch.no_grad()
def parts_of(injection: Injection, backbone: Backbone, own: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Named float tensors, one a part. `own`: the backbone's parameters, where others may stand in for a while.

    Each virtual token `[E]`; the keys and the values of each layer `[K, P, D]`; what the operation at each site adds;
    each layer's own weights less the backbone's. Of LoRA that is `scale * b a`; of a bottleneck `scale * up down`,
    which leaves out its activation and biases. Both are the same for all orders of the r inner units, and so can be
    compared between runs.
    """
    found: dict[str, Tensor] = {}
    if injection.soft is not None:
        found |= {f"token {i}": vector.float() for i, vector in enumerate(injection.soft.vectors)}
    for kind, table in tables_of(injection).items():
        title = "" if kind == "key_values" else f"{kind} "
        for layer, pair in zip(table.layers, table.tensor.float(), strict=True):
            found |= {f"layer {layer} {title}keys": pair[0], f"layer {layer} {title}values": pair[1]}
    if injection.sites is not None:
        for (layer, path, kind), operation in injection.sites.at.items():
            found[f"layer {layer} {path or 'output'} {kind}"] = _effect(operation)
    if injection.weights is not None:
        own = dict(backbone.model.named_parameters()) if own is None else own
        groups: dict[str, list[Tensor]] = {}
        for name, tensor in injection.weights.tensors.items():
            number = re.search(r"\.(\d+)\.", name)
            title = f"layer {number[1]} weights" if number else "weights outside the layers"
            groups.setdefault(title, []).append((tensor - own[name]).float().flatten())
        found |= {name: torch.cat(some) for name, some in groups.items()}
    return found


def pooled_of(injection: Injection, backbone: Backbone) -> dict[str, Tensor]:
    """`parts_of`, with a mean over the virtual tokens in their place: what does not hang on their order or number.

    Attention does not see the order of key/values; soft tokens it sees by their positions alone.
    """
    parts = parts_of(injection, backbone)
    tokens = [parts.pop(name) for name in list(parts) if name.startswith("token ")]
    pooled = {"mean token": torch.stack(tokens).mean(0)} if tokens else {}
    for name, tensor in parts.items():
        pooled[name] = tensor.mean(1) if tensor.ndim == 3 else tensor  # [K, P, D]; what sites add has two dimensions
    return pooled


def _effect(operation: Operation) -> Tensor:
    if isinstance(operation, LowRank):
        return operation.scale * (operation.b.float() @ operation.a.float())
    if isinstance(operation, Bottleneck):
        return operation.scale * (operation.up.float() @ operation.down.float())
    return operation.vector.float() - NEUTRAL.get(operation.kind, 0.0)
