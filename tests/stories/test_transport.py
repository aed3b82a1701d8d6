"""A request ends at its time limit, however slowly its answer comes."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from foreword.stories.writers.transport import Unreachable, post

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@contextmanager
def dripping(begin: bytes, drop: bytes) -> Iterator[tuple[str, threading.Event]]:
    """A server that sends a beginning, then a drop every 20 ms until the other side has gone, which it tells."""
    gone, server = threading.Event(), socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            try:
                connection.recv(65_536)
                connection.sendall(begin)
                for _ in range(500):
                    connection.sendall(drop)
                    time.sleep(0.02)
            except OSError:
                gone.set()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/", gone
        thread.join()


@pytest.mark.parametrize(
    ("begin", "drop"), [(HEAD, b"X-Slow: 1\r\n"), (b"", b"H"), (CHUNKED, b"1;"), (CHUNKED, b"1\r\nx\r\n")]
)
def test_an_answer_that_drips_is_left_at_the_time_limit_and_its_connection_cut(monkeypatch, begin, drop):
    monkeypatch.setenv("no_proxy", "*")
    with dripping(begin, drop) as (url, gone):
        began = time.monotonic()
        with pytest.raises(Unreachable, match=r"no answer within 0\.3 s"):
            post(url, {}, {}, 0.3)
        assert time.monotonic() - began < 1.5
        assert gone.wait(3)


def test_a_mistake_of_ours_is_not_taken_for_the_networks(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(ValueError, match="unknown url type"):
        post("host/v1", {}, {}, 1)
    with pytest.raises(Unreachable, match="ConnectionRefusedError|Connection refused"):
        post("http://127.0.0.1:9/", {}, {}, 5)
