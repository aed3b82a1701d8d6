"""What tells one model from another, and where its parameters stand."""

from __future__ import annotations

import hashlib
import inspect
from typing import Any

import torch
from torch import nn


def fingerprint(module: nn.Module) -> str:
    """sha256 over the names, types and bytes of a module's state; the pooler, which nothing reads, is left out."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if not name.startswith("pooler."):
            digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def owners(model: nn.Module) -> dict[int, list[tuple[nn.Module, str]]]:
    """Every place in which a parameter object stands: a tied one stands in several."""
    places: dict[int, list[tuple[nn.Module, str]]] = {}
    for module in model.modules():
        for key, parameter in module._parameters.items():
            if parameter is not None:
                places.setdefault(id(parameter), []).append((module, key))
    return places


def arguments(trunk: Any) -> set[str]:
    """The names of what the trunk's forward takes, through transformers' decorators."""
    return set(inspect.signature(trunk.forward).parameters)
