"""What stands in front of the application: keys, the host that is asked, and the size and the time of a body."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Sequence
from typing import Any

from foreword.serving.limits import Limits
from foreword.serving.metrics import Metrics
from foreword.serving.pages.access import SIGN_IN, Access, is_page
from foreword.serving.problems import Refusal

OPEN = ("/health", "/ready")
"""Paths that need no key: what watches over the server asks there."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Guard:
    """An ASGI application around another one.

    `local`: without keys, only requests that name this machine as their host are taken, since a page from elsewhere may
    make a browser ask here under a name of its own ("DNS rebinding"). `access`: sessions that open pages in the place
    of a key; a browser without one is led to where it begins.
    """

    def __init__(
        self, app: Any, limits: Limits, metrics: Metrics, keys: Sequence[str], local: bool, access: Access | None = None
    ) -> None:
        self.app, self.limits, self.metrics, self.access = app, limits, metrics, access
        self.keys, self.local = [key.encode() for key in keys], local

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer with an error, or hand over."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        try:
            self._check(scope["path"], headers)
            body = await self._body(headers, receive)
        except Refusal as error:
            await _refuse(send, error, self.access is not None and is_page(scope["path"]), b"hx-request" in headers)
            self.metrics.failure.labels(str(error.status)).inc()
            return
        if body is None:
            return
        replayed = False

        async def again() -> Any:
            nonlocal replayed
            if replayed:
                return await receive()
            replayed = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, again, send)

    def _check(self, path: str, headers: dict[bytes, bytes]) -> None:
        if self.keys and path not in OPEN and not (self.access and self.access.admits(path, headers)):
            kind, _, given = headers.get(b"authorization", b"").partition(b" ")
            # every key is compared, and each in constant time, so that times tell nothing
            right = [hmac.compare_digest(given.strip(), key) for key in self.keys]
            if kind.lower() != b"bearer" or not any(right):
                raise Refusal(
                    "the key is missing or wrong", 401, "invalid_api_key", do="send Authorization: Bearer KEY"
                )
        if self.local and not self.keys and _host(headers.get(b"host", b"")) not in LOOPBACK:
            raise Refusal("this server answers requests to this machine alone", 403, "forbidden_host")

    async def _body(self, headers: dict[bytes, bytes], receive: Any) -> bytes | None:
        """The whole body; None where the client went."""
        most = self.limits.body_bytes
        large = Refusal(f"the body is larger than {most:,} bytes", 413, "request_too_large")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > most:
            raise large
        body = bytearray()
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    if len(body) > most:
                        raise large
                    if not message.get("more_body"):
                        return bytes(body)
        except TimeoutError:
            raise Refusal("the body did not arrive in time", 408, "timeout") from None


def _host(value: bytes) -> str:
    """The name in a Host header, without its port."""
    text = value.decode("latin-1")
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.rpartition(":")[0] or text


async def _refuse(send: Any, error: Refusal, page: bool, swaps: bool) -> None:
    body, status = json.dumps(error.body).encode(), error.status
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    # what is left of the body is not read, so that the connection cannot be used again
    headers += [(b"connection", b"close")]
    if page and status == 401:
        status = 401 if swaps else 303  # htmx leads on by a header, where a browser would put the page into the part
        headers.append((b"hx-redirect" if swaps else b"location", SIGN_IN.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
