"""Stories that are written for a page: one run at a time in a thread, the others wait; a bounded number is kept."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from threading import Event
from time import perf_counter

from foreword import stories
from foreword.errors import ForewordError
from foreword.serving import problems
from foreword.serving.pages.writer import Drafts, EngineWriter
from foreword.serving.problems import Refusal, refusal_of
from foreword.serving.residents import Resident
from foreword.serving.service import Service
from foreword.stories import Story, StorySpec, Watch, Written
from foreword.stories.approaches import Approach, steps
from foreword.stories.consistency import require_consistent
from foreword.stories.style_strength import check_style

KEPT = 16
"""Runs that are kept; the oldest that is not being written goes first."""
END_SECONDS = 2.0
WAITING = 4
"""Runs that may be written or wait at a time."""


@dataclass(frozen=True)
class Wanted:
    """What is asked for. `model`: the foreword that is written under, or empty for the bare model."""

    spec: StorySpec
    approach: str
    n: int
    seed: int
    model: str = ""


@dataclass
class Candidate:
    """One story of a run; `pinned` ones stay when the others are written anew."""

    story: Story
    pinned: bool = False


@dataclass
class Progress(Watch):
    """How far the writing is: told by the thread, read by the page."""

    count: int
    ready: int = 0
    generated: int = 0
    began: float = field(default_factory=perf_counter)
    drafts: Drafts = field(default_factory=Drafts)
    stop: Event = field(default_factory=Event)

    def tokens(self, count: int) -> None:
        """So many more tokens were generated."""
        self.generated += count

    def story(self, ready: int, count: int) -> None:
        """So many of the candidates are ready."""
        self.ready = ready


@dataclass
class Run:
    """A spec and its candidates, in their places; `progress` is there while something is written."""

    id: str
    wanted: Wanted
    candidates: list[Candidate] = field(default_factory=list)
    progress: Progress | None = None
    rolls: int = 0
    problem: str = ""
    failures: tuple[str, ...] = ()
    seconds: float = 0.0
    tokens: int = 0

    @property
    def pinned(self) -> list[Candidate]:
        """Those that were chosen to be kept."""
        return [one for one in self.candidates if one.pinned]


class Studio:
    """All runs of a server. Everything but the writing itself happens on the event loop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._pool = ThreadPoolExecutor(1, "foreword-stories")
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def most(self) -> int:
        """How many candidates one run may have."""
        return min(self._service.limits.choices, self._service.limits.slots)

    def run(self, id: str) -> Run:
        """**Raises** `Refusal` for one that is not kept any more."""
        if id not in self._runs:
            raise Refusal("these stories are gone: the server keeps the last ones alone", 404, do="write them again")
        return self._runs[id]

    def begin(self, wanted: Wanted) -> Run:
        """Write all candidates of a new run. **Raises** `ConfigError`, `Refusal` for what cannot be written."""
        if self._service.engine.writes is not None:
            raise Refusal(self._service.engine.writes)
        require_consistent(wanted.spec)
        approach = Approach.parse(wanted.approach, steps)
        if not is_served(approach):
            what = f"the approach '{approach.name}' is not served: it needs an endpoint"
            raise Refusal(what, do="choose another, such as varied", param="approach")
        run = Run(secrets.token_urlsafe(9), wanted)
        self._start(run, list(range(wanted.n)), wanted.seed)
        self._runs[run.id] = run
        idle = [id for id, one in self._runs.items() if one.progress is None]
        for id in idle[: max(0, len(self._runs) - KEPT)]:
            del self._runs[id]
        return run

    def again(self, run: Run, places: Sequence[int]) -> None:
        """Write the candidates at these places anew, with a seed that was not used. **Raises** `Refusal`."""
        if run.progress is not None:
            raise Refusal("these stories are still being written", 409)
        if not places or not all(0 <= place < len(run.candidates) for place in places):
            raise Refusal("there is no such story", 404)
        run.rolls += 1
        self._start(run, places, run.wanted.seed + 1000 * run.rolls)

    def cancel(self, run: Run) -> None:
        """Stop the writing; what is ready is kept."""
        if run.progress is not None:
            run.progress.stop.set()

    async def close(self) -> None:
        """Stop everything; what is being checked in the thread has a moment to end."""
        for run in self._runs.values():
            self.cancel(run)
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=END_SECONDS)

    def _start(self, run: Run, places: Sequence[int], seed: int) -> None:
        if sum(one.progress is not None for one in self._runs.values()) >= WAITING:
            raise problems.busy("other stories are being written")
        run.problem, run.failures, run.progress = "", (), Progress(len(places))
        task = asyncio.create_task(self._write(run, run.progress, places, seed))
        self._tasks.add(task)  # the loop itself keeps no hold of it
        task.add_done_callback(self._tasks.discard)

    async def _write(self, run: Run, progress: Progress, places: Sequence[int], seed: int) -> None:
        """A run from its beginning to its end, whatever that is."""
        try:
            async with AsyncExitStack() as held:
                model, resident = run.wanted.model, None
                if model:
                    resident = await held.enter_async_context(self._service.store.using(model))
                    check_style(resident.foreword.manifest, resident.injection, model)
                loop = asyncio.get_running_loop()
                made = await loop.run_in_executor(self._pool, self._written, run.wanted, progress, seed, resident)
            _take(run, places, made)
        except Exception as error:
            refusal = refusal_of(error)
            problems.note("stories could not be written", error)
            stopped = progress.stop.is_set()
            run.problem = "cancelled" if stopped else f"{refusal.what}; {refusal.do}" if refusal.do else refusal.what
        finally:
            run.progress = None

    def _written(self, wanted: Wanted, progress: Progress, seed: int, resident: Resident | None) -> Written:
        """In the thread."""
        if progress.stop.is_set():
            raise ForewordError("cancelled")
        progress.began = perf_counter()
        writer = EngineWriter(self._service, resident, progress.stop, progress.drafts)
        return stories.write(
            wanted.spec, approach=wanted.approach, n=progress.count, keep=progress.count, seed=seed, writer=writer,
            watch=progress,
        )  # fmt: skip


def is_served(approach: Approach) -> bool:
    """Whether the engine's model can write so: without long instructions."""
    return not approach.strong


def _take(run: Run, places: Sequence[int], made: Written) -> None:
    """The stories to their places: a new run's best first, and one that was not written leaves the old one there."""
    if run.candidates:
        for place, story in zip(places, made.stories, strict=False):
            run.candidates[place] = Candidate(story)
    else:
        run.candidates = [Candidate(story) for story in made.stories]
    run.problem, run.failures = made.stopped, made.failures
    run.seconds, run.tokens = run.seconds + made.seconds, run.tokens + made.tokens
