"""Optimiser and schedule. The schedule is a function of the step, so it has no state to lose."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from foreword.config import TrainingConfig


def make_optimizer(config: TrainingConfig, trained: Mapping[str, Tensor]) -> torch.optim.Optimizer:
    """AdamW, or Adafactor (Shazeer and Stern 2018), with a learning rate of its own for the readout where asked."""
    method = [p for name, p in trained.items() if not name.startswith("readout.")]
    readout = [p for name, p in trained.items() if name.startswith("readout.")]
    rates = (config.learning_rate, config.readout_learning_rate or config.learning_rate)
    groups = [
        {"params": params, "lr": rate, "base_lr": rate}
        for params, rate in zip((method, readout), rates, strict=True)
        if params
    ]
    if config.optimizer == "adafactor":
        return torch.optim.Adafactor(groups, weight_decay=config.weight_decay)
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay)


def set_rate(optimizer: torch.optim.Optimizer, config: TrainingConfig, step: int, steps: int) -> float:
    """Set every group's rate for `step` (from 0) of `steps`; returns the factor that was used."""
    factor = schedule(config, step, steps)
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
    return factor


def schedule(config: TrainingConfig, step: int, steps: int) -> float:
    """The share of the learning rate at `step`: a linear warm-up, then constant, linear or cosine down to 0."""
    warmup = math.floor(config.warmup * steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if config.schedule == "constant":
        return 1.0
    progress = (step - warmup) / max(steps - warmup, 1)
    if config.schedule == "linear":
        return 1.0 - progress
    return 0.5 * (1.0 + math.cos(math.pi * progress))
