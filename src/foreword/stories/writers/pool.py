"""Several runs side by side that share a writer's batches: a larger batch costs less for each of its texts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from foreword.errors import ForewordError
from foreword.stories.writers.base import Advance, Done, Draft, Request, Writer


@dataclass
class _Waiting:
    """What one run asks for, until it is told."""

    requests: Sequence[Request]
    done: Done
    advance: Advance
    error: BaseException | None = None
    ready: bool = False


class Pool:
    """Runs jobs in threads of their own, each with a writer that waits until all others wait as well.

    Then all that they ask for is written as one, in the thread that called `run`; their callbacks are called there too.
    """

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self._turn = threading.Condition()
        self._waiting: list[_Waiting] = []
        self._busy = 0
        self._stopped: BaseException | None = None

    def run(self, jobs: Sequence[Callable[[Writer], None]]) -> None:
        """Run all jobs to their ends.

        **Raises** what the first failing one raised, and `KeyboardInterrupt`, both when all have ended: a job's writer
        raises the interrupt in it as well, so that it can keep what it has.
        """
        failures: list[BaseException] = []

        def job(work: Callable[[Writer], None]) -> None:
            try:
                work(_Pooled(self))
            except BaseException as error:  # told by `run`
                failures.append(error)
            finally:
                with self._turn:
                    self._busy -= 1
                    self._turn.notify_all()

        self._busy = len(jobs)
        threads = [threading.Thread(target=job, args=(work,), daemon=True) for work in jobs]
        for thread in threads:
            thread.start()
        while self._round():
            pass
        for thread in threads:
            thread.join()
        if self._stopped is not None:
            raise self._stopped
        if failures:
            raise failures[0]

    def _round(self) -> bool:
        """Write what all jobs wait for; whether there was anything."""
        batch: list[_Waiting] = []
        try:
            with self._turn:
                while len(self._waiting) < self._busy:
                    self._turn.wait(0.5)
                batch = self._waiting
                self._waiting = []
            if batch and self._stopped is None:
                self._write(batch)
        except KeyboardInterrupt as error:
            self._stopped = error
            if not batch:
                return True
        with self._turn:
            for one in batch:
                one.error = one.error or self._stopped
                one.ready = True
            self._turn.notify_all()
        return bool(batch)

    def _write(self, batch: Sequence[_Waiting]) -> None:
        flat = [(one, place) for one in batch for place in range(len(one.requests))]

        def done(at: int, draft: Draft | ForewordError) -> None:
            one, place = flat[at]
            if isinstance(draft, Draft):
                one.advance(draft.tokens)
            one.done(place, draft)

        try:
            self.writer.write([one.requests[place] for one, place in flat], done, lambda tokens: None)
        except ForewordError as error:
            for one in batch:
                one.error = error

    def ask(self, requests: Sequence[Request], done: Done, advance: Advance) -> None:
        """Called in a job's thread: wait until the requests are written."""
        mine = _Waiting(requests, done, advance)
        with self._turn:
            self._waiting.append(mine)
            self._turn.notify_all()
            while not mine.ready:
                self._turn.wait()
        if mine.error is not None:
            raise mine.error


class _Pooled(Writer):
    """The writer of one job: the pool's, but that it waits for the others."""

    strong = False
    leads = False

    def __init__(self, pool: Pool) -> None:
        self._pool, writer = pool, pool.writer
        self.name = writer.name
        self.__dict__.update(strong=writer.strong, leads=writer.leads, guides=writer.guides)

    def describe(self) -> dict[str, Any]:
        """Of the pool's writer."""
        return self._pool.writer.describe()

    def capacity(self, prompt: str) -> int | None:
        """Of the pool's writer."""
        return self._pool.writer.capacity(prompt)

    def write(self, requests: Sequence[Request], done: Done, advance: Advance) -> None:
        """Wait for the other jobs, and for what is written for all. **Raises** what the pool's writer raises."""
        self._pool.ask(requests, done, advance)
