"""Clients that mean no good, and a machine that runs out: thousands of connections, nonsense, a disk that is full."""

import errno
import json
import logging
import resource
import select
import socket
import time

import pytest
from hypothesis import HealthCheck, given, settings

from foreword.serving.limits import Limits

from .conftest import get, post, running
from .hearing import wait_for

CONNECTIONS = 1000


def ask(url, **more):
    return post(f"{url}/v1/completions", json={"model": "lora", "prompt": "good", "temperature": 0, **more}, timeout=60)


@pytest.fixture
def many_files():
    """Both ends of every connection are in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * CONNECTIONS + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"no more than {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


STARTS = (
    b"",
    b"GET /health HT",
    b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\n",
    b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 500\r\n\r\n{",
)
"""How connections stop: before anything, in the first line, in the headers, in the body."""


@pytest.mark.slow
def test_a_thousand_connections_that_never_finish_a_request_hold_nobody(writers, many_files):
    limits = Limits(body_seconds=20)
    with running(writers, "llama", limits=limits) as (url, service):
        right = ask(url).json()["choices"][0]["text"]
        host, port = url.removeprefix("http://").split(":")
        held = []
        try:
            for number in range(CONNECTIONS):
                held.append(socket.create_connection((host, int(port)), timeout=20))
                held[-1].sendall(STARTS[0 if number % 2 else number % 8 // 2])
            for _ in range(10):
                answer = ask(url)
                assert answer.status_code == 200 and answer.json()["choices"][0]["text"] == right
            waiting = select.poll()
            for one in held:
                waiting.register(one, select.POLLIN)
            assert len(waiting.poll(0)) < CONNECTIONS // 10  # they were served while these were still held
            deadline = time.monotonic() + 60
            for one in held:  # every one of them is ended by the server
                one.settimeout(max(0.1, deadline - time.monotonic()))
                try:
                    while one.recv(4096):
                        pass
                except ConnectionResetError:
                    pass
        finally:
            for one in held:
                one.close()
        assert ask(url).json()["choices"][0]["text"] == right
        wait_for(lambda: service.engine.idle)


@pytest.mark.slow
def test_no_request_that_the_description_allows_or_not_makes_the_server_fail(writers):
    import schemathesis

    limits = Limits(answer_tokens=8, body_seconds=5)
    with running(writers, "llama", limits=limits, runtime_loading=True) as (url, service):
        schema = schemathesis.openapi.from_dict(get(f"{url}/openapi.json").json())
        asked = []
        for found in schema.get_all_operations():
            operation = found.ok()

            @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy())
            def never_fails(case):
                answer = case.call(base_url=url, timeout=60)
                asked.append(answer.status_code)
                assert answer.status_code < 500, (case.method, case.path, case.body)
                if answer.status_code >= 400 and answer.status_code != 499:
                    assert set(json.loads(answer.content)["error"]) == {"message", "type", "param", "code"}

            never_fails()
        assert len(asked) > 100 and 200 in asked
        assert get(f"{url}/ready").status_code == 200
        wait_for(lambda: service.engine.idle)


@pytest.mark.parametrize("path", ["\x00", "a\x00b", "\ud800", "x" * 5000, "../writers", "/", ""])
def test_a_path_that_is_none_is_the_clients_fault(writing, path):
    body = json.dumps({"path": path})  # a lone surrogate is written as its escape
    answer = post(f"{writing[0]}/v1/load_foreword", content=body, headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500 and answer.json()["error"]["message"]


class Full:
    """A log on a disk that is full."""

    def write(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    def flush(self):
        self.write("")


class Refusing(logging.Handler):
    """One whose author let errors through."""

    def emit(self, record):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("handler", [lambda: logging.StreamHandler(Full()), Refusing])
def test_a_log_that_cannot_be_written_ends_nothing(writers, monkeypatch, handler):
    log, made = logging.getLogger("foreword.serving"), handler()
    log.addHandler(made)
    try:
        with running(writers, "llama") as (url, service):
            right = ask(url).json()["choices"][0]["text"]
            with monkeypatch.context() as broken:
                broken.setattr(service.engine.decoder, "_step", lambda group: (_ for _ in ()).throw(RuntimeError))
                for _ in range(2):
                    answer = ask(url)
                    assert answer.status_code == 500 and answer.json()["error"]["code"] == "internal_error"
            assert ask(url).json()["choices"][0]["text"] == right and service.engine.alive
    finally:
        log.removeHandler(made)
