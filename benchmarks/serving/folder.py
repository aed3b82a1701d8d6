"""A server in a process of its own over a folder of forewords, and a client on the same machine."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.common import named_model
from benchmarks.serving.requests import short_texts
from benchmarks.side import Settings, Side
from foreword import registry
from foreword.artifacts import storage
from foreword.assembly import assemble
from foreword.backbone.loading import load
from foreword.config import RunConfig, build
from foreword.serving import load as load_test


def many(settings: Settings) -> Side:
    """A folder of very many forewords."""
    return Many(settings)


def asked(settings: Settings) -> Side:
    """Short texts for labels."""
    return Asked(settings)


def written(settings: Settings) -> Side:
    """Texts of the demo's forewords."""
    return Written(settings)


class Server:
    """`foreword serve` with these arguments. `seconds`: from its start until it listens."""

    def __init__(self, *given: str) -> None:
        command = [sys.executable, "-m", "foreword", "serve", *given, "--port", "0"]
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # a pipe would fill
        began = time.perf_counter()
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.seconds = time.perf_counter() - began
        if not line.startswith("serving at "):
            self._errors.seek(0)
            raise RuntimeError(f"the server does not start: {self._errors.read()[-1000:]}")
        self.url = line.removeprefix("serving at ").strip()

    @property
    def memory_mb(self) -> float:
        """What the process holds now (2**20 bytes); 0 where the system does not tell."""
        try:
            text = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        except OSError:
            return 0.0
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS")) / 1024

    def metric(self, name: str) -> float:
        """A figure of `/metrics`."""
        text = httpx.get(f"{self.url}/metrics", verify=False, timeout=60).text
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"foreword:{name} "))

    def close(self) -> None:
        """End it, by a signal first."""
        self.process.terminate()
        try:
            self.process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        self._errors.close()


@contextmanager
def serving(*given: str) -> Iterator[Server]:
    """A server for the block."""
    server = Server(*given)
    try:
        yield server
    finally:
        server.close()


def make(settings: Settings, root: Path, count: int) -> None:
    """`count` forewords with labels below `root`: P-Tuning v2 and a linear layer, each of its own seed."""
    backbone = load(settings["model"])
    for number in range(count):
        values: dict[str, Any] = {
            "data": "none", "backbone": settings["model"], "task": "classification", "seed": number,
            "method": {"name": "p-tuning-v2", "num_virtual_tokens": settings["tokens"]},
            "readout": {"name": "linear", "position": "cls"}, "template": {"text": "{text}", "max_length": 64},
        }  # fmt: skip
        task = registry.tasks.get("classification")()
        made = assemble(build(RunConfig, values), backbone, task, ("no", "yes"), ())
        storage.save(made, root / f"task-{number}", f"task-{number}")


def linked(root: Path, first: Path, count: int) -> None:
    """`count` folders that hold what `first` holds, by links of files, so that the disk is not filled."""
    for number in range(count):
        folder = root / f"task-{number:05}"
        folder.mkdir()
        for file in first.iterdir():
            os.link(file, folder / file.name)


@dataclass
class Watch:
    """What a server holds, looked at twice a second while it is asked."""

    server: Server
    memory: list[float] = field(default_factory=list)
    resident: list[float] = field(default_factory=list)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """For the block."""
        stop = threading.Event()

        def look() -> None:
            while not stop.wait(0.5):
                self.memory.append(self.server.memory_mb)
                self.resident.append(self.server.metric("forewords_resident_bytes"))

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self.memory.append(self.server.memory_mb)
            self.resident.append(self.server.metric("forewords_resident_bytes"))


class Many(Side):
    """So many forewords that they are far from fitting into memory."""

    def __init__(self, settings: Settings) -> None:
        named_model(settings["model"])
        self.settings = settings
        self.about = "foreword serve, and a client in another process"

    def figures(self) -> dict[str, object]:
        settings, count = self.settings, self.settings["forewords"]
        with tempfile.TemporaryDirectory(prefix="foreword-bench-") as name:
            make(settings, Path(name) / "first", 1)
            (root := Path(name) / "all").mkdir()
            linked(root, Path(name) / "first" / "task-0", count)
            with serving(str(root), "--memory", str(settings["memory_mib"])) as server:
                base, watch = server.memory_mb, Watch(server)
                chance = random.Random(settings["seed"])
                names = [f"task-{chance.randrange(count):05}" for _ in range(settings["requests"])]
                with watch.watching():
                    texts = short_texts(len(names), settings["seed"])
                    found = load_test.run(server.url, names, len(names), 16, texts, 1)
                loads, gone = server.metric("foreword_loads_total"), server.metric("foreword_evictions_total")
        return {
            "forewords": count,
            "start_seconds": server.seconds,
            "base_mb": base,
            "largest_mb": max(watch.memory),
            "resident_mb": max(watch.resident) / 2**20,
            "resident_share": max(watch.resident) / 2**20 / settings["memory_mib"],
            "loads": loads,
            "evictions": gone,
            "asked": found.facts(),
            "server_cpu_seconds": _children(),
        }


class Asked(Side):
    """Labels of short texts, over HTTP."""

    def __init__(self, settings: Settings) -> None:
        named_model(settings["model"])
        self.settings = settings
        self.about = "foreword serve, and a client in another process"

    def figures(self) -> dict[str, object]:
        settings = self.settings
        texts = short_texts(settings["requests"], settings["seed"] + 1)
        with tempfile.TemporaryDirectory(prefix="foreword-bench-") as name:
            make(settings, Path(name), settings["forewords"])
            with serving(name) as server:
                load_test.run(server.url, (), settings["forewords"], settings["concurrency"], texts, 1)
                found = load_test.run(server.url, (), settings["requests"], settings["concurrency"], texts, 1)
        return {**found.facts(), "server_cpu_seconds": _children()}


class Written(Side):
    """Streams of the demo's forewords, over HTTP."""

    def __init__(self, settings: Settings) -> None:
        named_model(settings["model"])
        self.settings = settings
        self.about = "foreword serve --demo, and a client in another process"

    def figures(self) -> dict[str, object]:
        settings = self.settings
        names, texts = ("summary", "french"), short_texts(settings["requests"], settings["seed"] + 1)
        with serving("--demo") as server:
            load_test.run(server.url, names, 4, 2, texts, settings["new"])
            found = load_test.run(
                server.url, names, settings["requests"], settings["concurrency"], texts, settings["new"]
            )
        return {**found.facts(), "server_cpu_seconds": _children()}


def _children() -> float:
    """Seconds of work of the servers that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
