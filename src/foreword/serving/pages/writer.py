"""Stories from the server's own engine: their texts share its steps with all other requests."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Event
from time import perf_counter

import torch
from torch import Tensor

from foreword.config import GenerationOptions
from foreword.errors import ConfigError, ForewordError
from foreword.generation.stopping import Stopping
from foreword.serving import writing
from foreword.serving.problems import refusal_of
from foreword.serving.residents import Resident
from foreword.serving.service import Service
from foreword.serving.writing import Piece, Writing
from foreword.stories.writers import Draft, Request
from foreword.stories.writers.base import Advance, Done, WriterStopped
from foreword.stories.writers.local import MARGIN, LocalWriter
from foreword.text.rows import as_row

LOOK_SECONDS = 0.2
"""How often a writer that waits looks whether it was stopped."""


@dataclass
class Drafts:
    """What is there of the texts that are being written, by their numbers; read by others while it grows."""

    texts: dict[int, str] = field(default_factory=dict)


class EngineWriter(LocalWriter):
    """Asks as a `LocalWriter` does, under the same rules; called in a thread of its own, and waits there.

    `resident`: the foreword that it writes under, held by whoever made the writer, or None for the bare model. `stop`
    ends it, `drafts` shows how far it is. Guides are not followed: what a slot holds cannot be taken back.
    """

    guides = False

    def __init__(self, service: Service, resident: Resident | None, stop: Event, drafts: Drafts) -> None:
        super().__init__(service.bank, None if resident is None else resident.key)
        self.name = service.base if resident is None else f"{service.base} with {resident.card.name}"
        self._service, self._resident, self._stop, self._drafts = service, resident, stop, drafts

    def write(self, requests: Sequence[Request], done: Done, advance: Advance) -> None:
        """All at once; those that there is no slot for wait for one. **Raises** `WriterStopped`, `Refusal`."""
        if self._stop.is_set():
            raise WriterStopped("cancelled")
        events: SimpleQueue[tuple[int, writing.Event]] = SimpleQueue()
        jobs = []
        for number, request in enumerate(requests):

            def tell(event: writing.Event, number: int = number) -> None:
                events.put((number, event))

            jobs.append(self._job(request, tell))
        self._service.engine.submit(jobs)
        self._drafts.texts = {}
        try:
            self._follow(events, len(jobs), done, advance)
        finally:
            for job in jobs:
                job.cancelled = True
            self._service.engine.wake()

    def _job(self, request: Request, tell: writing.Tell) -> Writing:
        row, rate = self._ids(request.prompt, request.lead), self._per_word(request.prompt)
        most = max(1, int(request.most * rate * MARGIN))
        if most > self._room(row):
            raise ConfigError(
                f"a text of {most} tokens does not fit behind a prompt of {len(row)} into the "
                f"{self.bank.backbone.geometry.positions} positions of {self.name}",
                do="ask for fewer words, or write in planned parts (approach plan)",
            )
        options = GenerationOptions(
            max_new_tokens=most, do_sample=True, temperature=self.temperature, top_p=self.top_p, seed=request.seed
        )
        ends = Stopping(self.bank.backbone.tokenizer, options).eos
        rule = Rule(
            self._text_ids(request.lead), int(request.least * rate), ends, self.repetition_penalty,
            self.no_repeat_ngram_size,
        )  # fmt: skip
        return Writing(as_row(row), self._resident, options, tell, rule=rule)

    def _follow(self, events: SimpleQueue[tuple[int, writing.Event]], left: int, done: Done, advance: Advance) -> None:
        """Tell what comes until all have ended."""
        began, count, tokens = perf_counter(), left, dict[int, int]()
        while left:
            if self._stop.is_set():
                raise WriterStopped("cancelled")
            try:
                number, event = events.get(timeout=LOOK_SECONDS)
            except Empty:
                continue
            if not isinstance(event, Piece):
                left -= 1
                done(number, event if isinstance(event, ForewordError) else refusal_of(event))
                continue
            text = self._drafts.texts[number] = self._drafts.texts.get(number, "") + event.text
            tokens[number] = tokens.get(number, 0) + len(event.tokens)
            advance(len(event.tokens))
            if event.finished is not None:
                left -= 1
                share = (perf_counter() - began) / count
                done(number, Draft(text, tokens[number], share, "length" if event.finished == "length" else "end"))

    def _ids(self, prompt: str, lead: str) -> list[int]:
        with self._service.store.words:
            return super()._ids(prompt, lead)

    def _text_ids(self, text: str) -> list[int]:
        with self._service.store.words:
            return super()._text_ids(text)


class Rule:
    """What a text's next token may be, as `LocalWriter` has it: `[V]` logits and the ids so far to `[V]` logits.

    Less for tokens that are there, by `penalty` (Keskar et al. 2019, CTRL, section 4.1); none that would repeat a run
    of `ngram` tokens (0 for no such rule); none of `ends` before `least` tokens. `lead`: what the text begins with.
    """

    def __init__(self, lead: Sequence[int], least: int, ends: Collection[int], penalty: float, ngram: int) -> None:
        self._text: list[int] = []
        self._lead, self._least, self._ends = tuple(lead), least, list(ends)
        self._penalty, self._ngram = penalty, ngram
        self._followed: dict[tuple[int, ...], set[int]] = {}
        for token in self._lead:
            self._remember(token)

    def __call__(self, logits: Tensor, ids: Sequence[int]) -> Tensor:
        """Called for every token in turn."""
        for token in ids[len(self._text) - len(self._lead) :]:
            self._remember(token)
        ruled = logits.clone()
        if used := sorted(set(self._text)):
            own = ruled[used]
            ruled[used] = torch.where(own > 0, own / self._penalty, own * self._penalty)
        if len(ids) < self._least and self._ends:
            ruled[self._ends] = -torch.inf
        if self._ngram and (again := self._followed.get(self._before(self._ngram - 1))):
            ruled[list(again)] = -torch.inf
        return ruled

    def _before(self, count: int) -> tuple[int, ...]:
        return tuple(self._text[len(self._text) - count :])

    def _remember(self, token: int) -> None:
        self._text.append(token)
        if self._ngram and len(self._text) >= self._ngram:
            *before, last = self._text[-self._ngram :]
            self._followed.setdefault(tuple(before), set()).add(last)
