"""The driver: every case's sides in turn, at least five pairs, one JSON a case, then the page.

python -m benchmarks.run [--case NAME ...] [--pairs 5] [--steps N] [--threads N] [--json] [--list] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import page
from benchmarks.cases import CASES, Case, find
from benchmarks.pipe import BenchmarkError, Process, missing
from benchmarks.record import (
    busy_seconds,
    busy_warnings,
    compared,
    machine,
    memory_share,
    others_during,
    others_now,
    ratios,
    write_json,
)

RESULTS = Path(__file__).resolve().parent / "results"
LEAST_PAIRS = 5
WATCH = 2.0
"""Seconds that the machine is watched before a case, while all workers wait."""

Start = Callable[[str, int], Process]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Conditions:
    """Under what a case is run. `machine`, `versions`: as told by a worker. `load`: the average before the run."""

    pairs: int
    threads: int
    load: float
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    watch: float = WATCH


class Skipped(Exception):
    """A side said that this case cannot be run here."""


def measure(case: Case, conditions: Conditions, say: Say = lambda text: None, start: Start = Process) -> dict[str, Any]:
    """Run one case. **Raises** `Skipped` with the reason; `BenchmarkError` where a side fails."""
    case = _possible(case, say)
    with ExitStack() as stack:
        sides = {name: stack.enter_context(start(name, conditions.threads)) for name in case.sides}
        about = {name: _prepare(case, name, side, conditions.threads, say) for name, side in sides.items()}
        check, first = _check(case, sides)
        others = others_now(conditions.watch)
        before, cpu, began = busy_seconds(), _cpu(sides), time.perf_counter()
        blocks = _blocks(case, sides, conditions.pairs, first, say)
        wall = time.perf_counter() - began
        during = others_during(before, busy_seconds(), _cpu(sides) - cpu, wall)
        memory = {name: side.ask("facts")["memory_mb"] for name, side in sides.items()}
    seconds = {name: [one["seconds"] for one in found] for name, found in blocks.items()}
    peers = [name for name in case.sides if name != "ours"]
    return {
        "case": case.name,
        "title": case.title,
        "unit": case.unit,
        "notes": case.notes,
        "settings": dict(case.settings),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "pairs": conditions.pairs,
        "steps_a_block": case.steps,
        "threads": conditions.threads,
        "precision": "float32",
        "sides": {
            name: about[name]
            | {
                "seconds": seconds[name],
                "median_seconds": statistics.median(seconds[name]),
                "peak_memory_mb": memory[name],
                "losses": [one["losses"] for one in blocks[name]],
            }
            for name in case.sides
        },
        "ratios": {name: ratios(seconds["ours"], seconds[name], case.targets.get(name)) for name in peers},
        "memory": {name: memory_share(memory["ours"], memory[name], case.memory.get(name)) for name in peers},
        "check": check,
        "machine": dict(conditions.machine),
        "versions": dict(conditions.versions),
        "load_before": conditions.load,
        "others_before": others,
        "others_during": during,
        "warnings": busy_warnings(conditions.load, others, during),
    }


def _possible(case: Case, say: Say) -> Case:
    """The case without the optional sides that cannot be started. **Raises** `Skipped` where no peer is left."""
    absent = {name: reason for name in case.optional if (reason := missing(name))}
    for name, reason in absent.items():
        say(f"{case.name}: without {name}: {reason}")
    sides = {name: factory for name, factory in case.sides.items() if name not in absent}
    if len(sides) < 2:
        raise Skipped("; ".join(absent.values()))
    return replace(case, sides=sides, checked=tuple(name for name in case.checked if name in sides))


def _prepare(case: Case, name: str, side: Process, threads: int, say: Say) -> dict[str, Any]:
    say(f"{case.name}: {name} is made ready")
    answer = side.ask("prepare", factory=case.sides[name], settings=dict(case.settings), threads=threads)
    if "skip" in answer:
        raise Skipped(answer["skip"])
    return {"about": answer["about"], "once_seconds": answer["once_seconds"], "loaded_mb": answer["memory_mb"]}


def _check(case: Case, sides: Mapping[str, Process]) -> tuple[dict[str, Any], int]:
    """First steps of all sides, which warm them up as well; those of equal methods are compared. Next step's number."""
    values: dict[str, list[float]] = {}
    for name, side in sides.items():
        values[name] = side.ask("check", count=case.check_steps)["values"]
        if not values[name]:  # the Trainer has batches of its own
            side.ask("block", start=0, count=1)
    found = {name: compared(values["ours"], values[name], case.tolerance) for name in case.checked if name in sides}
    return found, case.check_steps


