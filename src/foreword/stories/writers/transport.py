"""One POST over HTTP: time limit, no redirects, bounded answers. The standard library is enough for it."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_BYTES = 8_000_000
CHUNK = 65_536


class Unreachable(Exception):
    """No answer came: the name, the connection, or the time limit failed. Holds no header and no key."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its status, its headers in small letters, and at most `MOST_BYTES` of its body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another host: it is an answer like any other."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Follow none."""
        return


def post(url: str, headers: Mapping[str, str], values: Mapping[str, Any], seconds: float) -> Reply:
    """Send JSON and read the answer, all within `seconds`. **Raises** `Unreachable`."""
    data = json.dumps(values).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers}, method="POST")
    exchange = _Exchange(request, seconds)
    # The library's time limit is one of each read, and a slow server makes many: so the whole waits in a thread.
    threading.Thread(target=exchange.run, daemon=True).start()
    try:
        if not exchange.over.wait(seconds):
            raise Unreachable(f"no answer within {seconds:g} s")
    finally:
        exchange.leave()
    if isinstance(exchange.found, Reply):
        return exchange.found
    raise _unreachable(exchange.found, seconds) from None


class _Exchange:
    """One request and its answer. `found`: the answer, or what went wrong, once it is `over`."""

    def __init__(self, request: urllib.request.Request, seconds: float) -> None:
        self.request, self.seconds, self.over = request, seconds, threading.Event()
        self.found: Reply | Exception = TimeoutError()
        self._left, self._sockets = False, list[socket.socket]()

    def run(self) -> None:
        """Send and read; in a thread of its own."""
        try:
            self.found = self._reply()
        except Exception as error:  # told by `post`
            self.found = error
        self.over.set()

    def leave(self) -> None:
        """Cut the connection, so that a thread that still waits for it ends."""
        self._left = True
        for one in self._sockets:
            with contextlib.suppress(OSError):  # it is closed already
                one.shutdown(socket.SHUT_RDWR)

    def _reply(self) -> Reply:
        deadline = time.monotonic() + self.seconds
        opener = urllib.request.build_opener(_NoRedirects, _Plain(self._watched), _Secured(self._watched))
        try:
            answer: Any = opener.open(self.request, timeout=self.seconds)
        except urllib.error.HTTPError as error:  # an answer too, with a status that says no
            answer = error
        with answer:
            return Reply(answer.status, {k.lower(): v for k, v in answer.headers.items()}, _read(answer, deadline))

    def _watched(self, connection: Any) -> Any:
        """The connection, which tells its socket as soon as it has one."""
        plain = connection.connect

        def connect() -> None:
            plain()
            self._sockets.append(connection.sock)
            if self._left:
                raise TimeoutError

        connection.connect = connect
        return connection


class _Watching(urllib.request.AbstractHTTPHandler):
    """Shows every connection that it makes to `watched`."""

    def __init__(self, watched: Callable[[Any], Any]) -> None:
        super().__init__()
        self._watched = watched

    def do_open(self, http_class: Any, *args: Any, **more: Any) -> Any:
        """As the library does it."""
        return super().do_open(lambda *a, **kw: self._watched(http_class(*a, **kw)), *args, **more)


class _Plain(_Watching, urllib.request.HTTPHandler):
    """For http."""


class _Secured(_Watching, urllib.request.HTTPSHandler):
    """For https."""


def _unreachable(error: Exception, seconds: float) -> Unreachable:
    """What went wrong, in a few words. **Raises** the error itself where it is none of the network's."""
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return Unreachable(f"no answer within {seconds:g} s")
    if isinstance(error, Unreachable):
        return error
    if not isinstance(error, urllib.error.URLError | http.client.HTTPException | OSError):
        raise error
    return Unreachable(f"{type(reason).__name__}: {reason}" if str(reason) else type(reason).__name__)


def _read(answer: Any, deadline: float) -> bytes:
    """The body, piece by piece, so that one which drips for ever ends at the deadline."""
    found = bytearray()
    while chunk := answer.read1(CHUNK):
        found += chunk
        if len(found) > MOST_BYTES:
            raise Unreachable(f"the answer is longer than {MOST_BYTES:,} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError
    return bytes(found)
