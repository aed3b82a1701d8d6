"""Our training step with `training.compile`: does it pay on this machine?"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch

from benchmarks import ours
from benchmarks.side import Settings, Side, Skip
from foreword.errors import ForewordError
from foreword.training.compiling import compiled, need_compiler

WARM = 3
"""Batches that are run for the compiler before the clock starts, so that several lengths are known to it."""


def mrpc(settings: Settings) -> Side:
    """As `ours.mrpc`. **Raises** `Skip` where nothing can be compiled."""
    _need()
    side: Any = ours.mrpc(settings)
    items, size = side.loop.train_items, settings["batch"]

    def warm(number: int) -> None:
        places = range(number * size, (number + 1) * size)
        side.loop.backward([items[place % len(items)] for place in places])

    _begin(side, side.loop.bank.backbone, warm)
    side.loop.optimizer.zero_grad(set_to_none=True)
    return side


def causal(settings: Settings) -> Side:
    """As `ours.causal`. **Raises** `Skip` where nothing can be compiled."""
    _need()
    side: Any = ours.causal(settings)
    before = side.vectors.detach().clone()
    _begin(side, side.backbone, side.step)
    side.vectors.data.copy_(before)
    side.optimizer = torch.optim.AdamW([side.vectors], lr=settings["rate"], weight_decay=0.0)
    return side


def _need() -> None:
    try:
        need_compiler()
    except ForewordError as error:
        raise Skip(str(error)) from None


def _begin(side: Any, backbone: Any, warm: Callable[[int], Any]) -> None:
    """Compile what a run compiles, for the rest of the process, and run some batches so that it is done."""
    started = time.perf_counter()
    side.compiling = ExitStack()
    count = side.compiling.enter_context(compiled(backbone))
    try:
        for number in range(WARM):
            warm(number)
    except (RuntimeError, OSError) as error:  # what dynamo, inductor and the C++ compiler raise
        told = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise Skip(f"torch.compile cannot compile the layers' parts: {told[:200]}") from error
    side.once = time.perf_counter() - started
    side.about = f"{side.about}; {count} norms and feed-forwards through torch.compile, for any length"
