"""The driver: every case of the server, one JSON each, then the page.

python -m benchmarks.serving [--case NAME ...] [--pairs 5] [--threads N] [--json] [--list] [--quick]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import run as pairs
from benchmarks.cases import Case
from benchmarks.pipe import BenchmarkError, Process
from benchmarks.record import busy_seconds, busy_warnings, machine, others_during, others_now, write_json
from benchmarks.run import LEAST_PAIRS, Conditions, Say, Skipped, conditions_of
from benchmarks.serving import page
from benchmarks.serving.cases import CASES, Asked, Figures, find

RESULTS = Path(__file__).resolve().parents[1] / "results" / "serving"


def measure(case: Case | Figures, conditions: Conditions, say: Say) -> dict[str, Any]:
    """The record of a case. **Raises** `Skipped` with the reason; `BenchmarkError` where a side fails."""
    if isinstance(case, Figures):
        return _figures(case, conditions, say)
    record = pairs.measure(case, conditions, say)
    told, _ = _told(case.sides["ours"], case.settings, conditions.threads)
    return record | {"figures": told}


def _figures(case: Figures, conditions: Conditions, say: Say) -> dict[str, Any]:
    say(f"{case.name}: it runs")
    others = others_now(conditions.watch)
    before, began = busy_seconds(), time.perf_counter()
    told, cpu = _told(case.side, case.settings, conditions.threads)
    during = others_during(before, busy_seconds(), cpu, time.perf_counter() - began)
    return {
        "case": case.name,
        "kind": "figures",
        "title": case.title,
        "notes": case.notes,
        "settings": case.settings,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "threads": conditions.threads,
        "figures": told,
        "asked": [_verdict(one, told) for one in case.asked],
        "machine": dict(conditions.machine),
        "versions": dict(conditions.versions),
        "load_before": conditions.load,
        "others_before": others,
        "others_during": during,
        "warnings": busy_warnings(conditions.load, others, during),
    }


def _told(factory: str, settings: Mapping[str, Any], threads: int) -> tuple[dict[str, Any], float]:
    """What a side tells of itself, in a process of its own, and the seconds of work that it and its own took."""
    with Process("ours", threads) as side:
        answer = side.ask("prepare", factory=factory, settings=dict(settings), threads=threads)
        if "skip" in answer:
            raise Skipped(answer["skip"])
        told: dict[str, Any] = side.ask("figures")["figures"]
        cpu = float(side.ask("facts")["cpu_seconds"]) + float(told.get("server_cpu_seconds", 0.0))
    return told, cpu


def _verdict(asked: Asked, told: Mapping[str, Any]) -> dict[str, Any]:
    """A figure, what was asked of it, and whether it is met."""
    value: Any = told
    for part in asked.name.split("."):
        value = value[part]
    met = (asked.most is None or value <= asked.most) and (asked.least is None or value >= asked.least)
    bounds = {"most": asked.most, "least": asked.least}
    return {"name": asked.name, "value": value, **{k: v for k, v in bounds.items() if v is not None}, "met": met}


def run(
    cases: Sequence[Case | Figures], conditions: Conditions, results: Path, say: Say
) -> tuple[list[dict[str, Any]], list[str]]:
    """Measure and write every case; one that fails does not keep the others. The records, and what went wrong."""
    records, wrong = [], []
    for case in cases:
        began = time.perf_counter()
        try:
            record = measure(case, conditions, say)
        except Skipped as reason:
            say(f"{case.name}: left out: {reason}")
            record = {"case": case.name, "kind": "skipped", "title": case.title, "reason": str(reason)}
        except BenchmarkError as error:
            wrong.append(f"{case.name}: {error}")
            say(wrong[-1])
            continue
        record |= {"seconds": time.perf_counter() - began}
        write_json(results / f"{case.name}.json", record)
        records.append(record)
        for text in page.case_lines(record):
            say(text)
    return records, wrong


def quick(case: Case | Figures) -> Case | Figures:
    """The smallest form of a case, which only shows that it runs."""
    if isinstance(case, Figures):
        return replace(case, settings=case.settings | case.quick)
    few = {"new": 4} if "new" in case.settings else {"forewords": min(case.settings.get("forewords", 1), 8)}
    return replace(case, settings={**case.settings, **few}, steps=2, check_steps=1)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--case", action="append", metavar="NAME", help="only this one (may be given again)")
    parser.add_argument("--pairs", type=int, default=LEAST_PAIRS, help="blocks of each side (default and least: 5)")
    parser.add_argument("--threads", type=int, default=machine()["cores"], help="of every side (default: cores)")
    parser.add_argument("--json", action="store_true", help="print the records to standard output")
    parser.add_argument("--list", action="store_true", help="name the cases and stop")
    parser.add_argument("--quick", action="store_true", help="the smallest form of each case; nothing is kept")
    chosen = parser.parse_args(given)
    if chosen.pairs < LEAST_PAIRS and not chosen.quick:
        parser.error(f"at least {LEAST_PAIRS} pairs are recorded; --quick tries a case out")
    if chosen.threads < 1:
        parser.error("--threads is at least 1")
    return chosen


def main(given: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; 0 when all of it went well."""
    chosen = arguments(given)
    if chosen.list:
        for case in CASES:
            print(f"{case.name:16} {case.title}")
        return 0
    try:
        cases = [find(name) for name in chosen.case] if chosen.case else list(CASES)
    except KeyError as error:
        print(error.args[0], file=sys.stderr)
        return 2
    if chosen.quick:
        cases = [quick(case) for case in cases]
    conditions = conditions_of(1 if chosen.quick else chosen.pairs, chosen.threads, 0.2 if chosen.quick else 2.0)
    with ExitStack() as stack:
        kept = not chosen.quick
        results = RESULTS if kept else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="foreword-bench-")))
        try:
            records, wrong = run(cases, conditions, results, _say)
        finally:  # an interrupt keeps the cases that are done
            if kept:
                page.write()
    if chosen.json:
        print(json.dumps(records, indent=1))
    return 1 if wrong else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
