"""Requests become work for the engine, and its answers theirs, on the event loop, which nothing here blocks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter, time
from typing import Any, TypeVar

from torch import Tensor

from foreword.bank import Bank
from foreword.batch import Item
from foreword.config import GenerationOptions
from foreword.errors import ForewordError
from foreword.evaluation.spotting import span_of, tags_of
from foreword.readouts.lm import LanguageModel
from foreword.serving import prompts
from foreword.serving.cards import Found
from foreword.serving.engine import Engine
from foreword.serving.limits import Limits
from foreword.serving.metrics import Metrics
from foreword.serving.oneshot import Answer, Asking
from foreword.serving.problems import Refusal
from foreword.serving.residents import Resident
from foreword.serving.schema import ChatRequest, CompletionRequest, Writes
from foreword.serving.store import Store
from foreword.serving.writing import Event, Piece, Writing
from foreword.text.rows import Row

T = TypeVar("T")


@dataclass(frozen=True)
class Judged:
    """Answers to several inputs, and how many tokens the inputs had."""

    answers: list[dict[str, Any]]
    tokens: int


class Stream:
    """Pieces of the answers to a request's prompts, as they come; `events` ends when all answers have.

    Answers are numbered through: the n of the first prompt, those of the second, and so on.
    """

    def __init__(self, rows: Sequence[Row], choices: int) -> None:
        """`choices`: how many answers each prompt has."""
        self.prompt_tokens = sum(place < 0 for row in rows for place in row.soft)
        self.cut = sum(row.cut for row in rows)
        self.written = 0
        self.answers = self._left = choices * len(rows)
        self._choices = choices
        self._queue: asyncio.Queue[Event] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    @property
    def done(self) -> bool:
        """Whether all answers were read to their ends."""
        return not self._left

    def tell(self, prompt: int, event: Event) -> None:
        """What happened to a prompt's answers; called in the engine's thread."""
        if isinstance(event, Piece):
            event = replace(event, choice=prompt * self._choices + event.choice)
        self._loop.call_soon_threadsafe(self._queue.put_nowait, event)

    async def events(self) -> AsyncIterator[Piece]:
        """**Raises** what ended the request, if it failed."""
        while self._left:
            event = await self._queue.get()
            if isinstance(event, Exception):
                raise event
            self.written += len(event.tokens)
            self._left -= event.finished is not None
            yield event


class Service:
    """Everything behind the HTTP interface. `start` and `stop` are called on the event loop that requests run on."""

    def __init__(
        self, root: Path, bank: Bank, limits: Limits, pinned: Sequence[str] = (), found: Found | None = None
    ) -> None:
        self.limits, self.metrics, self.bank = limits, Metrics(), bank
        self.engine = Engine(bank, limits, self.metrics)
        self.store = Store(root, bank, limits.resident_bytes, self.metrics, self.engine.forget, found)
        if "parts" not in bank.backbone.refusals:
            _ = bank.backbone.anatomy  # seen in a run of the model, which must be the only one at the time
        self.failure: ForewordError | None = None
        """Why it did not start."""
        self.base = Path(bank.backbone.name).name
        """What the backbone without a foreword is called."""
        self.created = int(time())
        self.store.reserved = self.base
        if self.store.cards.pop(self.base, None) is not None:
            self.store.refused[self.base] = "it is called as the model itself"
        self._pinned = tuple(pinned)
        self._pool = ThreadPoolExecutor(1, "foreword-encode")

    async def start(self) -> None:
        """Begin to compute, and load what is to be kept in memory."""
        self.engine.start()
        try:
            await self.store.pin(self._pinned)
        except ForewordError as error:
            self.failure = error
            await self.stop()
            raise

    async def drain(self) -> None:
        """Take no more requests, finish what runs within the time for that, and end the rest."""
        self.engine.refuse()
        deadline = perf_counter() + self.limits.grace_seconds
        while not self.engine.idle and perf_counter() < deadline:
            await asyncio.sleep(0.02)
        await self.stop()

    async def stop(self) -> None:
        """End at once."""
        await asyncio.to_thread(self.engine.stop)
        self.store.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    # -- at once --------------------------------------------------------------------------------------------------

    async def classify(self, model: str, inputs: Sequence[Any]) -> Judged:
        """The foreword's labels, tags or parts of the text for each input."""
        self._count(inputs, "input")
        if model == self.base:
            raise Refusal("the model itself has no labels", do="name a foreword; see /v1/models", param="model")
        async with self.store.using(model) as resident:
            if resident.card.answer == "text":
                raise Refusal(f"'{model}' writes texts", do="use /v1/chat/completions", param="model")
            _known(resident, inputs)
            if resident.card.answer == "span":
                self._passages(resident, inputs)
            items = await self._encode(lambda: [_item(resident, given) for given in inputs])
            lines = [_lines(resident, item) for item in items]
            scores = await self._ask([Asking(i, "scores", _silent, n) for i, n in zip(items, lines, strict=True)])
            answers = [_judged(resident, item, own) for item, own in zip(items, scores, strict=True)]
        return Judged(answers, self._tokens(items))

    async def embed(self, model: str, texts: Sequence[str]) -> tuple[list[Tensor], int]:
        """`[H]` for each text, and how many tokens they have: the mean of its last states, of unit length."""
        self._count(texts, "input")
        if self.bank.backbone.two_stacks:
            raise Refusal("an encoder-decoder gives no embeddings here", param="model")
        if model == self.base:
            encode = partial(prompts.row_of_text, self.bank.backbone, whole=True)
            items = await self._encode(lambda: [Item((encode(text),)) for text in texts])
            return await self._vectors(items)
        async with self.store.using(model) as resident:
            items = await self._encode(lambda: [_item(resident, text) for text in texts])
            if any(len(item.rows) > 1 for item in items):
                raise Refusal(f"'{model}' reads an input in several rows, which have no one vector", param="model")
            return await self._vectors(items)

    async def _vectors(self, items: list[Item]) -> tuple[list[Tensor], int]:
        found = await self._ask([Asking(item, "vector", _silent) for item in items])
        return [one / one.norm().clamp(min=1e-12) for one in found], self._tokens(items)

    async def _ask(self, jobs: list[Asking]) -> list[Tensor]:
        """What the engine answers. Whoever asked may go: then what still waits is not run."""
        loop, began = asyncio.get_running_loop(), perf_counter()
        futures: list[asyncio.Future[Tensor]] = [loop.create_future() for _ in jobs]
        for job, future in zip(jobs, futures, strict=True):
            job.tell = partial(_answer, loop, future)
        self.engine.submit(jobs)
        try:
            found = list(await asyncio.gather(*futures))
        finally:
            for job, future in zip(jobs, futures, strict=True):
                job.cancelled = True
                if future.done() and not future.cancelled():
                    future.exception()  # the first failure is told; the others are the same
        self.metrics.request_seconds.observe(perf_counter() - began)
        self.metrics.success.labels("answered").inc()
        return found

    # -- written --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def writing(self, request: Writes) -> AsyncIterator[Stream]:
        """A stream of the answers to a request; leaving the block ends them."""
        if self.engine.writes is not None:
            raise Refusal(self.engine.writes, do="use /v1/classify or /v1/embeddings", param="model")
        if request.n > min(self.limits.choices, self.limits.slots):
            raise Refusal(f"n is at most {min(self.limits.choices, self.limits.slots)} here", 413, param="n")
        if request.model == self.base:
            async with self._written(request, None, partial(self._base_rows, request)) as stream:
                yield stream
            return
        async with self.store.using(request.model) as resident:
            if resident.card.answer != "text":
                raise Refusal(f"'{request.model}' answers with labels", do="use /v1/classify", param="model")
            given = self._given(request)
            _known(resident, given)
            encode = partial(map, partial(prompts.row_of_foreword, resident), given)
            async with self._written(request, resident, encode) as stream:
                yield stream

    @asynccontextmanager
    async def _written(
        self, request: Writes, resident: Resident | None, encode: Callable[[], Iterable[Row]]
    ) -> AsyncIterator[Stream]:
        own: GenerationOptions | None = None
        if resident is not None:
            readout = resident.foreword.reader.readout
            assert isinstance(readout, LanguageModel)
            own = readout.options
        chat = isinstance(request, ChatRequest)
        rows = await self._encode(lambda: list(encode()))
        room = max(1, self.bank.backbone.geometry.positions - max(map(len, rows)))
        tokens = min(self.limits.answer_tokens if chat else prompts.COMPLETION_TOKENS, room)
        options = prompts.options_of(request, own, tokens)
        stream, began = Stream(rows, request.n), perf_counter()
        jobs = [
            Writing(row, resident, options, partial(stream.tell, number), request.n, request.likeliest or 0)
            for number, row in enumerate(rows)
        ]
        self.engine.submit(jobs)
        self.metrics.prompt_tokens.inc(stream.prompt_tokens)
        try:
            yield stream
            if stream.done:
                self.metrics.request_seconds.observe(perf_counter() - began)
        finally:
            for job in jobs:
                job.cancelled = True
            self.engine.wake()

    def _base_rows(self, request: Writes) -> list[Row]:
        if request.inputs is not None:
            raise Refusal("the model itself has no fields", do="give a text", param="inputs")
        if isinstance(request, ChatRequest):
            return [prompts.row_of_chat(self.bank.backbone, request.messages)]
        return [prompts.row_of_text(self.bank.backbone, text) for text in self._texts(request)]

    def _given(self, request: Writes) -> Sequence[prompts.Given]:
        """What a request asks of a foreword, one thing a prompt."""
        if request.inputs is not None:
            if isinstance(request, CompletionRequest) and request.prompt not in (None, "", []):
                raise Refusal("give a prompt or inputs, not both", param="inputs")
            return [request.inputs]
        if isinstance(request, ChatRequest):
            return [prompts.input_of_chat(request.messages)]
        return self._texts(request)

    def _texts(self, request: Writes) -> Sequence[str]:
        """The prompts of a completion."""
        given = request.prompt if isinstance(request, CompletionRequest) else None
        texts = [given] if isinstance(given, str) else given or []
        self._count(texts, "prompt")
        return texts

    # -- shared ---------------------------------------------------------------------------------------------------

    def _count(self, inputs: Sequence[Any], param: str) -> None:
        if not inputs:
            raise Refusal(f"there is no {param}", param=param)
        if len(inputs) > self.limits.inputs:
            raise Refusal(f"{len(inputs)} inputs, and at most {self.limits.inputs} are taken", 413, param=param)

    def _passages(self, resident: Resident, inputs: Sequence[Any]) -> None:
        """**Raises** `Refusal` for inputs whose windows would make a pass of any size."""
        found = sum(len(text) for given in inputs for text in resident.foreword.example(given).values())
        if found > (most := self.limits.passage_characters):
            what = f"the inputs have {found:,} characters, and at most {most:,} are read in windows"
            raise Refusal(what, 413, do="send a part of them", param="input")

    def _tokens(self, items: Sequence[Item]) -> int:
        found = sum(place < 0 for item in items for row in item.rows for place in row.soft)
        self.metrics.prompt_tokens.inc(found)
        return found

    async def _encode(self, encode: Callable[[], T]) -> T:
        """What needs the tokenizer, away from the event loop."""

        def locked() -> T:
            with self.store.words:
                return encode()

        return await asyncio.get_running_loop().run_in_executor(self._pool, locked)


