"""Where our step's time goes, and which share of the machine's matrix rate it reaches; one JSON a case.

python -m benchmarks.profiles [--case NAME ...] [--steps 20] [--threads N] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from benchmarks import page
from benchmarks.cases import Case, find
from benchmarks.operations import counted
from benchmarks.record import machine, versions, watched, write_json
from benchmarks.side import Side, Skip

PROFILED = ("mrpc-v2", "smollm-p100")
"""The cases that a share of the matrix rate is asked of."""
FIRST = 2
"""Steps that are not counted."""
OPERATORS = 8


def measure(case: Case, steps: int, watch: float = 2.0) -> dict[str, Any]:
    """The record of one case. **Raises** `Skip` where its data or model is not to be had.

    `gflop`: operations of a step's matrix products, counted while it ran. `gflops`: the machine's rate for such
    products, the best of six trials around the steps. The share is of the median step.
    """
    import torch

    from benchmarks import ours
    from foreword.training.cost import matrix_rate

    with _cache_as_it_was() as made_one:
        side: Side = ours.causal(case.settings) if case.name.startswith("smollm") else ours.mrpc(case.settings)
        made_one.append(side)
        with watched(watch) as quiet:
            rates = [matrix_rate() for _ in range(3)]
            made = _looped(side, steps) if isinstance(side, ours.Looped) else _staged(side, steps)
            rates += [matrix_rate() for _ in range(3)]
        gflop, rate = statistics.median(_operations(side, FIRST, steps)), max(rates) / 1e9
    return {
        "kind": "profile",
        "case": case.name,
        "title": case.title,
        "about": side.about,
        "settings": dict(case.settings),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "steps": steps,
        "threads": torch.get_num_threads(),
        **made,
        "gflop": gflop,
        "gflops": rate,
        "share_of_matrix_rate": gflop / rate / made["step"],
        "machine": machine(),
        "versions": versions(),
        **quiet,
    }


@contextmanager
def _cache_as_it_was() -> Iterator[list[Any]]:
    """Sides set a cache of their own, which the next one's model is not in: back to the user's, and theirs removed."""
    before, sides = os.environ.get("FOREWORD_CACHE"), list[Any]()
    try:
        yield sides
    finally:
        os.environ.pop("FOREWORD_CACHE", None)
        os.environ.update({} if before is None else {"FOREWORD_CACHE": before})
        for side in sides:
            side.kept.cleanup()


def _looped(side: Any, steps: int) -> dict[str, Any]:
    """A run of `foreword train`, as `foreword profile` looks at it. Its loop is another, so the side's is untouched."""
    from foreword.profile import profile

    found = profile(side.prepared, steps)
    return {"step": found.step, "stages": found.stages, "operators": found.operators, "gflop_planned": found.gflop}


def _staged(side: Any, steps: int) -> dict[str, Any]:
    """A side whose step tells its stages."""
    import torch

    seconds: dict[str, list[float]] = {}
    wholes: list[float] = []

    @contextmanager
    def clock(stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        seconds.setdefault(stage, []).append(time.perf_counter() - started)

    side.stage = clock
    for number in range(FIRST + steps):
        started = time.perf_counter()
        side.step(number)
        wholes.append(time.perf_counter() - started)
    stages = {stage: statistics.median(found[FIRST:]) for stage, found in seconds.items()}
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        side.step(0)
    averages: Sequence[Any] = seen.key_averages()
    whole = sum(one.self_cpu_time_total for one in averages) or 1.0
    largest = sorted(averages, key=lambda one: -one.self_cpu_time_total)[:OPERATORS]
    operators = [(one.key, round(one.self_cpu_time_total / whole, 4)) for one in largest]
    return {"step": statistics.median(wholes[FIRST:]), "stages": stages, "operators": operators}


def _operations(side: Side, first: int, steps: int) -> list[float]:
    """Gigaoperations of the matrix products of the same steps, forward and backward, attention's among them."""
    found = []
    for number in range(first + steps):
        with counted() as told:
            side.step(number)
            found.append(told())
    return found[first:]


def lines(record: Mapping[str, Any]) -> list[str]:
    """A record for the terminal."""
    stages = ", ".join(f"{stage} {seconds * 1e3:.0f} ms" for stage, seconds in record["stages"].items())
    return [
        f"{record['case']}: {record['gflop']:.1f} GFLOP in {record['step']:.3f} s, "
        f"{record['share_of_matrix_rate']:.0%} of the machine's {record['gflops']:.0f} GF/s; {stages}",
        *(f"WARNING: {text}" for text in record["warnings"]),
    ]


def main(given: Sequence[str] | None = None) -> int:
    """Profile what the command line asks for; 0 when all of it could be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profiles", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--case", action="append", choices=PROFILED, help="only this one (may be given again)")
    parser.add_argument("--steps", type=int, default=20, help="steps that are timed")
    parser.add_argument("--threads", type=int, default=machine()["cores"], help="default: cores")
    parser.add_argument("--json", action="store_true", help="print the records to standard output")
    chosen = parser.parse_args(given)
    if chosen.steps < 1 or chosen.threads < 1:
        parser.error("--steps and --threads are at least 1")
    import torch

    torch.set_num_threads(chosen.threads)
    records = []
    for name in chosen.case or PROFILED:
        try:
            record = measure(find(name), chosen.steps)
        except Skip as reason:
            print(f"{name}: left out: {reason}", file=sys.stderr)
            continue
        write_json(page.RESULTS / f"profile-{name}.json", record)
        records.append(record)
        print("\n".join(lines(record)), file=sys.stderr)
    page.write(page.RESULTS)
    if chosen.json:
        print(json.dumps(records, indent=1))
    return 0 if records else 1


if __name__ == "__main__":
    sys.exit(main())
