"""Where a step's time goes, against the floor: the operations that must be done, at the machine's matrix rate."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch

from foreword.api import Prepared
from foreword.bank import Bank
from foreword.batch import collate, pieces
from foreword.errors import ConfigError
from foreword.evaluation.scoring import summed_loss
from foreword.training.compiling import compiled
from foreword.training.cost import cost_of, matrix_rate
from foreword.training.loop import OWNER, Loop
from foreword.training.route import follow

STAGES = ("batch", "compile", "forward", "readout", "backward", "optimiser")


@dataclass(frozen=True)
class Profile:
    """Median seconds a step, by stage. `floor`: what the matrix products alone take at `gflops`; `gflop`: of a step.

    `operators`: the largest shares of the time inside forward and backward, by torch's names. `kept_seconds`: what it
    took to run the frozen layers once, 0 where they lay ready.
    """

    step: float
    stages: dict[str, float]
    gflop: float
    gflops: float
    floor: float
    kept_seconds: float
    operators: list[tuple[str, float]]
    steps: int

    @property
    def share(self) -> float:
        """How much of the step is the floor."""
        return self.floor / self.step

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "share_of_matrix_rate": self.share}


def profile(prepared: Prepared, steps: int = 20) -> Profile:
    """Run `steps` real steps and time their stages, after two that are not counted. The run itself is not touched.

    **Raises** `ConfigError` where nothing is trained.
    """
    assembly, route = prepared.assembly, prepared.route
    if not assembly.trained():
        raise ConfigError(f"{prepared.config.method.name} trains nothing, so there is no step to look at")
    _check_whole(prepared)
    started = time.perf_counter()
    train = follow(route, assembly, {"train": prepared.items["train"]})["train"]
    kept = time.perf_counter() - started if route.kind in ("trunk", "documents") else 0.0
    loop = Loop(assembly, train, [], route=route)
    loop.prepare(resume=False)
    clock = _Clock()
    wholes = []
    with compiled(assembly.backbone if loop.config.compile else None):
        for number in range(steps + 2):
            if number == 2:
                clock.seconds.clear()
            begun = time.perf_counter()
            _step(loop, clock)
            if number >= 2:
                wholes.append(time.perf_counter() - begun)
        operators = _operators(loop)
    rates = [matrix_rate() for _ in range(3)]
    cost = cost_of(assembly, route, prepared.items["train"], [], ready=True)
    return Profile(
        step=statistics.median(wholes),
        stages={stage: statistics.median(clock.seconds[stage]) for stage in STAGES},
        gflop=cost.step / 1e9,
        gflops=max(rates) / 1e9,
        floor=cost.step / max(rates),
        kept_seconds=kept,
        operators=operators,
        steps=steps,
    )


def _check_whole(prepared: Prepared) -> None:
    """**Raises** `ConfigError` where a step is run in pieces, which is another step than the one looked at here."""
    config = prepared.config.training
    longest = sorted(prepared.items["train"], key=lambda item: item.tokens)[-config.batch_size :]
    if len(list(pieces(longest, config.max_tokens))) > 1:
        raise ConfigError(
            f"training.max_tokens: {config.max_tokens} runs a step in pieces, and a step is looked at in one pass",
            do="raise training.max_tokens, or lower training.batch_size",
        )


class _Clock:
    """Seconds of each stage, step by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds.setdefault(stage, []).append(time.perf_counter() - started)


def _step(loop: Loop, clock: _Clock) -> None:
    """One step in one pass, stage by stage."""
    assembly, bank = loop.assembly, Bank(loop.assembly.backbone)
    with clock("batch"):
        items = loop.begin()
        batch = collate(items, assembly.backbone.pad_id, device=str(assembly.backbone.device))
    with clock("compile"):
        share = loop.share(items)
        bank.put(OWNER, share.injection, share.readout)
    weights = share.injection.weights
    with assembly.backbone.weights(weights.tensors if weights else None):
        with clock("forward"):
            hidden = bank.run(batch)
        with clock("readout"):
            loss = summed_loss(share.readout(hidden, batch, assembly.backbone), batch.labels)
    with clock("backward"):
        loss.backward()
    with clock("optimiser"):
        loop.end(float(loss.detach()))


def _operators(loop: Loop, count: int = 8) -> list[tuple[str, float]]:
    """The operators with the largest share of the time of three steps."""
    clock = _Clock()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        for _ in range(3):
            _step(loop, clock)
    averages: Sequence[Any] = seen.key_averages()
    whole = sum(one.self_cpu_time_total for one in averages) or 1.0
    largest = sorted(averages, key=lambda one: -one.self_cpu_time_total)[:count]
    return [(one.key, round(one.self_cpu_time_total / whole, 4)) for one in largest]
