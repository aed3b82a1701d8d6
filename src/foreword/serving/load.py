"""A load test: so many requests at a time against a server, and how long each took. Needs neither torch nor a model."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx

from foreword.errors import DataError, ForewordError

INPUTS = (
    "The battery lasts for two days and the screen is gorgeous.",
    "It stopped working after a week, and nobody answers my mails.",
    "The council met on Tuesday to discuss the new bridge. Work on it will begin in spring and take two years.",
    "Not bad at all for the price!",
)
TIMEOUT = 300.0


@dataclass
class Measured:
    """Seconds of each request: to its whole answer, and to the first token where a text is written.

    `gaps`: seconds between pieces of a text. `seconds`: of the whole test.
    """

    concurrency: int
    latencies: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    tokens: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def done(self) -> int:
        """Requests that were answered."""
        return len(self.latencies)

    @property
    def failed(self) -> int:
        """Requests that were answered by an error, or not at all."""
        return sum(self.errors.values())

    @property
    def requests_per_second(self) -> float:
        """Answers by time."""
        return self.done / self.seconds if self.seconds else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Tokens written by time."""
        return self.tokens / self.seconds if self.seconds else 0.0

    def table(self) -> list[list[str]]:
        """A line for each kind of latency, in milliseconds."""
        kinds = (
            ("whole answer, ms", self.latencies),
            ("first token, ms", self.first),
            ("between tokens, ms", self.gaps),
        )
        return [[name, *(f"{percentile(v, p) * 1e3:.1f}" for p in (50, 90, 99))] for name, v in kinds if v]

    def facts(self) -> dict[str, Any]:
        """Plain data; seconds."""
        kinds = {"latency": self.latencies, "first_token": self.first, "inter_token": self.gaps}
        spread = {
            f"{name}_seconds": {f"p{p}": percentile(values, p) for p in (50, 90, 99)}
            for name, values in kinds.items()
            if values
        }
        rates = {"requests_per_second": self.requests_per_second, "tokens_per_second": self.tokens_per_second}
        counts = {"done": self.done, "failed": self.failed, "errors": dict(self.errors), "tokens": self.tokens}
        return {**counts, "concurrency": self.concurrency, "seconds": self.seconds, **rates, **spread}


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the smallest value that at least `share` per cent are not above."""
    ordered = sorted(values)
    rank = -(-len(ordered) * share // 100)
    return ordered[max(0, int(rank) - 1)]


def inputs(file: Path | None) -> list[Any]:
    """The lines of a file, JSON where they are objects; a few sentences where none is given. **Raises** `DataError`."""
    if file is None:
        return list(INPUTS)
    try:
        lines = [line for line in file.read_text(encoding="utf-8").split("\n") if line.strip()]
        found = [json.loads(line) if line.lstrip().startswith("{") else line for line in lines]
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the inputs: {error}", where=str(file)) from None
    if not found:
        raise DataError("the file of inputs is empty", where=str(file))
    return found


def run(
    url: str,
    models: Sequence[str],
    requests: int,
    concurrency: int,
    given: Sequence[Any],
    max_tokens: int,
    key: str | None = None,
    advance: Callable[[int], None] = lambda done: None,
) -> Measured:
    """Ask `requests` times, models and inputs in turn. Ctrl-C ends the test, and what was measured is told.

    **Raises** `ForewordError` where the server does not answer, or does not serve one of `models`.
    """
    headers = {"authorization": f"Bearer {key}"} if key else {}
    measured = Measured(concurrency)

    async def test() -> None:
        limits = httpx.Limits(max_connections=concurrency)
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=TIMEOUT, limits=limits) as client:
            chosen = await _models(client, models)
            jobs = iter(itertools.islice(zip(itertools.cycle(chosen), itertools.cycle(given), strict=False), requests))
            began = perf_counter()
            try:
                await asyncio.gather(*(_ask(client, jobs, max_tokens, measured, advance) for _ in range(concurrency)))
            finally:
                measured.seconds = perf_counter() - began

    try:
        asyncio.run(test())
    except KeyboardInterrupt:
        if not measured.done:
            raise
    except httpx.HTTPError as error:
        raise ForewordError(f"no answer from the server: {type(error).__name__}", where=url) from None
    return measured


async def _models(client: httpx.AsyncClient, wanted: Sequence[str]) -> list[tuple[str, str]]:
    """Names, and the kind of their answers; all forewords by default, and the model itself where there are none."""
    answer = await client.get("/v1/models")
    if answer.status_code != 200:
        raise ForewordError(
            f"the server answers {answer.status_code}", where=f"{client.base_url}v1/models", do="check its key"
        )
    known = {one["id"]: one.get("answer") for one in answer.json()["data"]}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ForewordError(f"the server does not serve '{unknown[0]}'", where=str(client.base_url))
    chosen = list(wanted) or [name for name, kind in known.items() if kind is not None] or list(known)
    return [(name, known[name] or "text") for name in chosen]


async def _ask(
    client: httpx.AsyncClient,
    jobs: Any,
    max_tokens: int,
    measured: Measured,
    advance: Callable[[int], None],
) -> None:
    """One asker: the next request as soon as the last one is answered."""
    for (model, kind), given in jobs:
        try:
            if kind == "text":
                await _written(client, model, given, max_tokens, measured)
            else:
                began = perf_counter()
                answer = await client.post("/v1/classify", json={"model": model, "input": given})
                _check(answer.status_code, answer.content)
                measured.latencies.append(perf_counter() - began)
        except (httpx.HTTPError, ForewordError) as error:
            measured.errors[str(error) or type(error).__name__] += 1
        advance(measured.done + measured.failed)


async def _written(client: httpx.AsyncClient, model: str, given: Any, max_tokens: int, measured: Measured) -> None:
    asked = {"inputs": given} if isinstance(given, dict) else {"prompt": given}
    body = {"model": model, "max_tokens": max_tokens, "temperature": 0, "stream": True, "logprobs": 0, **asked}
    began = last = perf_counter()
    first, written = None, 0
    async with client.stream("POST", "/v1/completions", json=body) as answer:
        if answer.status_code != 200:
            _check(answer.status_code, await answer.aread())
        async for line in answer.aiter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line.removeprefix("data: "))
            if "error" in event:
                raise ForewordError(event["error"]["message"])
            now = perf_counter()
            if first is None:
                first = now - began
            else:
                measured.gaps.append(now - last)
            last = now
            written += sum(len(choice["logprobs"]["tokens"]) for choice in event["choices"])
    measured.latencies.append(perf_counter() - began)
    measured.tokens += written
    if first is not None:
        measured.first.append(first)


def _check(status: int, content: bytes) -> None:
    if status == 200:
        return
    try:
        message = json.loads(content)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = "no error of OpenAI's shape"
    raise ForewordError(f"{status}: {message}")
