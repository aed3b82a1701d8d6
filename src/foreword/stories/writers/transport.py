"""One POST over HTTP: time limit, no redirects, bounded answers. The standard library is enough for it."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
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
    deadline = time.monotonic() + seconds
    data = json.dumps(values).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers}, method="POST")
    opener = urllib.request.build_opener(_NoRedirects)
    try:
        try:
            answer: Any = opener.open(request, timeout=seconds)
        except urllib.error.HTTPError as error:  # an answer too, with a status that says no
            answer = error
        with answer:
            return Reply(answer.status, {k.lower(): v for k, v in answer.headers.items()}, _read(answer, deadline))
    except TimeoutError:
        raise Unreachable(f"no answer within {seconds:g} s") from None
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            raise Unreachable(f"no answer within {seconds:g} s") from None
        raise Unreachable(f"{type(reason).__name__}: {reason}" if str(reason) else type(reason).__name__) from None


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
