"""Everything at once for a long time: mixed load, clients that come and go, forewords that are replaced.

python -m benchmarks.serving.soak [--minutes 20] [--model NAME] [--json]

Written down: memory by minute, failures (0 is asked), and by how much a straight line through the minutes rises. By
default the model is a small random one with a real tokenizer, so that as many requests as possible go through.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.common import named_model
from benchmarks.record import machine, versions, watched, write_json
from benchmarks.serving import page
from benchmarks.serving.folder import Server, serving
from benchmarks.serving.requests import short_texts
from benchmarks.serving.run import RESULTS

KEPT = 20.0
"""Minutes from which on a soak is written down."""
WARM = 3
"""Minutes that are not part of the line: fronts, buffers and pages are made in them."""
ASKERS, FOREWORDS = 12, 8
TEXTS = tuple(short_texts(24, 5))


@dataclass
class Heard:
    """What came of all requests. `first`: the first answer to each thing asked, which all later ones must equal."""

    done: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    first: dict[tuple[str, str], Any] = field(default_factory=dict)
    replaced: int = 0
    memory: list[tuple[float, float]] = field(default_factory=list)


def folder(root: Path, model: str) -> None:
    """Forewords that write and that give labels, of several methods, and a second version of two of them."""
    from foreword import registry
    from foreword.artifacts import storage
    from foreword.assembly import assemble
    from foreword.backbone.loading import load
    from foreword.config import RunConfig, build

    backbone = load(model)
    methods: tuple[dict[str, Any], ...] = (
        {"name": "p-tuning-v2", "num_virtual_tokens": 12},
        {"name": "prompt-tuning", "num_virtual_tokens": 10, "init": "random"},
        {"name": "lora", "r": 4},
        {"name": "hard"},
    )
    kinds: dict[str, dict[str, Any]] = {
        "judge": {"task": "classification", "template": {"text": "{text}", "max_length": 64},
                  "readout": {"name": "linear", "position": "last"}},
        "writer": {"task": "translation", "template": {"text": "In other words: {source}{mask}", "max_length": 96},
                   "readout": {"name": "lm", "max_new_tokens": 12}},
    }  # fmt: skip
    for kind, values in kinds.items():
        for number in range(FOREWORDS + 1):
            method = methods[number % len(methods)] if number < FOREWORDS else methods[0]
            if kind == "judge" and method["name"] == "hard":
                method = {"name": "linear-probe"}
            name = f"{kind}-{number}" if number < FOREWORDS else f".{kind}-other"
            config = build(RunConfig, {"data": "none", "backbone": model, "method": method, "seed": number, **values})
            task = registry.tasks.get(str(values["task"]))()
            labels = ("no", "yes") if kind == "judge" else ()
            storage.save(assemble(config, backbone, task, labels, ()), root / name, name)


def small_model(target: Path) -> str:
    """A random Llama of two layers with SmolLM2's tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(named_model("smollm2-135m-instruct"))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=1024,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(target)
    tokenizer.save_pretrained(target)
    return str(target)


async def ask(client: httpx.AsyncClient, base: str, chance: random.Random, heard: Heard) -> None:
    """One request of a random kind, and whether its answer is right."""
    kind = chance.choice(("classify", "classify", "embed", "write", "write", "stream", "leave", "sample", "wrong"))
    text, number = chance.choice(TEXTS), chance.randrange(FOREWORDS)
    writer = chance.choice((base, f"writer-{number}"))
    body: dict[str, Any] = {"model": writer, "prompt": text, "max_tokens": chance.randint(1, 16), "temperature": 0}
    if kind == "classify":
        answer = await client.post("/v1/classify", json={"model": f"judge-{number}", "input": text})
        _same(heard, answer, f"judge-{number}", text, lambda a: round(a["data"][0]["probability"], 3))
    elif kind == "embed":
        answer = await client.post("/v1/embeddings", json={"model": base, "input": [text, "short"]})
        _same(heard, answer, "vector", text, lambda a: [round(x, 3) for x in a["data"][0]["embedding"][:4]])
    elif kind == "write":
        answer = await client.post("/v1/completions", json=body | {"max_tokens": 8})
        _same(heard, answer, writer, text, lambda a: a["choices"][0]["text"])
    elif kind == "sample":
        answer = await client.post("/v1/completions", json=body | {"temperature": 1.0, "seed": 1, "n": 2})
        _status(heard, answer, 200)
    elif kind == "wrong":
        answer = await client.post("/v1/completions", json=body | {"model": "nobody"})
        _status(heard, answer, 404)
    else:
        await _stream(client, body | {"stream": True}, kind == "leave", heard)
    heard.done[kind] += 1


async def _stream(client: httpx.AsyncClient, body: dict[str, Any], leave: bool, heard: Heard) -> None:
    async with client.stream("POST", "/v1/completions", json=body) as answer:
        if answer.status_code != 200:
            heard.failures[f"stream: {answer.status_code}"] += 1
            return
        last = ""
        async for line in answer.aiter_lines():
            if leave and line:
                return
            last = line or last
        if last != "data: [DONE]":
            heard.failures["a stream without an end"] += 1


def _status(heard: Heard, answer: httpx.Response, wanted: int) -> bool:
    if answer.status_code != wanted:
        heard.failures[f"{answer.status_code} instead of {wanted}: {answer.text[:120]}"] += 1
    return answer.status_code == wanted


