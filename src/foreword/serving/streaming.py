"""Server-sent events, and what happens when the reader goes or falls asleep."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

T = TypeVar("T")


class Gone(Exception):
    """Nobody waits for the answer any more."""


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """What `work` gives. **Raises** `Gone`, and ends it, when the client goes."""
    return await _unless(_gone(request.receive), work)


class EventStream(Response):
    """Events as they come: JSON values, and `[DONE]` at the end. `held` is released when the stream ends, however.

    A reader that takes no piece for `seconds` is left, and so is one that went.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[dict[str, Any]], held: AsyncExitStack, seconds: float) -> None:
        super().__init__(headers={"cache-control": "no-cache"})
        del self.headers["content-length"]
        self._events, self._held, self._seconds = events, held, seconds

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Write it."""
        try:
            await _unless(_gone(receive), self._write(send))
        except (Gone, TimeoutError):
            return
        finally:
            await self._held.aclose()

    async def _write(self, send: Any) -> None:
        async def push(message: dict[str, Any]) -> None:
            async with asyncio.timeout(self._seconds):
                await send(message)

        def body(text: str, more: bool = True) -> dict[str, Any]:
            return {"type": "http.response.body", "body": f"data: {text}\n\n".encode(), "more_body": more}

        await push({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for event in self._events:
            await push(body(json.dumps(event, ensure_ascii=False)))
        await push(body("[DONE]", more=False))


async def _gone(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _unless(ends: Awaitable[None], work: Awaitable[T]) -> T:
    """`work`, unless `ends` comes first."""
    watch, task = asyncio.ensure_future(ends), asyncio.ensure_future(work)
    try:
        await asyncio.wait((watch, task), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Gone
        return task.result()
    finally:
        for one in (watch, task):
            one.cancel()
        await asyncio.gather(watch, task, return_exceptions=True)
