"""Our side of the classification cases: windows of short requests over many forewords, through the engine."""

from __future__ import annotations

import random
import threading
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.common import drawn, named_model, prefix_table
from benchmarks.serving.floor import rate_and, row_operations
from benchmarks.serving.requests import short_texts
from benchmarks.side import Settings, Side
from foreword.backbone.backbone import Backbone
from foreword.backbone.loading import load
from foreword.bank import Bank
from foreword.batch import Item
from foreword.injections import Injection, KeyValues
from foreword.readouts.base import ReadoutSetup
from foreword.readouts.linear import Linear
from foreword.serving.engine import Engine
from foreword.serving.limits import Limits
from foreword.serving.metrics import Metrics
from foreword.serving.oneshot import Answer, Asking
from foreword.serving.prompts import row_of_text

WINDOWS = 64
"""So many windows of requests are made; then they come again."""


def mixed(settings: Settings) -> Side:
    """Requests for any of the `forewords`."""
    return Classify(settings, settings["forewords"])


def one(settings: Settings) -> Side:
    """The same requests, all for one foreword."""
    return Classify(settings, 1)


def vectors(settings: Settings) -> Side:
    """The same texts for the base model's own vectors."""
    return Classify(settings, 0)


def owners(settings: Settings, forewords: int) -> list[list[int]]:
    """The foreword of each request, window by window, drawn evenly."""
    chance = random.Random(settings["seed"])
    return [[chance.randrange(forewords) for _ in range(settings["window"])] for _ in range(WINDOWS)]


def texts(settings: Settings) -> list[list[str]]:
    """The text of each request, window by window."""
    size = settings["window"]
    made = short_texts(WINDOWS * size, settings["seed"] + 1)
    return [made[at : at + size] for at in range(0, len(made), size)]


def head(settings: Settings, number: int, width: int) -> tuple[Tensor, Tensor]:
    """Weight and bias of a foreword's linear layer; equal on all sides."""
    generator = torch.Generator().manual_seed(settings["seed"] + number)
    return drawn((2, width), generator), drawn((2,), generator)


class Classify(Side):
    """A step is a window: all of its requests are handed over at once, and it ends with the last answer.

    Of `forewords` P-Tuning v2 tables, each with a linear layer on [CLS]; with none, the vectors of the texts.
    """

    def __init__(self, settings: Settings, forewords: int) -> None:
        named_model(settings["model"])
        self.backbone = backbone = load(settings["model"])
        self.bank = Bank(backbone)
        for number in range(forewords):
            _put(self.bank, settings, number)
        # a template would say where [CLS] stands; it is read there
        rows = [
            [replace(row_of_text(backbone, text, whole=True), cls=0) for text in window] for window in texts(settings)
        ]
        names: list[list[int]] = owners(settings, max(forewords, 1))
        self.windows = [
            [Item((row,), str(name) if forewords else None) for row, name in zip(own, by, strict=True)]
            for own, by in zip(rows, names, strict=True)
        ]
        self.engine = Engine(self.bank, Limits(batch_items=settings["window"]), Metrics())
        self.engine.start()
        self.tokens = settings["tokens"] if forewords else 0
        self.about = f"the engine, one pass a window, {forewords or 'no'} forewords in memory"

    def step(self, number: int) -> float:
        self._window(number)
        return 0.0

    def check(self, count: int) -> list[float]:
        return [value for number in range(count) for answer in self._window(number) for value in answer.tolist()]

    def figures(self) -> dict[str, object]:
        lengths = [len(item.rows[0]) for window in self.windows for item in window]
        shape = self.backbone.geometry
        needed = sum(row_operations(self.backbone, n, self.tokens, 1 if self.tokens else n) for n in lengths)
        return {
            "mean_tokens": sum(lengths) / len(lengths),
            "floor": rate_and(needed / len(self.windows), "a window"),
            "parameters": shape.parameters,
        }

    def _window(self, number: int) -> list[Tensor]:
        items = self.windows[number % len(self.windows)]
        answers: list[Answer | None] = [None] * len(items)
        left, done = [len(items)], threading.Event()

        def tell(place: int, answer: Answer) -> None:
            answers[place] = answer
            left[0] -= 1
            if not left[0]:
                done.set()

        wants = "scores" if self.tokens else "vector"
        self.engine.submit([
            Asking(item, wants, lambda answer, n=n: tell(n, answer)) for n, item in enumerate(items)  # type: ignore[misc,arg-type]
        ])  # fmt: skip
        done.wait()
        found = []
        for answer in answers:
            if isinstance(answer, Exception) or answer is None:
                raise RuntimeError("a request failed") from answer
            found.append(answer)
        return found


def _put(bank: Bank, settings: Settings, number: int) -> None:
    backbone: Backbone = bank.backbone
    shape, tokens = backbone.geometry, settings["tokens"]
    own = {**settings, "seed": settings["seed"] + number}
    table = prefix_table(own, shape.layers, shape.kv_heads, shape.head_size)
    readout = Linear(Linear.Config(position="cls"), ReadoutSetup(backbone, ("no", "yes"), ""))
    weight, bias = head(settings, number, shape.hidden)
    with torch.no_grad():
        readout.weight.copy_(weight)
        readout.bias.copy_(bias)
    # PEFT moves the text by P positions, which foreword does where it is told to
    injection = Injection(key_values=KeyValues(tuple(range(shape.layers)), table), position_offset=tokens)
    bank.put(str(number), injection, readout.eval().requires_grad_(False))
