"""Answers of one pass: scores of labels, tags and spans, and vectors, in batches of many forewords and of none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal

import torch
from torch import Tensor

from foreword.bank import Bank
from foreword.batch import Batch, Item, collate, pieces
from foreword.readouts.base import Readout
from foreword.serving import problems
from foreword.serving.limits import Limits
from foreword.serving.metrics import Metrics

Answer = Tensor | Exception


@dataclass(eq=False)
class Asking:
    """One input. `wants`: its foreword's `scores` (`[C]`, or `[m, C]` of m lines), or the `vector` `[H]` of its text.

    `lines`: how many lines of scores it has; None for one `[C]`. `tell` is called once, in the engine's thread.
    """

    item: Item
    wants: Literal["scores", "vector"]
    tell: Callable[[Answer], None]
    lines: int | None = None
    cancelled: bool = False
    arrived: float = field(default_factory=perf_counter)


class OneShot:
    """What waits for a pass; all of it runs in the engine's thread."""

    def __init__(self, bank: Bank, limits: Limits, metrics: Metrics) -> None:
        self.bank, self.limits, self.metrics = bank, limits, metrics
        self.waiting: list[Asking] = []
        self._running: list[Asking] = []

    @property
    def full(self) -> bool:
        """Whether a pass has all the company that it may have."""
        return len(self.waiting) >= self.limits.batch_items

    def patience(self, now: float) -> float:
        """How long the oldest may still wait for company, in seconds."""
        return self.waiting[0].arrived + self.limits.wait_seconds - now

    def run(self, tokens: int | None = None) -> None:
        """One pass, with the oldest that waits, and with others of about its length; of at most `tokens`, if given.

        An input that is longer still is run by itself.
        """
        self.cancel_gone()
        if not self.waiting:
            return
        near = self.waiting[: 4 * self.limits.batch_items]
        groups = pieces([one.item for one in near], tokens or self.limits.batch_tokens, self.limits.batch_items)
        chosen = [near[i] for i in next(group for group in groups if 0 in group)]
        self._running = sorted(chosen, key=lambda one: one.item.owner or "")  # rows of one foreword stand together
        taken = set(map(id, self._running))
        self.waiting = [one for one in self.waiting if id(one) not in taken]
        now = perf_counter()
        for one in self._running:
            self.metrics.queue_seconds.observe(now - one.arrived)
        self._answer(self._running)
        self._running = []

    def cancel_gone(self) -> None:
        """Let go of what nobody waits for any more."""
        self.waiting = [one for one in self.waiting if not one.cancelled]

    def fail(self, error: Exception) -> None:
        """End everything, and tell so."""
        for one in (*self._running, *self.waiting):
            one.tell(error)
        self.waiting.clear()

    def _answer(self, chosen: Sequence[Asking]) -> None:
        try:
            answers: Sequence[Answer] = self._pass(chosen)
        except Exception as error:
            if len(chosen) > 1:  # which of them is to blame shows when each is run alone; if none is, this tells it
                problems.note(f"a pass of {len(chosen)} failed, and is run one by one", error)
                for one in chosen:
                    self._answer([one])
                return
            problems.note("a pass failed", error)
            answers = [error]
        for one, answer in zip(chosen, answers, strict=True):
            one.tell(answer)

    @torch.no_grad()
    def _pass(self, chosen: Sequence[Asking]) -> list[Tensor]:
        """What each asked for, in order."""
        backbone = self.bank.backbone
        batch = collate([one.item for one in chosen], backbone.pad_id, device=str(backbone.device))
        self.metrics.batch(len(chosen), len(set(batch.owners)), 1 - float(batch.mask.float().mean()))
        found: dict[int, Tensor] = {}
        vectors = [row for row, item in enumerate(batch.items) if chosen[item].wants == "vector"]
        # where nobody asks for vectors, the last layer runs for the places that are read alone
        scored = [row for row, item in enumerate(batch.items) if chosen[item].wants == "scores"]
        whole = [row for row in scored if vectors and self._readout(batch, row).stop is None]
        if alone := [row for row in scored if row not in whole]:
            for numbers, scores in self.bank.scores(batch.select(alone)):
                found |= self._split(chosen, numbers, scores)
        if vectors or whole:
            part = batch.select(sorted([*vectors, *whole]))
            hidden = self.bank.hidden(part)
            found |= self._read(chosen, part, hidden)
        return [found[number] for number in range(len(chosen))]

    def _read(self, chosen: Sequence[Asking], batch: Batch, hidden: Tensor) -> dict[int, Tensor]:
        """Scores and vectors from the last states of all places."""
        found: dict[int, Tensor] = {}
        for rows in batch.rows_of.values():
            for wants in ("scores", "vector"):
                own = [row for row in rows if chosen[batch.items[row]].wants == wants]
                if not own:
                    continue
                part, states = batch.select(own), hidden[own]
                if wants == "scores":
                    items = list(dict.fromkeys(part.items))
                    with self._weights(part):
                        scores = self._readout(part, 0)(states, part, self.bank.backbone)
                    found |= self._split(chosen, items, scores)
                else:
                    found |= dict(zip(part.items, _mean(states, part), strict=True))
        return found

    def _weights(self, batch: Batch) -> AbstractContextManager[None]:
        """The weights that rows of one foreword are read under, which a language-model head is a part of."""
        weights = self.bank.injection(batch.owners[0]).weights
        return self.bank.backbone.weights(weights.tensors if weights else None)

    def _readout(self, batch: Batch, row: int) -> Readout:
        readout = self.bank.entry(batch.owners[row] or "").readout
        assert readout is not None
        return readout

    @staticmethod
    def _split(chosen: Sequence[Asking], numbers: Sequence[int], scores: Tensor) -> dict[int, Tensor]:
        """Each item's own lines of scores."""
        lines = [chosen[number].lines for number in numbers]
        own = scores.float().cpu().split([1 if line is None else line for line in lines])
        parts = zip(numbers, lines, own, strict=True)
        return {number: part[0] if line is None else part for number, line, part in parts}


def _mean(states: Tensor, batch: Batch) -> list[Tensor]:
    """`[H]` of each row: the mean over its text's places, virtual tokens left out."""
    text = ((batch.mask == 1) & (batch.soft < 0)).to(states.dtype)
    total = (states * text[..., None]).sum(1) / text.sum(1, keepdim=True).clamp(min=1)
    return list(total.float().cpu())