def _same(heard: Heard, answer: httpx.Response, model: str, text: str, read: Any) -> None:
    """The answer equals the first one; those of a foreword that is being replaced have two first ones."""
    if not _status(heard, answer, 200):
        return
    value = read(answer.json())
    known = heard.first.setdefault((model, text), [])
    if value not in known:
        known.append(value)
        if len(known) > (2 if model in ("judge-0", "writer-0") else 1):
            heard.failures[f"another answer of {model}"] += 1


async def asker(url: str, base: str, seed: int, until: float, heard: Heard) -> None:
    """Requests one after another, over a connection that is left for a new one now and then."""
    chance = random.Random(seed)
    while time.monotonic() < until:
        async with httpx.AsyncClient(base_url=url, timeout=60, verify=False) as client:
            for _ in range(chance.randint(1, 40)):
                if time.monotonic() > until:
                    break
                try:
                    await ask(client, base, chance, heard)
                except httpx.HTTPError as error:
                    heard.failures[f"{type(error).__name__}"] += 1


async def churn(url: str, root: Path, until: float, heard: Heard) -> None:
    """Every two seconds: a foreword is replaced on disk, by another and back; one is unloaded and loaded."""
    versions = {kind: [root / f".{kind}-a", root / f".{kind}-other"] for kind in ("judge", "writer")}
    for kind, (first, _) in versions.items():
        shutil.copytree(root / f"{kind}-0", first)
    async with httpx.AsyncClient(base_url=url, timeout=60, verify=False) as client:
        while time.monotonic() < until:
            await asyncio.sleep(2)
            for kind, both in versions.items():
                heard.replaced += 1
                await asyncio.to_thread(_replace, root / f"{kind}-0", both[heard.replaced // 2 % 2])
            answer = await client.post("/v1/load_foreword", json={"path": "writer-1"})
            _status(heard, answer, 200)


def _replace(folder: Path, by: Path) -> None:
    """As `storage.save` does it: a new folder beside, and two renames."""
    made, gone = folder.with_name(f".new-{folder.name}"), folder.with_name(f".gone-{folder.name}")
    shutil.copytree(by, made)
    folder.rename(gone)
    made.rename(folder)
    shutil.rmtree(gone)


async def watch(server: Server, began: float, until: float, heard: Heard) -> None:
    """The server's memory every five seconds."""
    while time.monotonic() < until:
        heard.memory.append((time.monotonic() - began, server.memory_mb))
        await asyncio.sleep(5)


async def soaked(server: Server, root: Path, base: str, minutes: float) -> Heard:
    """All of it."""
    heard, began = Heard(), time.monotonic()
    until = began + minutes * 60
    askers = [asker(server.url, base, seed, until, heard) for seed in range(ASKERS)]
    await asyncio.gather(*askers, churn(server.url, root, until, heard), watch(server, began, until, heard))
    return heard


def figures(heard: Heard, minutes: float) -> dict[str, Any]:
    """The record's figures; the line goes through all samples behind the first minutes."""
    by_minute: dict[int, list[float]] = {}
    for second, size in heard.memory:
        by_minute.setdefault(int(second // 60), []).append(size)
    first = min(WARM, max(0, len(by_minute) - 2))
    late = [(second / 60, size) for second, size in heard.memory if second >= first * 60]
    at, sizes = np.array(late).T if len(late) > 1 else (np.zeros(2), np.zeros(2))
    lean = at - at.mean()
    slope = float((lean * sizes).sum() / max((lean * lean).sum(), 1e-9))  # by least squares
    return {
        "minutes": minutes,
        "requests": sum(heard.done.values()),
        "by_kind": dict(heard.done),
        "left_early": heard.done["leave"],
        "replaced": heard.replaced,
        "failures": sum(heard.failures.values()),
        "failed_by": dict(heard.failures),
        "memory_mb_by_minute": [statistics.median(by_minute[minute]) for minute in sorted(by_minute)],
        "from_minute": first + 1,
        "leak_mb_per_minute": slope,
    }


def main(given: Sequence[str] | None = None) -> int:
    """Soak, and write it down; 0 where nothing failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving.soak", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--minutes", type=float, default=KEPT, help=f"kept from {KEPT:g} on (default: {KEPT:g})")
    parser.add_argument("--model", help="a model instead of the small random one")
    parser.add_argument("--json", action="store_true", help="print the record to standard output")
    chosen = parser.parse_args(given)
    with tempfile.TemporaryDirectory(prefix="foreword-soak-") as name:
        model = chosen.model or small_model(Path(name) / "model")
        folder(root := Path(name) / "forewords", model)
        with watched() as quiet, serving(str(root), "--memory", "1", "--runtime-loading", "--queue", "1024") as server:
            heard = asyncio.run(soaked(server, root, Path(model).name, chosen.minutes))
    told = figures(heard, chosen.minutes)
    record = {
        "case": "soak",
        "kind": "figures",
        "title": "a soak of everything",
        "notes": f"{ASKERS} askers over connections that they leave for new ones, labels, vectors, texts whole and "
        "streamed, streams that are left, wrong requests; 16 forewords of five methods in memory for a part of them, "
        f"and every two seconds two are replaced on disk. Model: {chosen.model or 'a random Llama of two layers'}. "
        "Every greedy answer is compared with the first one to the same request.",
        "settings": {"minutes": chosen.minutes, "askers": ASKERS},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "threads": machine()["cores"],
        "figures": told,
        "machine": machine(),
        "versions": versions(),
        **quiet,
        "warnings": [],  # nothing is timed
    }
    if chosen.minutes >= KEPT:
        write_json(RESULTS / "soak.json", record)
        page.write()
    text = json.dumps(record, indent=1) if chosen.json else "\n".join(f"{k}: {v}" for k, v in told.items())
    print(text, flush=True)
    return 1 if told["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
