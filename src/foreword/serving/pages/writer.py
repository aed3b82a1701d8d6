"""Stories from the server's own engine: their texts share its steps with all other requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Event
from time import perf_counter

from foreword.config import GenerationOptions
from foreword.errors import ForewordError
from foreword.generation.stopping import Reason
from foreword.serving import writing
from foreword.serving.problems import refusal_of
from foreword.serving.residents import Resident
from foreword.serving.service import Service
from foreword.serving.writing import Piece, Writing
from foreword.stories.writers import Request
from foreword.stories.writers.base import Advance, Done, Finished, WriterStopped
from foreword.stories.writers.drawing import Drawing
from foreword.stories.writers.local import LocalWriter, draft
from foreword.text.rows import as_row

LOOK_SECONDS = 0.2
"""How often a writer that waits looks whether it was stopped."""
_FINISHED: dict[Reason, Finished] = {"eos": "end", "stop": "end", "length": "length"}


@dataclass
class Drafts:
    """What is there of the texts that are being written, by their numbers; read by others while it grows."""

    texts: dict[int, str] = field(default_factory=dict)


class EngineWriter(LocalWriter):
    """Asks as a `LocalWriter` does, under the same rules; called in a thread of its own, and waits there.

    `resident`: the foreword that it writes under, held by whoever made the writer, or None for the bare model. `stop`
    ends it, `drafts` shows how far it is: of a guided text, the sentences that stay. A guide is asked in the engine's
    thread.
    """

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
            self._follow(jobs, events, done, advance)
        finally:
            for job in jobs:
                job.cancelled = True
            self._service.engine.wake()

    def _job(self, request: Request, tell: writing.Tell) -> Writing:
        row, most = self._fitted(request)
        # the engine's thread has a tokenizer of its own
        chooser = self._drawing(request, row, self._service.engine.decoder.tokenizer)
        options = GenerationOptions(max_new_tokens=most)
        return Writing(as_row(row), self._resident, options, tell, chooser=chooser)

    def _follow(
        self, jobs: Sequence[Writing], events: SimpleQueue[tuple[int, writing.Event]], done: Done, advance: Advance
    ) -> None:
        """Tell what comes until all have ended."""
        began, left = perf_counter(), len(jobs)
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
            self._drafts.texts[number] = self._drafts.texts.get(number, "") + event.text
            advance(len(event.tokens))
            if event.finished is not None:
                left -= 1
                made, share = jobs[number].chooser, (perf_counter() - began) / len(jobs)
                assert isinstance(made, Drawing)
                with self._service.store.words:
                    found = draft(made, self.bank.backbone.tokenizer, share, _FINISHED[event.finished])
                done(number, found)

    def _ids(self, prompt: str, lead: str) -> list[int]:
        with self._service.store.words:
            return super()._ids(prompt, lead)

    def _text_ids(self, text: str) -> list[int]:
        with self._service.store.words:
            return super()._text_ids(text)
