"""The process on the other end of the pipe: one side of one case.

It reads one JSON object a line and answers each with one. Whatever a library prints goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from benchmarks.record import versions
from benchmarks.side import Side, Skip


class Worker:
    """A side once it is asked for, and what it does with orders."""

    def __init__(self) -> None:
        self._side: Side | None = None

    def answer(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Do what `order["do"]` says."""
        doing = {
            "prepare": self._prepare,
            "check": self._check,
            "block": self._block,
            "operations": self._operations,
            "facts": self._facts,
            "figures": self._figures,
            "machine": self._machine,
        }
        return doing[str(order["do"])](order)

    def _prepare(self, order: Mapping[str, Any]) -> dict[str, Any]:
        module, _, name = str(order["factory"]).partition(":")
        started = time.perf_counter()
        try:
            self._side = getattr(importlib.import_module(module), name)(order["settings"])
        except Skip as reason:
            return {"skip": str(reason)}
        _check_threads(order["threads"])
        return {
            "prepared_seconds": time.perf_counter() - started,
            "once_seconds": self._ready.once,
            "about": self._ready.about,
            "memory_mb": _peak(),
        }

    @property
    def _ready(self) -> Side:
        if self._side is None:
            raise RuntimeError("no side is prepared")
        return self._side

    def _check(self, order: Mapping[str, Any]) -> dict[str, Any]:
        return {"values": self._ready.check(order["count"])}

    def _block(self, order: Mapping[str, Any]) -> dict[str, Any]:
        seconds, losses = self._ready.block(order["start"], order["count"])
        return {"seconds": seconds, "losses": losses}

    def _operations(self, order: Mapping[str, Any]) -> dict[str, Any]:
        return {"gflop": self._ready.operations(order["start"], order["count"])}

    def _facts(self, order: Mapping[str, Any]) -> dict[str, Any]:
        return {"memory_mb": _peak(), "cpu_seconds": time.process_time()}

    def _figures(self, order: Mapping[str, Any]) -> dict[str, Any]:
        return {"figures": self._ready.figures()}

    def _machine(self, order: Mapping[str, Any]) -> dict[str, Any]:
        from foreword.training.cost import matrix_rate

        _check_threads(order["threads"])
        return {"gflops": max(matrix_rate() for _ in range(3)) / 1e9, "versions": versions()}


def serve(orders: TextIO, answers: TextIO) -> None:
    """Answer every line until there are no more. A failure is an answer too, and the last one."""
    worker = Worker()
    for line in orders:
        try:
            answer = worker.answer(json.loads(line))
        except Exception as error:  # told to the driver, which names case and side
            answers.write(json.dumps({"error": f"{type(error).__name__}: {error}"}) + "\n")
            answers.flush()
            raise
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _check_threads(wanted: int) -> None:
    """The number of threads comes by the environment; a side that has changed it would not be comparable."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != wanted:
        raise RuntimeError(f"{torch.get_num_threads()} threads where {wanted} were asked for")


def _peak() -> float:
    """The largest resident size of this process so far, in MB (2**20)."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    """Serve on the process's own standard input and output."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
