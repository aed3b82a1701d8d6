"""Our training step with the frozen layers through `torch.compile`: does it pay on this machine?"""

from __future__ import annotations

import time
from typing import Any

import torch

from benchmarks import ours
from benchmarks.side import Settings, Side, Skip

WARM = 3
"""Batches that are run for the compiler before the clock starts, so that several lengths are known to it."""


def mrpc(settings: Settings) -> Side:
    """As `ours.mrpc`, each layer compiled with free lengths. **Raises** `Skip` where nothing can be compiled."""
    refuse_without_compiler()
    side = ours.mrpc(settings)
    assert isinstance(side, ours.Looped)
    trunk: Any = side.loop.assembly.backbone.trunk
    for layer in trunk.encoder.layer:
        layer.compile(dynamic=True)
    items, size, started = side.loop.train_items, settings["batch"], time.perf_counter()
    try:
        for number in range(WARM):
            places = range(number * size, (number + 1) * size)
            side.loop.backward([items[place % len(items)] for place in places])
    except (RuntimeError, OSError) as error:  # what dynamo, inductor and the C++ compiler raise
        raise Skip(f"torch.compile cannot compile the layers: {_first_line(error)}") from error
    side.once = time.perf_counter() - started
    side.loop.optimizer.zero_grad(set_to_none=True)
    side.about = f"{side.about}; each layer through torch.compile with free lengths"
    return side


def refuse_without_compiler() -> None:
    """**Raises** `Skip` where there is no C++ compiler, which torch.compile needs on a CPU."""
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        compiled = torch.compile(torch.sin)
        get_cpp_compiler()
        compiled(torch.zeros(2))
    except (RuntimeError, OSError) as error:
        raise Skip(f"torch.compile needs a C++ compiler that works: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]