def _silent(answer: Answer) -> None:
    """Stands in until there is somebody to tell."""


def _answer(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Tensor], answer: Answer) -> None:
    """Called in the engine's thread."""

    def settle() -> None:
        if future.done():
            return
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    loop.call_soon_threadsafe(settle)


def _item(resident: Resident, given: Any) -> Item:
    return resident.foreword.reader.item(resident.foreword.example(given), resident.key)


def _known(resident: Resident, inputs: Sequence[Any]) -> None:
    """**Raises** `Refusal` for a field that the foreword does not read: without it, another question is answered."""
    task = resident.foreword.reader.task
    for given in inputs:
        if not isinstance(given, Mapping) or not all(name in given for name in task.fields):
            continue  # what is missing is told where it is read
        if unknown := sorted(set(given) - {*task.inputs, *task.fields, task.words}):
            do = f"it reads {', '.join(task.fields or (task.words,))}"
            raise Refusal(f"'{resident.card.name}' reads no field '{unknown[0]}'", do=do, param="input")


def _lines(resident: Resident, item: Item) -> int | None:
    """How many lines of scores the item has."""
    return {"class": None, "tags": len(item.rows[0].answers), "span": 2}[resident.card.answer]


def _judged(resident: Resident, item: Item, scores: Tensor) -> dict[str, Any]:
    """An answer as plain data."""
    foreword, cut = resident.foreword, {"cut": item.rows[0].cut} if item.rows[0].cut else {}
    if resident.card.answer == "tags":
        tagged = tags_of(item, scores, foreword.labels)
        spans = [{"type": kind, "text": text} for kind, text in tagged.spans]
        return {**vars(tagged), "spans": spans, **cut}
    if resident.card.answer == "span":
        return {**vars(span_of(foreword.bank, item, scores)), **cut}
    probabilities = scores.softmax(-1).tolist()
    best = max(range(len(probabilities)), key=probabilities.__getitem__)
    named = dict(zip(foreword.labels, probabilities, strict=True))
    return {"label": foreword.labels[best], "probability": probabilities[best], "probabilities": named, **cut}
