"""Runs side by side share a writer's batches, and are what they would be alone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from foreword.errors import ConfigError
from foreword.stories import write
from foreword.stories.writers import Request
from foreword.stories.writers.base import Advance, Done
from foreword.stories.writers.pool import Pool
from support.story_writers import GOOD, SMALL, Scripted


class Batches(Scripted):
    """Keeps how many requests came at once."""

    def __init__(self, *answers: object) -> None:
        super().__init__(*answers)  # type: ignore[arg-type]
        self.sizes: list[int] = []

    def write(self, requests: Sequence[Request], done: Done, advance: Advance) -> None:
        self.sizes.append(len(requests))
        super().write(requests, done, advance)


def test_what_all_wait_for_is_written_at_once():
    writer, made = Batches(GOOD), {}

    def job(name, n):
        return lambda who: made.__setitem__(name, write(SMALL, n=n, writer=who, seed=n))

    Pool(writer).run([job("a", 2), job("b", 3), job("c", 1)])
    assert writer.sizes == [6]
    assert {name: len(one.candidates) for name, one in made.items()} == {"a": 2, "b": 3, "c": 1}
    alone = write(SMALL, n=3, writer=Scripted(GOOD), seed=3)
    assert [one.seed for one in made["b"].candidates] == [one.seed for one in alone.candidates]
    assert made["b"].tokens == alone.tokens and made["b"].writer == "scripted"


def test_a_run_that_needs_more_goes_on_when_others_have_ended():
    lost = GOOD.replace("friendly dragon", "old goat")
    writer = Batches(lost, GOOD, " bomb.")
    made = []
    Pool(writer).run([lambda who: made.append(write(SMALL, n=1, writer=who)) for _ in range(2)])
    assert writer.sizes == [2, 1, 1]
    assert sorted(one.stories[0].passed for one in made) == [False, True]


def test_a_mistake_is_told_when_all_have_ended():
    done = []

    def wrong(who):
        raise ConfigError("no such thing")

    with pytest.raises(ConfigError, match="no such thing"):
        Pool(Scripted(GOOD)).run([wrong, lambda who: done.append(write(SMALL, n=1, writer=who))])
    assert len(done) == 1


def test_an_interrupt_reaches_every_run_and_nothing_is_lost():
    made = []
    writer = Batches(GOOD, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        Pool(writer).run([lambda who: made.append(write(SMALL, n=1, writer=who)) for _ in range(2)])
    assert sum(len(one.candidates) for one in made) == 1
    assert [one.stopped for one in made] == ["interrupted", "interrupted"]