def _blocks(
    case: Case, sides: Mapping[str, Process], pairs: int, first: int, say: Say
) -> dict[str, list[dict[str, Any]]]:
    """Blocks of all sides in turn, the order turned round every other time; the same steps for all."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for pair in range(pairs):
        order = list(sides) if pair % 2 == 0 else list(sides)[::-1]
        for name in order:
            found[name].append(sides[name].ask("block", start=first + pair * case.steps, count=case.steps))
        said = ", ".join(f"{name} {found[name][-1]['seconds']:.3f} s" for name in sides)
        say(f"{case.name}: pair {pair + 1} of {pairs}: {said}")
    return found


def _cpu(sides: Mapping[str, Process]) -> float:
    return sum(side.ask("facts")["cpu_seconds"] for side in sides.values())


def conditions_of(pairs: int, threads: int, watch: float = WATCH) -> Conditions:
    """The machine as it is now, its matrix rate measured in a process of its own."""
    load = os.getloadavg()[0]
    with Process("machine", threads) as worker:
        told = worker.ask("machine", threads=threads)
    return Conditions(pairs, threads, load, machine() | {"gflops": told["gflops"]}, told["versions"], watch)


def run(
    cases: Sequence[Case], conditions: Conditions, results: Path, say: Say, start: Start = Process
) -> tuple[list[dict[str, Any]], list[str]]:
    """Measure and write every case; one that fails does not keep the others. The records, and what went wrong."""
    records, wrong = [], []
    for case in cases:
        try:
            record = measure(case, conditions, say, start)
        except Skipped as reason:
            say(f"{case.name}: left out: {reason}")
            continue
        except BenchmarkError as error:
            wrong.append(f"{case.name}: {error}")
            say(wrong[-1])
            continue
        write_json(results / f"{case.name}.json", record)
        records.append(record)
        for text in (*page.case_lines(record), *(f"WARNING: {one}" for one in record["warnings"])):
            say(text)
    return records, wrong


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--case", action="append", metavar="NAME", help="only this one (may be given again)")
    parser.add_argument("--pairs", type=int, default=LEAST_PAIRS, help="blocks of each side (default and least: 5)")
    parser.add_argument("--steps", type=int, help="steps of a block, instead of the case's own number")
    parser.add_argument("--threads", type=int, default=machine()["cores"], help="of every side (default: cores)")
    parser.add_argument("--json", action="store_true", help="print the records to standard output")
    parser.add_argument("--list", action="store_true", help="name the cases and stop")
    parser.add_argument("--profile", action="store_true", help="the share of the matrix rate instead, and by stages")
    parser.add_argument("--quick", action="store_true", help="one pair of two steps a case; nothing is kept")
    chosen = parser.parse_args(given)
    if chosen.pairs < LEAST_PAIRS and not chosen.quick:
        parser.error(f"at least {LEAST_PAIRS} pairs are recorded; --quick tries a case out")
    if chosen.threads < 1 or (chosen.steps is not None and chosen.steps < 1):
        parser.error("--threads and --steps are at least 1")
    return chosen


def main(given: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; 0 when all of it went well."""
    chosen = arguments(given)
    if chosen.list:
        for case in CASES:
            print(f"{case.name:18} {case.title} [{', '.join(case.sides)}]")
        return 0
    if chosen.profile:
        from benchmarks import profiles

        wanted = [f"--case={name}" for name in chosen.case or ()]
        return profiles.main([*wanted, f"--threads={chosen.threads}", *(["--json"] if chosen.json else [])])
    try:
        cases = [find(name) for name in chosen.case] if chosen.case else list(CASES)
    except KeyError as error:
        print(error.args[0], file=sys.stderr)
        return 2
    steps, pairs = (2, 1) if chosen.quick else (chosen.steps, chosen.pairs)
    cases = [replace(case, steps=steps or case.steps) for case in cases]
    if chosen.quick:
        cases = [replace(case, check_steps=min(case.check_steps, 2)) for case in cases]
    conditions = conditions_of(pairs, chosen.threads, 0.5 if chosen.quick else WATCH)
    with ExitStack() as stack:
        kept = not chosen.quick
        results = RESULTS if kept else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="foreword-bench-")))
        try:
            records, wrong = run(cases, conditions, results, _say)
        finally:  # an interrupt keeps the cases that are done
            if kept:
                page.write(RESULTS)
    if chosen.json:
        print(json.dumps(records, indent=1))
    return 1 if wrong else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
