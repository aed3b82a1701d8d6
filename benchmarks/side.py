"""What every side of a comparison is. Nothing heavy is loaded here."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

Settings = Mapping[str, Any]


class Skip(Exception):
    """This case cannot be run here, and the message says why."""


class Side:
    """One way of doing a case, ready to go.

    `once`: seconds that were spent once for all epochs before the first step. `about`: how it is set up, in a sentence.
    """

    once: float = 0.0
    about: str = ""

    def step(self, number: int) -> float:
        """Do step `number`, all of it; its loss."""
        raise NotImplementedError

    def check(self, count: int) -> list[float]:
        """What steps 0 to `count` - 1 give, to be held against another side's; untimed."""
        return [self.step(number) for number in range(count)]

    def figures(self) -> dict[str, Any]:
        """What else there is to tell of it, as plain data; asked of a process of its own."""
        return {}

    def block(self, start: int, count: int) -> tuple[float, list[float]]:
        """Steps `start` and on: seconds a step by the wall clock, and the losses."""
        losses = []
        started = time.perf_counter()
        for number in range(start, start + count):
            losses.append(self.step(number))
        return (time.perf_counter() - started) / count, losses

    def operations(self, start: int, count: int) -> float:
        """Gigaoperations a step of the matrix products of steps `start` and on."""
        from benchmarks.operations import counted

        with counted() as told:
            self.block(start, count)
            return told() / count
