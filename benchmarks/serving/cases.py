"""The cases, as data: pairs of sides that take turns, and figures that one side tells of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.cases import Case

OURS = "benchmarks.serving"
MINILM = {"model": "minilm-l6", "tokens": 16, "window": 32, "seed": 0}
SMOL = {"model": "smollm2-135m-instruct", "tokens": 20, "new": 24, "seed": 0}


@dataclass(frozen=True)
class Asked:
    """A figure that is asked for: at most, or at least, so much. `name`: its path in the figures, dots between."""

    name: str
    most: float | None = None
    least: float | None = None


@dataclass(frozen=True)
class Figures:
    """A case of one side, which tells figures of itself. `quick`: settings in which it only shows that it runs."""

    name: str
    title: str
    side: str
    settings: dict[str, Any]
    quick: dict[str, Any]
    asked: tuple[Asked, ...] = ()
    notes: str = ""


CASES: tuple[Case | Figures, ...] = (
    Case(
        name="classify-64",
        title="64 forewords, windows of 32 short classification requests, MiniLM",
        sides={
            "ours": f"{OURS}.classify:mixed",
            "peft, a request at a time": f"{OURS}.peers:each",
            "peft, grouped": f"{OURS}.peers:grouped",
        },
        settings=MINILM | {"forewords": 64},
        targets={"peft, a request at a time": 8.0, "peft, grouped": 8.0},
        checked=("peft, a request at a time", "peft, grouped"),
        steps=6,
        check_steps=2,
        unit="window of 32 requests",
        notes="P-Tuning v2 (PEFT's prefix tuning) of 16 virtual tokens and a linear layer on [CLS], the same random "
        "values on all sides; the answers' scores are compared. Requests name their foreword at random, so a window "
        "has about 25 different ones. All sides begin with tokens. Grouped is PEFT's strongest form of switching: one "
        "pass for all requests of an adapter in the window. PEFT's mixed batches (`adapter_names`) take no prefix.",
    ),
    Case(
        name="forewords-1000",
        title="the same requests over 1,000 forewords, against all of them for one",
        sides={"ours": f"{OURS}.classify:mixed", "one foreword": f"{OURS}.classify:one"},
        settings=MINILM | {"forewords": 1000},
        targets={"one foreword": 0.8},
        steps=12,
        check_steps=2,
        unit="window of 32 requests",
        notes="Both sides are foreword; a ratio of 1 means that a thousand forewords cost nothing, and 0.8 that the "
        "throughput falls by a fifth.",
    ),
    Case(
        name="write-8",
        title="8 texts of 8 tasks, each behind its own prompt of 20, 24 new tokens each, SmolLM2",
        sides={"ours": f"{OURS}.write:mixed", "peft": "benchmarks.peers:generation"},
        settings=SMOL,
        targets={"peft": 3.0},
        checked=("peft",),
        steps=1,
        check_steps=1,
        tolerance=0.0,
        unit="round of 8 requests",
        notes="PEFT switches adapters, one request after the other: a batch of one adapter has one request here. What "
        "is compared in place of scores is the tokens.",
    ),
    Case(
        name="write-front",
        title="the same 8 texts behind their prompts, against the bare model",
        sides={"ours": f"{OURS}.write:mixed", "bare model": f"{OURS}.write:bare"},
        settings=SMOL | {"new": 48},
        targets={"bare model": 0.95},
        steps=1,
        check_steps=1,
        unit="round of 8 requests",
        notes="Both sides are foreword; the same texts, and as many tokens written. 0.95 means that a foreword in "
        "front costs 5%.",
    ),
    Case(
        name="write-packed",
        title="the same 8 texts of the bare model, with weights laid out for steps, against weights as they are",
        sides={"ours": f"{OURS}.write:bare", "as they are": f"{OURS}.write:unpacked"},
        settings=SMOL,
        targets={},
        checked=("as they are",),
        steps=1,
        check_steps=1,
        tolerance=0.0,
        unit="round of 8 requests",
        notes="Both sides are foreword; what `--no-pack` costs in time; the peak memory of each says what it saves.",
    ),
    Case(
        name="vectors",
        title="the one-shot path on the base model, against transformers in a loop: windows of 32 texts, MiniLM",
        sides={"ours": f"{OURS}.classify:vectors", "transformers": f"{OURS}.peers:transformers_vectors"},
        settings=MINILM,
        targets={},
        checked=("transformers",),
        steps=12,
        check_steps=2,
        unit="window of 32 texts",
        notes="`transformers serve` has no route for vectors or labels, so the peer is the loop that a script has.",
    ),
    Case(
        name="generate-batch",
        title="the generation path on the base model, against transformers' continuous batching",
        sides={"ours": f"{OURS}.write:bare", "generate_batch": f"{OURS}.peers:generate_batch"},
        settings=SMOL,
        targets={},
        checked=("generate_batch",),
        steps=1,
        check_steps=1,
        tolerance=0.0,
        unit="round of 8 requests",
    ),
    Figures(
        name="first-token",
        title="time to the first token under load: 8 tasks, requests at random times, SmolLM2",
        side=f"{OURS}.latency:load",
        settings=SMOL | {"requests": 48, "loads": [0.3, 0.6, 0.9], "new": 16},
        quick={"requests": 3, "loads": [0.6], "new": 4},
        notes="`load_60`: requests come at 60% of the rate at which rounds of eight are answered; times between them "
        "are exponential, and nothing waits for an answer before it asks. Without HTTP.",
    ),
    Figures(
        name="long-prompt",
        title="a prompt of 2,000 tokens while 4 texts are being written, SmolLM2: gaps between their tokens",
        side=f"{OURS}.latency:long_prompt",
        settings=SMOL | {"prompt": 2000, "new": 64},
        quick={"prompt": 400, "new": 16},
        notes="`whole`: the first pass in one piece, as before; `pieces`: at most `prefill_tokens` between two steps.",
    ),
    Figures(
        name="folder-10000",
        title="10,000 forewords in the folder: start, and memory while 1,500 of them are asked for",
        side=f"{OURS}.folder:many",
        settings=MINILM | {"forewords": 10_000, "requests": 1500, "memory_mib": 64},
        quick={"forewords": 50, "requests": 40},
        asked=(Asked("start_seconds", most=10.0), Asked("resident_share", most=1.0)),
        notes="The start is that of the process until it listens, the model's loading included. Each foreword is "
        "P-Tuning v2 of 16 virtual tokens (288 KiB), so the bound holds about 220; files are links to one another. "
        "`base_mb` is the process's memory before the first request.",
    ),
    Figures(
        name="http-classify",
        title="the same requests by HTTP: 64 forewords, 32 askers on the same machine, MiniLM",
        side=f"{OURS}.folder:asked",
        settings=MINILM | {"forewords": 64, "requests": 1500, "concurrency": 32},
        quick={"forewords": 4, "requests": 40, "concurrency": 4},
        notes="One server, one client, two cores for both; tokens are made by the server. Templates and answers are "
        "those of the product.",
    ),
    Figures(
        name="http-write",
        title="texts by HTTP: the demo's forewords, 8 askers on the same machine, SmolLM2",
        side=f"{OURS}.folder:written",
        settings=SMOL | {"requests": 40, "concurrency": 8, "new": 24},
        quick={"requests": 4, "concurrency": 2, "new": 4},
        notes="Streams; `first_token` and `inter_token` are as the client sees them.",
    ),
)


def find(name: str) -> Case | Figures:
    """The case called `name`. **Raises** `KeyError` that lists the known ones."""
    for case in CASES:
        if case.name == name:
            return case
    raise KeyError(f"no case is called {name!r}; there are: {', '.join(case.name for case in CASES)}")
