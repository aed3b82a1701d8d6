"""The state of a run in one file, written atomically: what is needed to go on as if nothing had happened."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from foreword.errors import ArtifactError


@dataclass
class Progress:
    """Where a run is.

    `step`: optimiser steps done. `best`: the best score so far; `stale`: evaluations since then. `losses`: of the steps
    since the last evaluation.
    """

    step: int = 0
    best: float | None = None
    best_step: int = 0
    stale: int = 0
    seconds: float = 0.0
    stopped_early: bool = False
    done: bool = False
    losses: list[float] = field(default_factory=list)
    curve: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class State:
    """Parameters now and at their best, the optimiser's state, and the random generator's."""

    now: Mapping[str, Tensor]
    best: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    generator: Tensor
    progress: Progress


def save(path: Path, state: State, run: str) -> None:
    """Write `state`; `run` identifies the settings that it belongs to."""
    tensors = {f"now.{k}": v for k, v in state.now.items()}
    tensors |= {f"best.{k}": v for k, v in state.best.items()}
    tensors |= {f"optimizer.{k}": v for k, v in state.optimizer.items()}
    tensors["generator"] = state.generator
    flat = {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(flat, temporary, {"progress": json.dumps(asdict(state.progress)), "run": run})
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"cannot write the checkpoint: {error}", where=str(path), do="free some space") from None
    finally:
        with suppress(OSError):  # a folder that cannot be made has no temporary file either
            temporary.unlink(missing_ok=True)


def load(path: Path, run: str) -> State:
    """**Raises** `ArtifactError` for a broken file, or one that other settings wrote."""
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        progress = Progress(**json.loads(header["progress"]))
        generator = tensors["generator"]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"the checkpoint is broken: {error}", where=str(path), do="start anew with --overwrite"
        ) from None
    if header.get("run") != run:
        raise ArtifactError(
            "the checkpoint was written by a run with other settings", where=str(path), do="start anew with --overwrite"
        )

    def group(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    return State(group("now."), group("best."), group("optimizer."), generator, progress)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as named tensors."""
    state: dict[int, dict[str, Any]] = optimizer.state_dict()["state"]
    return {
        f"{index}.{key}": value if isinstance(value, Tensor) else torch.tensor(value)
        for index, values in state.items()
        for key, value in values.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put `optimizer_tensors` back."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
