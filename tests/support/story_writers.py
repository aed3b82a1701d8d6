"""Writers that say what a test tells them to, and an endpoint of the test's own."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from foreword.errors import ForewordError
from foreword.stories.writers import Draft, Request, Writer
from foreword.stories.writers.base import Advance, Done

Answer = str | Draft | BaseException
GOOD = (
    '"Come quickly!" said the talking squirrel. The little girl ran after him to the old tree. '
    "Up there sat a rainbow butterfly that was flying in slow circles. They all walked on to the green hill. "
    "A friendly dragon opened one eye and yawned. He showed them a treasure that was hidden under the grass. "
    "It was a box full of warm stones. They sat together on the hill and were happy until the moon came up."
)
"""Holds every hard constraint of `SMALL`, and begins and ends as it should."""
SMALL: dict[str, Any] = {
    "topic": "Adventure in a Magical Forest",
    "length": "60-100",
    "clues": ["a talking squirrel", "a flying rainbow butterfly", "a friendly dragon", "a hidden treasure"],
}


class Scripted(Writer):
    """Answers from a script, request by request; the last answer comes again. An exception is raised.

    `seen`: the requests, in order.
    """

    strong = False
    leads = True
    name = "scripted"

    def __init__(self, *answers: Answer, strong: bool = False, room: int | None = None) -> None:
        self.answers, self.seen, self.room = list(answers), [], room
        self.__dict__.update(strong=strong, leads=not strong)

    def capacity(self, prompt: str) -> int | None:
        return self.room

    def write(self, requests: Sequence[Request], done: Done, advance: Advance) -> None:
        for number, request in enumerate(requests):
            self.seen.append(request)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if isinstance(answer, ForewordError) and not type(answer).__name__.endswith("Stopped"):
                done(number, answer)
                continue
            if isinstance(answer, BaseException):
                raise answer
            made = answer if isinstance(answer, Draft) else Draft(answer, len(answer.split()), 0.1, "end")
            advance(made.tokens)
            done(number, made)


def completion(text: str | None, finish: str = "stop", **more: Any) -> bytes:
    """The body of a chat completion."""
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish}
    usage = {"total_tokens": 20, "completion_tokens": 10}
    return json.dumps({"choices": [choice], "usage": usage, **more}).encode()


@contextmanager
def endpoint(*answers: bytes | int | tuple[int, dict[str, str], bytes]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server on this machine, and what it was sent: bodies under `body`, headers under `headers`.

    An answer is a body, a status, a triple, or a negative number: so many seconds of silence. The last comes again.
    """
    script, seen = list(answers), []

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the standard library's name
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append({"path": self.path, "body": body, "headers": {k.lower(): v for k, v in self.headers.items()}})
            answer = script.pop(0) if len(script) > 1 else script[0]
            if isinstance(answer, int) and answer < 0:
                time.sleep(-answer)
                answer = 200
            if isinstance(answer, int):
                answer = (answer, {}, b"")
            status, headers, content = answer if isinstance(answer, tuple) else (200, {}, answer)
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
            except OSError:  # the client has gone
                pass

        def log_message(self, *args: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
