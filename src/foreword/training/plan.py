"""What a run will do, before it does it: what is trained, where gradients go, how long it should take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from foreword.assembly import Assembly
from foreword.batch import Item
from foreword.tasks.base import Task
from foreword.training.cost import cost_of, lowest_layer, matrix_rate
from foreword.training.loop import schedule_of
from foreword.training.memory import Memory, memory_of
from foreword.training.memory import together as memory_together
from foreword.training.route import WHOLE, Route

OVERHEAD = 1.4
NO_GAIN = "this machine is no faster in bfloat16 than in float32; leave out training.precision"


@dataclass(frozen=True)
class Plan:
    """The plan of a run; `seconds` and `memory` are estimates, the memory that of all `together` runs of one pass.

    `machine_gflops`: this machine's rate in the `precision` of the steps, `gain` times that in float32.

    `gradient_layers`: the layers that a gradient runs through, first and last; None where it runs through none.
    `tokens`: mean length of a training row as it is run, with the virtual tokens that are run in it. `tflops`: of
    training and evaluations in all.
    """

    method: str
    readout: str
    backbone: str
    trained_parameters: int
    stored_parameters: int
    backbone_parameters: int
    train_rows: int
    validation_rows: int
    batch_size: int
    steps: int
    steps_per_epoch: int
    evaluate_every: int
    tokens: float
    cut: str
    gradient_layers: tuple[int, int] | None
    route: str
    reads: str
    logits: str
    compiled: bool
    tflops: float
    machine_gflops: float
    precision: str
    gain: float
    seconds: float
    memory: Memory
    together: int = 1
    glued_to: str = ""

    @property
    def memory_mb(self) -> float:
        """What the process holds at the most, as `peak_memory_mb` of the run's record says when it is done."""
        return round(self.memory.peak / 2**20, 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "memory": self.memory.to_dict(), "memory_mb": self.memory_mb}

    def lines(self) -> list[tuple[str, str]]:
        """The plan as names and readable values."""
        share = self.trained_parameters / self.backbone_parameters
        where = "nowhere" if self.gradient_layers is None else "layers {} to {}".format(*self.gradient_layers)
        minutes, seconds = divmod(round(self.seconds), 60)
        writes = "; writing answers at the end is not counted" if self.readout == "lm" else ""
        much = f"{self.method} trains more than a tenth of the backbone: few would call it parameter-efficient"
        return [
            ("method", f"{self.method}, readout {self.readout}, on {self.backbone}"),
            ("trained", f"{self.trained_parameters:,} parameters ({share:.3%} of {self.backbone_parameters:,})"),
            *([("warning", much)] if share > 0.1 and self.method != "full" else []),
            *([("warning", _glued(self.glued_to))] if self.glued_to else []),
            *([("warning", NO_GAIN)] if self.precision == "bfloat16" and self.gain < 1.1 else []),
            ("stored", f"{self.stored_parameters:,} numbers"),
            ("rows", f"{self.train_rows:,} train, {self.validation_rows:,} validation; {self.tokens:.0f} tokens a row"),
            ("cut", self.cut),
            ("steps", f"{self.steps:,} of {self.batch_size} rows; evaluated every {self.evaluate_every:,}"),
            ("gradient", f"{where}; the frozen backbone is in eval mode"),
            ("kept", self.route),
            ("reads", self.reads),
            ("logits", self.logits),
            *([("compiled", "norms and feed-forwards, in the first steps")] if self.compiled else []),
            (
                "expected",
                f"{minutes} min {seconds} s: {self.tflops:,.1f} TFLOP at {self.machine_gflops:.0f} GF/s"
                f"{' in bfloat16' if self.precision == 'bfloat16' else ''}{writes}",
            ),
            ("memory", self.memory.told + (f" (all {self.together} runs)" if self.together > 1 else "")),
        ]


def plan_of(assembly: Assembly, train: Sequence[Item], validation: Sequence[Item], route: Route = WHOLE) -> Plan:
    """The plan of training `assembly` on these rows by this route."""
    schedule = schedule_of(assembly, max(len(train), 1))
    geometry, trained = assembly.backbone.geometry, assembly.trained()
    lowest = lowest_layer(assembly)
    cost = cost_of(assembly, route, train, validation, ready=route.ready)
    evaluations = -(-schedule.steps // schedule.evaluate_every) if trained else 1
    steps = schedule.steps if trained else 0
    flops = steps * cost.step + evaluations * cost.validation + cost.once
    rate = base = matrix_rate()
    if assembly.config.training.precision == "bfloat16":
        rate = matrix_rate(torch.bfloat16)
    return Plan(
        method=assembly.config.method.name,
        readout=assembly.config.readout.name if assembly.config.readout else "",
        backbone=assembly.backbone.name,
        trained_parameters=sum(p.numel() for p in trained.values()),
        stored_parameters=assembly.stored(),
        backbone_parameters=geometry.parameters,
        train_rows=len(train),
        validation_rows=len(validation),
        batch_size=assembly.config.training.batch_size,
        steps=steps,
        steps_per_epoch=schedule.steps_per_epoch,
        evaluate_every=schedule.evaluate_every,
        tokens=round(cost.tokens, 1),
        cut=assembly.reader.cut(train),
        gradient_layers=None if lowest is None else (lowest, (assembly.readout.stop or geometry.layers) - 1),
        route=route.why,
        reads="the decoder is run for the answer alone"
        if assembly.backbone.two_stacks
        else _reads(cost.read, assembly.readout.stop or geometry.layers, geometry.layers, route, assembly.reader.task),
        logits=_logits(assembly),
        compiled=assembly.config.training.compile,
        tflops=round(flops / 1e12, 3),
        machine_gflops=round(rate / 1e9, 1),
        precision=assembly.config.training.precision,
        gain=round(rate / base, 2),
        seconds=round(steps * cost.step / rate + (flops * OVERHEAD - steps * cost.step) / base, 1),
        memory=memory_of(assembly, route, train, validation),
        glued_to=assembly.reader.encoder.glued_to,
    )


def together(plans: Sequence[Plan]) -> list[Plan]:
    """The plans of runs that share a pass, each with the memory of all."""
    memory = memory_together([plan.memory for plan in plans])
    return [replace(plan, memory=memory, together=len(plans)) for plan in plans]


def _glued(mark: str) -> str:
    return f"answers stand right behind '{mark}'; write '{mark} {{mask}}' in the template if a space belongs there"


def _reads(places: int, run: int, layers: int, route: Route, task: Task) -> str:
    if route.layer >= run:
        return "what is kept; no layer is run in a step"
    if run < layers:
        return f"what layer {run - 1} gives; none of those above is run"
    if not places:
        return "the last layer is run for every token"
    if task.spot:  # as many as an example has
        return f"the last layer is run for {'each word' if task.words else f'the tokens of {task.spot}'} alone"
    return f"the last layer is run for {'one place' if places == 1 else f'{places} places'} a row"


def _logits(assembly: Assembly) -> str:
    if assembly.config.readout is not None and assembly.config.readout.name == "verbalizer":
        single = bool(getattr(getattr(assembly.readout, "words", None), "single", False))
        return "of the label words alone, where the label is" if single else "of the vocabulary, where the label is"
    if assembly.config.readout is not None and assembly.config.readout.name == "lm":
        return "of the vocabulary, where a token of the answer is"
    return "none of the language-model head"
