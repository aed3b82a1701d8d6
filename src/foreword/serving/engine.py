"""The one thread that computes: passes for what is answered at once, and steps for what is written, in turn."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from threading import Condition, Event, Thread
from time import perf_counter
from typing import Any

from foreword.bank import Bank
from foreword.errors import Unsupported
from foreword.serving import attention, packing, problems
from foreword.serving.decoding import Decoder, check_writes
from foreword.serving.limits import Limits
from foreword.serving.metrics import Metrics
from foreword.serving.oneshot import Asking, OneShot
from foreword.serving.writing import Writing

FAULTS = 3
"""Rounds that fail one after another before the engine says that it is not ready."""


class Engine:
    """Runs from `start` to `stop`. Requests are handed over from any thread, and told in the engine's own.

    `writes`: why no texts are written on this backbone, or None where they are.
    """

    def __init__(self, bank: Bank, limits: Limits, metrics: Metrics) -> None:
        self.bank, self.limits, self.metrics = bank, limits, metrics
        self.oneshot, self.decoder = OneShot(bank, limits, metrics), Decoder(bank, limits, metrics)
        self.writes: str | None = None
        try:
            check_writes(bank.backbone)
        except Unsupported as error:
            self.writes = error.what
        self._inbox: list[Asking | Writing] = []
        self._ready, self._stop = Condition(), Event()
        self._refusing: problems.Refusal | None = None
        self._leaving: list[str] = []
        self._waiting = 0
        self._faults = 0
        self._thread = Thread(target=self._run, name="foreword-engine", daemon=True)

    # -- from any thread ------------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def ready(self) -> bool:
        """Whether requests are taken, and passes succeed."""
        return self.alive and self._refusing is None and self._faults < FAULTS

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not (self._inbox or self._waiting or self.decoder.busy or self.oneshot.waiting)

    def start(self) -> None:
        """Begin to compute."""
        self._thread.start()

    def submit(self, jobs: Sequence[Asking | Writing]) -> None:
        """Hand over requests, all or none.

        **Raises** `Refusal` where the queue is full (429), or the engine does not run (503); `ConfigError` for one that
        is too large.
        """
        for job in jobs:
            if isinstance(job, Writing):
                self.decoder.check(job)
        with self._ready:
            if self._refusing is not None or not self.alive:
                raise (self._refusing or problems.stopping()).again()
            if self._waiting + len(self._inbox) + len(jobs) > self.limits.queue:
                raise problems.busy(f"{self.limits.queue} requests are waiting already")
            self._inbox += jobs
            self._ready.notify()

    def forget(self, key: str) -> None:
        """Take a foreword out of the bank, which no request that is still wanted names; between passes, not in one."""
        with self._ready:
            self._leaving.append(key)
            self._ready.notify()

    def wake(self) -> None:
        """Look for requests that were cancelled."""
        with self._ready:
            self._ready.notify()

    def refuse(self) -> None:
        """Take no more requests; those that are there go on."""
        with self._ready:
            self._refusing = problems.stopping()

    def stop(self) -> None:
        """End, and tell so to whatever is left."""
        self.refuse()
        self._stop.set()
        self.wake()
        if self.alive:
            self._thread.join()

    # -- in its own -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with attention.routed(self.bank.backbone), self._packed():
                while not self._stop.is_set():
                    self._receive()
                    self._round()
            self._end(problems.stopping())
        except BaseException as error:
            problems.note("the engine's thread ended", error)
            with self._ready:
                self._refusing = problems.Refusal("the engine ended", 503, "engine_ended")
            self._end(RuntimeError(f"the engine ended: {type(error).__name__}"))

    def _packed(self) -> AbstractContextManager[Any]:
        """Steps of texts have few rows."""
        wanted = self.limits.packed_weights and self.writes is None
        return packing.packed(self.bank.backbone) if wanted else nullcontext()

    def _end(self, error: Exception) -> None:
        with self._ready:
            self._sort()
        self.oneshot.fail(error)
        self.decoder.fail(error)
        self._tell()

    def _receive(self) -> None:
        """Take what arrived; with nothing to do, wait for it, and with little, a moment for company."""
        with self._ready:
            self._sort()
            while not (self._stop.is_set() or self._leaving or self.oneshot.waiting or self.decoder.busy):
                self._ready.wait()
                self._sort()
            while self.oneshot.waiting and not (self.oneshot.full or self.decoder.busy or self._stop.is_set()):
                patience = self.oneshot.patience(perf_counter())
                if patience <= 0:
                    break
                self._ready.wait(patience)
                self._sort()

    def _sort(self) -> None:
        """The inbox to where its requests belong."""
        for job in self._inbox:
            if isinstance(job, Writing):
                self.decoder.waiting.append(job)
            else:
                self.oneshot.waiting.append(job)
        self._inbox.clear()
        self._waiting = len(self.oneshot.waiting) + len(self.decoder.waiting)

    def _round(self) -> None:
        """One pass and one step, of which there is something to do."""
        with self._ready:
            leaving, self._leaving = self._leaving, []
        try:
            # first those who went, who may be the last that named what leaves
            self.oneshot.cancel_gone()
            self.decoder.cancel_gone()
            for key in leaving:
                self.bank.remove(key)
            texts = self.decoder.busy  # their next tokens wait for this pass
            self.oneshot.run(self.limits.prefill_tokens if texts else None)
            if self.decoder.busy:
                self.decoder.admit()
                self.decoder.step()
            self._faults = 0
        except Exception as error:
            self._faults += 1
            problems.note("a round failed", error)
        self._tell()

    def _tell(self) -> None:
        with self._ready:
            self._waiting = len(self.oneshot.waiting) + len(self.decoder.waiting)
        running = self.decoder.running
        self.metrics.running.set(len(running))
        self.metrics.waiting.set(self._waiting)
        self.metrics.cache_usage.set(self.decoder.cached_bytes / self.limits.cache_bytes)
