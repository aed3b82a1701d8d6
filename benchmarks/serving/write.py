"""Our side of the cases in which texts are written: eight requests at a time, through the engine."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from time import perf_counter

import torch

from benchmarks.common import REQUESTS, fill, named_model
from benchmarks.serving.floor import rate_and, row_operations, step_bytes, step_operations
from benchmarks.side import Settings, Side
from foreword.backbone.loading import load
from foreword.bank import Bank
from foreword.config import GenerationOptions
from foreword.injections import Injection, SoftTokens
from foreword.serving.engine import Engine
from foreword.serving.limits import Limits
from foreword.serving.metrics import Metrics
from foreword.serving.residents import Resident
from foreword.serving.writing import Event, Piece, Writing
from foreword.text.rows import Row, as_row


@dataclass
class Heard:
    """What one request was told, and when."""

    begun: float = field(default_factory=perf_counter)
    ids: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    error: Exception | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def tell(self, event: Event) -> None:
        """Called in the engine's thread. The text is told when it is certain, and each token with it."""
        if isinstance(event, Piece):
            self.ids += [token.id for token in event.tokens]
            self.times.append(perf_counter())
            if event.finished is None:
                return
        else:
            self.error = event
        self.done.set()

    def wait(self) -> Heard:
        """Itself, when it is done. **Raises** `RuntimeError` where it failed."""
        self.done.wait()
        if self.error is not None:
            raise RuntimeError("a request failed") from self.error
        return self


class Writer:
    """An engine of the settings' model with prompts of `tokens` virtual tokens, one a task of `REQUESTS`."""

    def __init__(self, settings: Settings, limits: Limits | None = None) -> None:
        named_model(settings["model"])
        self.backbone = backbone = load(settings["model"])
        self.bank = Bank(backbone)
        self.engine = Engine(self.bank, limits or Limits(), Metrics())
        self.ids: list[list[int]] = [backbone.tokenizer(text)["input_ids"] for text in REQUESTS]
        front = Row((backbone.pad_id,) * settings["tokens"], tuple(range(settings["tokens"])),
                    (0,) * settings["tokens"], None, ())  # fmt: skip
        self.residents = []
        for number in range(len(REQUESTS)):
            vectors = torch.empty(settings["tokens"], backbone.geometry.embedding)
            fill([vectors], settings["seed"] + number)
            self.bank.put(f"task-{number}", Injection(soft=SoftTokens(vectors)))
            injection = self.bank.entry(f"task-{number}").injection
            self.residents.append(Resident(f"task-{number}", None, (), None, injection, front, 0))  # type: ignore[arg-type]
        self.engine.start()

    def job(self, number: int, new: int, front: bool, heard: Heard) -> Writing:
        """Request `number` for `new` tokens, under its own prompt or under none."""
        row, resident = as_row(self.ids[number % len(self.ids)]), self.residents[number % len(self.ids)]
        options = GenerationOptions(max_new_tokens=new, eos_token_ids=())
        if not front:
            return Writing(row, None, options, heard.tell)
        assert resident.front is not None
        whole = Row(resident.front.ids + row.ids, resident.front.soft + row.soft, resident.front.types + row.types,
                    None, ())  # fmt: skip
        return Writing(whole, resident, options, heard.tell)


def mixed(settings: Settings) -> Side:
    """Eight requests of eight tasks, each behind its own prompt."""
    return Write(settings, front=True)


def bare(settings: Settings) -> Side:
    """The same eight requests to the model itself."""
    return Write(settings, front=False)


def unpacked(settings: Settings) -> Side:
    """The same, with the weights in memory once, as they are."""
    return Write(settings, front=False, limits=Limits(packed_weights=False))


class Write(Side):
    """A step is a round: eight requests are handed over at once, and it ends with the last token of the last."""

    def __init__(self, settings: Settings, front: bool, limits: Limits | None = None) -> None:
        self.writer, self.new, self.front = Writer(settings, limits), settings["new"], front
        self.tokens = settings["tokens"] if front else 0
        self.about = "the engine, eight texts a step, " + (
            "each behind its own prompt" if front else "none behind a prompt"
        )

    def step(self, number: int) -> float:
        self._round()
        return 0.0

    def check(self, count: int) -> list[float]:
        return [float(token) for heard in self._round() for token in heard.ids]

    def figures(self) -> dict[str, object]:
        backbone, lengths = self.writer.backbone, [len(ids) for ids in self.writer.ids]
        texts, own = len(lengths), sum(lengths) / len(lengths)
        needed = sum(row_operations(backbone, n, self.tokens, 1) for n in lengths)
        needed += texts * 2.0 * backbone.geometry.hidden * len(backbone.words)  # the head, for the first tokens
        needed += (self.new - 1) * step_operations(backbone, texts, self.tokens + own + self.new / 2)
        return {
            "mean_tokens": own,
            "tokens_a_round": texts * self.new,
            "floor": rate_and(needed, "a round") | {"weights_read_gb": self.new * step_bytes(backbone) / 1e9},
        }

    def _round(self) -> list[Heard]:
        heard = [Heard() for _ in REQUESTS]
        self.writer.engine.submit(
            [self.writer.job(number, self.new, self.front, one) for number, one in enumerate(heard)]
        )
        return [one.wait() for one in heard]
