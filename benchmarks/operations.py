"""How many operations each side's matrix products take: what a ratio can be where all run them at the same rate.

python -m benchmarks.operations [--case NAME ...]

Counted, not timed, so that a busy machine does no harm. One JSON a case, and the page.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from benchmarks.cases import CASES, Case, find
from benchmarks.pipe import BenchmarkError, Process
from benchmarks.record import write_json

Count = Callable[[], float]


@contextmanager
def counted() -> Iterator[Count]:
    """Gives a function that tells the gigaoperations of the block so far, backward and attention's among them."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

    def attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return int(sdpa_flop_count(query, key, value))

    def back(grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return int(sdpa_backward_flop_count(grad, query, key, value))

    aten = torch.ops.aten
    more: dict[Any, Callable[..., int]] = {
        aten._scaled_dot_product_flash_attention_for_cpu: attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: back,
    }
    with FlopCounterMode(display=False, custom_mapping=more) as counter:
        yield lambda: counter.get_total_flops() / 1e9


def measure(case: Case, threads: int = 2) -> dict[str, Any]:
    """The gigaoperations a step of every side of a case, each in a process of its own; sides that cannot run, why."""
    found, left_out = dict[str, float](), dict[str, str]()
    for name, factory in case.sides.items():
        with Process(f"{case.name}: {name}", threads) as side:
            answer = side.ask("prepare", factory=factory, settings=dict(case.settings), threads=threads)
            if "skip" in answer:
                left_out[name] = answer["skip"]
                continue
            side.ask("check", count=case.check_steps)  # the same steps as those that are timed come next
            found[name] = side.ask("operations", start=case.check_steps, count=case.steps)["gflop"]
    return {
        "kind": "operations",
        "case": case.name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "steps": case.steps,
        "gflop": found,
        "left_out": left_out,
    }


def main(given: Sequence[str] | None = None) -> int:
    """Count the cases that are named, or all, and make the page."""
    from benchmarks import page

    parser = argparse.ArgumentParser(prog="python -m benchmarks.operations", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--case", action="append", help="a case of the benchmark (may be given again; default: all)")
    chosen = parser.parse_args(given)
    wrong = 0
    for case in [find(name) for name in chosen.case] if chosen.case else CASES:
        try:
            record = measure(case)
        except BenchmarkError as error:
            print(error, file=sys.stderr)
            wrong = 1
            continue
        told = ", ".join(f"{name} {value:.1f}" for name, value in record["gflop"].items())
        print(f"{case.name}: GFLOP a {case.unit}: {told}", flush=True)
        if record["gflop"]:
            write_json(page.RESULTS / f"operations-{case.name}.json", record)
    page.write(page.RESULTS)
    return wrong


if __name__ == "__main__":
    raise SystemExit(main())
