"""How far a run is from where it began, written into its log at every evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from foreword.methods.base import Method

Log = Callable[[dict[str, Any]], None]


def with_drift(log: Log, method: Method) -> Log:
    """`log`, to which records of an evaluation go with the drift of what the method compiles to since now.

    `drift` has the `distance` (Euclidean) and, where neither is zero, the `cosine` between all numbers of the injection
    then and now. Full fine-tuning is left out: another copy of the model would have to be kept.
    """
    injection = method.at_rest()
    if injection.weights is not None or not injection.tensors():
        return log
    first = _flat(injection.tensors())

    def write(entry: dict[str, Any]) -> None:
        if "validation" in entry:
            now = _flat(method.at_rest().tensors())
            drift = {"distance": float((now - first).norm())}
            if first.any() and now.any():
                drift["cosine"] = float(torch.nn.functional.cosine_similarity(now, first, dim=0))
            entry = {**entry, "drift": drift}
        log(entry)

    return write


def _flat(tensors: dict[str, Tensor]) -> Tensor:
    return torch.cat([t.float().flatten() for name, t in sorted(tensors.items()) if not name.endswith(".layers")])
