"""A worker process as the driver sees it: orders go in, answers come out, one JSON object a line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.adapterhub import environment as adapterhub

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 20.0


class BenchmarkError(Exception):
    """A case that cannot be finished; the message names the side and the reason."""


class Process:
    """One worker. Used as a context: it is ended when the context is left, however that comes about."""

    def __init__(self, name: str, threads: int, environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        self._process = subprocess.Popen(
            [_python(name), "-m", "benchmarks.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
            cwd=ROOT,
            env=surroundings(threads) | _own(name) | dict(environment or {}),
        )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
        self._errors.close()

    def ask(self, do: str, **values: Any) -> dict[str, Any]:
        """Send an order and wait for its answer. **Raises** `BenchmarkError` when there is none, or it is an error."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **values}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise BenchmarkError(f"{self.name}: the worker has ended\n{self._tail()}") from None
        line = self._process.stdout.readline()
        if not line:
            raise BenchmarkError(f"{self.name}: the worker ended during '{do}'\n{self._tail()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            self.close()
            raise BenchmarkError(f"{self.name}: {do}: {answer['error']}\n{self._tail()}")
        return answer

    def close(self) -> None:
        """End the worker: it leaves when there are no more orders, and is ended when it does not."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _tail(self) -> str:
        self._errors.seek(0)
        return "".join(self._errors.readlines()[-20:])


def missing(name: str) -> str | None:
    """Why a side of that name cannot be started; None where it can."""
    return adapterhub.missing() if name == adapterhub.NAME else None


def _python(name: str) -> str:
    return str(adapterhub.python()) if name == adapterhub.NAME else sys.executable


def _own(name: str) -> dict[str, str]:
    """What a side in an environment of its own needs: our Python's name, and nothing of our source."""
    if name != adapterhub.NAME:
        return {}
    return {"FOREWORD_BENCH_PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}


def surroundings(threads: int) -> dict[str, str]:
    """One number of threads for every library, our source on the path, no network, no chatter."""
    path = [str(ROOT), str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "PYTHONPATH": os.pathsep.join(path),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }
