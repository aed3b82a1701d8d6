"""What a run will do, before it does it: what is trained, where gradients go, how long it should take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from foreword.assembly import Assembly
from foreword.batch import Item, collate
from foreword.text.encoder import cut_summary
from foreword.training.loop import schedule_of
from foreword.training.route import WHOLE, Route

OVERHEAD = 1.4


@dataclass(frozen=True)
class Plan:
    """The plan of a run; `seconds` and `memory_mb` are estimates.

    `gradient_layers`: the layers that a gradient runs through, first and last; None where it runs through none.
    `tokens`: mean length of a training row, virtual ones included. `tflops`: of training and evaluations in all.
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
    tflops: float
    machine_gflops: float
    seconds: float
    memory_mb: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    def lines(self) -> list[tuple[str, str]]:
        """The plan as names and readable values."""
        share = self.trained_parameters / self.backbone_parameters
        where = "nowhere" if self.gradient_layers is None else "layers {} to {}".format(*self.gradient_layers)
        minutes, seconds = divmod(round(self.seconds), 60)
        return [
            ("method", f"{self.method}, readout {self.readout}, on {self.backbone}"),
            ("trained", f"{self.trained_parameters:,} parameters ({share:.3%} of {self.backbone_parameters:,})"),
            ("stored", f"{self.stored_parameters:,} numbers"),
            ("rows", f"{self.train_rows:,} train, {self.validation_rows:,} validation; {self.tokens:.0f} tokens a row"),
            ("cut", self.cut),
            ("steps", f"{self.steps:,} of {self.batch_size} rows; evaluated every {self.evaluate_every:,}"),
            ("gradient", f"{where}; the frozen backbone is in eval mode"),
            ("kept", self.route),
            ("reads", self.reads),
            ("logits", self.logits),
            ("expected", f"{minutes} min {seconds} s at {self.machine_gflops:.0f} GF/s, {self.memory_mb:,.0f} MB"),
        ]


def plan_of(assembly: Assembly, train: Sequence[Item], validation: Sequence[Item], route: Route = WHOLE) -> Plan:
    """The plan of training `assembly` on these rows by this route."""
    schedule = schedule_of(assembly, max(len(train), 1))
    geometry, trained = assembly.backbone.geometry, assembly.trained()
    lowest = _lowest_layer(assembly)
    tokens = sum(len(row) for item in train for row in item.rows) / max(len(train), 1)
    held_out = sum(len(row) for item in validation for row in item.rows)
    layers = _layer_parameters(assembly)
    evaluations = -(-schedule.steps // schedule.evaluate_every) if trained else 1
    batch = assembly.config.training.batch_size
    backward = 0.0 if lowest is None else (geometry.layers - lowest) / geometry.layers
    weights = 1.0 if assembly.config.method.name == "full" else 0.0
    steps = schedule.steps if trained else 0
    seen = steps * min(batch, len(train)) * tokens
    flops = 2 * layers * (seen * (1 + backward + weights) + held_out * evaluations)
    rate = matrix_rate()
    return Plan(
        method=assembly.config.method.name,
        readout=assembly.config.readout.name if assembly.config.readout else "",
        backbone=assembly.backbone.name,
        trained_parameters=sum(p.numel() for p in trained.values()),
        stored_parameters=assembly.stored(),
        backbone_parameters=geometry.parameters,
        train_rows=len(train),
        validation_rows=len(validation),
        batch_size=batch,
        steps=steps,
        steps_per_epoch=schedule.steps_per_epoch,
        evaluate_every=schedule.evaluate_every,
        tokens=round(tokens, 1),
        cut=cut_summary([item.rows[0] for item in train], assembly.reader.encoder).message,
        gradient_layers=None if lowest is None else (lowest, geometry.layers - 1),
        route=route.why,
        reads=_reads(assembly, train),
        logits=_logits(assembly),
        tflops=round(flops / 1e12, 3),
        machine_gflops=round(rate / 1e9, 1),
        seconds=round(flops / rate * OVERHEAD, 1),
        memory_mb=round(_memory(assembly, train, lowest) / 2**20, 1),
    )


def matrix_rate() -> float:
    """Multiply-adds that this machine does in float32, in floating-point operations a second."""
    left, right = torch.randn(1024, 512), torch.randn(512, 1024)
    best = float("inf")
    for _ in range(12):
        started = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - started)
    return 2 * 1024 * 512 * 1024 / best


def _lowest_layer(assembly: Assembly) -> int | None:
    """The lowest layer whose backward pass is needed; None where only the readout learns."""
    if not any(True for _ in assembly.method.parameters()):
        return None
    injection = assembly.method.at_rest()
    return injection.key_values.layers[0] if injection.key_values is not None else 0


def _layer_parameters(assembly: Assembly) -> int:
    """The matrix entries that every token passes through, attention scores and embeddings left out."""
    embeddings = {id(m.weight) for m in assembly.backbone.trunk.modules() if isinstance(m, nn.Embedding)}
    matrices = (p for n, p in assembly.backbone.trunk.named_parameters() if p.ndim == 2 and not n.startswith("pooler."))
    return sum(p.numel() for p in matrices if id(p) not in embeddings)


def _reads(assembly: Assembly, train: Sequence[Item]) -> str:
    places = assembly.readout.reads(collate(train[:1], assembly.backbone.pad_id)) if train else None
    if places is None or "parts" in assembly.backbone.refusals:
        return "the last layer is run for every token"
    many = "one place" if places.shape[1] == 1 else f"{places.shape[1]} places"
    return f"the last layer is run for {many} a row"


def _logits(assembly: Assembly) -> str:
    if assembly.config.readout is not None and assembly.config.readout.name == "verbalizer":
        single = bool(getattr(getattr(assembly.readout, "words", None), "single", False))
        return "of the label words alone, where the label is" if single else "of the vocabulary, where the label is"
    return "none of the language-model head"


def _memory(assembly: Assembly, train: Sequence[Item], lowest: int | None) -> float:
    """Bytes: weights, the optimiser's state, and what the backward pass keeps of one piece."""
    geometry, config = assembly.backbone.geometry, assembly.config.training
    trained = sum(p.numel() for p in assembly.trained().values())
    longest = max((item.tokens * len(item.rows) for item in train), default=0)
    tokens = min(config.batch_size * longest, max(config.max_tokens, longest))
    # per token and layer: about 8 states of width H in attention and 3 of the feed-forward's 4 H
    kept = 20 * geometry.hidden * (geometry.layers - (lowest if lowest is not None else geometry.layers - 1))
    return 4.0 * (geometry.parameters + 4 * trained + tokens * kept)
