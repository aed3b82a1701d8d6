"""Streams to readers that sleep, go, or read on."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from foreword.serving.streaming import EventStream, Gone, _unless


async def numbers(count, pause=0.0):
    for number in range(count):
        await asyncio.sleep(pause)
        yield {"number": number}


def play(send, receive, events, seconds=0.1):
    """Run a stream; whether what it held was released, and how long that took."""
    released = []

    async def inside():
        held = AsyncExitStack()
        held.callback(released.append, True)
        began = time.perf_counter()
        await EventStream(events, held, seconds)({"type": "http"}, receive, send)
        return time.perf_counter() - began

    took = asyncio.run(inside())
    return bool(released), took


async def never():
    await asyncio.Event().wait()


def test_all_of_it_is_sent_and_the_end_is_said():
    sent = []

    async def send(message):
        sent.append(message)

    released, _ = play(send, never, numbers(3))
    assert released and sent[0]["status"] == 200
    assert b"".join(one["body"] for one in sent[1:]).decode() == (
        'data: {"number": 0}\n\ndata: {"number": 1}\n\ndata: {"number": 2}\n\ndata: [DONE]\n\n'
    )
    assert [one["more_body"] for one in sent[1:]] == [True, True, True, False]


def test_a_reader_that_sleeps_is_left():
    async def send(message):
        if message["type"] == "http.response.body":
            await never()

    released, took = play(send, never, numbers(3))
    assert released and took < 5


def test_a_reader_that_goes_is_left_while_nothing_is_written():
    async def send(message):
        pass

    async def receive():
        await asyncio.sleep(0.05)
        return {"type": "http.disconnect"}

    released, took = play(send, receive, numbers(1000, pause=1.0), seconds=60)
    assert released and took < 5


def test_work_ends_with_whoever_waits_for_it():
    ended = []

    async def work():
        try:
            await never()
        finally:
            ended.append(True)

    async def inside():
        with pytest.raises(Gone):
            await _unless(asyncio.sleep(0.02), work())
        assert await _unless(never(), asyncio.sleep(0, "answer")) == "answer"
        with pytest.raises(ZeroDivisionError):
            await _unless(never(), fails())

    async def fails():
        raise ZeroDivisionError

    asyncio.run(inside())
    assert ended
