"""`docs/benchmarks.md`, made from the records in `benchmarks/results/`. `python -m benchmarks.page` makes it anew."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cases import CASES, Case
from benchmarks.record import busy_warnings, write_atomically

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
RESULTS = Path(__file__).resolve().parent / "results"
Record = Mapping[str, Any]

HEAD = """# Benchmarks

Made by `python -m benchmarks.page` from `benchmarks/results/*.json`; not edited by hand.

A ratio is the peer's time of a step divided by ours. The sides of a case are processes of their own that wait for their
turn: a block of ours, a block of each peer, the order turned round every other time. Each pair of blocks gives one
ratio; told are their median, and the smallest and largest in brackets. Model, rows, number of virtual tokens, precision
(float32), threads, optimiser (AdamW) and learning rate are the same on all sides.
"""

REPEAT = """## How to repeat it

```
make bench                                         # all cases, about half an hour on two cores
make bench ARGS="--case mrpc-v2 --pairs 9"         # one of them, with more pairs
.venv/bin/python -m benchmarks.run --list          # the cases
.venv/bin/python -m benchmarks.run --quick         # does every case run? Nothing is kept
.venv/bin/python -m benchmarks.run --profile       # the share of the matrix rate, and where the rest goes
.venv/bin/python -m benchmarks.operations          # the operations of each side, counted
.venv/bin/python -m benchmarks.quality --peer p-tuning-v2 --peer p-tuning --peer prompt-tuning   # time to quality
```

The MRPC cases need the data set (`FOREWORD_DATA`, a `shared/data` folder near by, or the hub) and are left out without
it. Run it on a quiet machine: a ratio of 6.6 taken under load was 2.8 without. The record says what others were using
before and while it was taken, and the page warns where that was more than 0.7 cores.
"""

PEERS = """## How the peers are set up, and why

- **Trainer**: PEFT with transformers' `Trainer`, as a first course report has it. Batch 16, rows tokenised in chunks of
  1,000 and padded to their chunk's longest (at most 128), random batches, `model.train()`, so that the frozen trunk
  drops out. What is timed is the real `Trainer.train()`, from the end of one step to the end of the next, the first one
  left out. Its rate falls in a line and its batches are its own, so its losses are not compared.
- **PEFT**: PEFT at its best. A loop of its own, the very batches of similar length that we use, the trunk in eval mode
  and only the prompt encoder in train mode, no mask where nothing is padded, no cache in training. Its classifier would
  read the pooler at the first place, which with virtual tokens in front is a virtual token; it is made to read [CLS].
- **PEFT, sliced**: beyond PEFT's own interface, and without a target: the head is applied by hand to the labelled
  places alone (`logits_to_keep`, or the trunk wrapped without its head). It shows how much of the ratio is the head.
- **AdapterHub**: its library `adapters` in an environment of its own, with the transformers that it pins
  (`benchmarks/adapterhub/requirements.txt`; `python -m benchmarks.adapterhub.environment` makes it). The same loop,
  batches and first values as PEFT at its best. Where the environment is not there, it is left out.

The peers' processes have the C library's ordinary allocator. Ours keep freed memory (`foreword.backbone.allocator`), as
every run of foreword does; peak memory is that of the whole process, loading included.

Where a method is the same on both sides, both start from the same values with dropout off, and the losses of the first
steps are compared before anything is timed. Against PEFT's prefix, our text is moved by P positions
(`position_offset`), as PEFT moves it.
"""


def load(folder: Path = RESULTS) -> dict[str, Record]:
    """The records of pairs by case."""
    return {record["case"]: record for record in others("", folder)}


def others(kind: str, folder: Path = RESULTS) -> list[Record]:
    """The records of a kind: "profile", "quality", "quality-peer", or those of pairs, which name none."""
    found = (json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json")))
    return [record for record in found if record.get("kind", "") == kind]


def render(
    records: Mapping[str, Record], cases: Sequence[Case] = CASES, more: Mapping[str, Sequence[Record]] | None = None
) -> str:
    """The page. Cases without a record are named as not measured. `more`: the records of other kinds."""
    more = more or {}
    known = [case for case in cases if case.name in records]
    parts = [HEAD, _warnings(records), _table(records, cases), _memory(records, known), _weaker(records, known)]
    parts += [_arithmetic(records, known, more.get("operations", ())), _floor(more.get("profile", ()))]
    parts += [_quality(more.get("quality", ()), more.get("quality-peer", ()))]
    parts += [_losses(records, known), _details(records, known), PEERS, REPEAT, _machine(records)]
    return "\n".join(part.rstrip() + "\n" for part in parts if part)


def made(results: Path = RESULTS) -> str:
    """The page of a folder's records."""
    kinds = ("operations", "profile", "quality", "quality-peer")
    return render(load(results), more={kind: others(kind, results) for kind in kinds})


def write(results: Path = RESULTS, target: Path = PAGE) -> None:
    """Read the records, write the page."""
    write_atomically(target, made(results))


def case_lines(record: Record) -> list[str]:
    """One case for the terminal: a line a peer."""
    ours = record["sides"]["ours"]
    return [
        f"{record['case']}: {peer} {_spread(found)} x{_asked(found)}; a {record['unit']} "
        f"{record['sides'][peer]['median_seconds']:.3f} s against {ours['median_seconds']:.3f} s, "
        f"peak memory {record['sides'][peer]['peak_memory_mb']:,.0f} MB against {ours['peak_memory_mb']:,.0f} MB"
        for peer, found in record["ratios"].items()
    ]


# -- parts of the page ------------------------------------------------------------------------------------------------


def _table(records: Mapping[str, Record], cases: Sequence[Case]) -> str:
    lines = [
        "| case | against | asked | measured | seconds: theirs / ours | peak MB: theirs / ours |",
        "|---|---|---|---|---|---|",
    ]
    for case in cases:
        record = records.get(case.name)
        if record is None:
            wanted = ", ".join(f"{name} ≥ {target:g}" for name, target in case.targets.items())
            lines.append(f"| {case.title} | {wanted} | | not measured | | |")
            continue
        ours = record["sides"]["ours"]
        for number, (peer, found) in enumerate(record["ratios"].items()):
            theirs = record["sides"][peer]
            cells = (
                case.title if number == 0 else "",
                peer,
                f"≥ {found['target']:g}" if "target" in found else "",
                f"{_spread(found)}{'' if found.get('met', True) else ' (weaker)'}",
                f"{theirs['median_seconds']:.3g} / {ours['median_seconds']:.3g}",
                f"{theirs['peak_memory_mb']:,.0f} / {ours['peak_memory_mb']:,.0f}",
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "## Speed\n\n" + "\n".join(lines) + "\n"


def _memory(records: Mapping[str, Record], cases: Sequence[Case]) -> str:
    lines = [
        f"- {case.title}, against {peer}: {found['share']:.2f} of theirs, at most {found['target']:g} asked"
        f"{'' if found['met'] else ' (weaker)'}"
        for case in cases
        for peer, found in records[case.name]["memory"].items()
        if "target" in found
    ]
    return "## Peak memory\n\n" + "\n".join(lines) + "\n" if lines else ""


def _weaker(records: Mapping[str, Record], cases: Sequence[Case]) -> str:
    lines = []
    for case in cases:
        for peer, found in records[case.name]["ratios"].items():
            if found.get("met") is False:
                short = 1 - found["median"] / found["target"]
                text = f"{found['median']:.2f} where {found['target']:g} was asked, {short:.0%} short"
                lines.append(f"- {case.title}, against {peer}: {text}.")
        for peer, found in records[case.name]["memory"].items():
            if found.get("met") is False:
                text = f"peak memory {found['share']:.2f} of theirs, {found['target']:g} asked"
                lines.append(f"- {case.title}, against {peer}: {text}.")
        for peer, found in records[case.name]["check"].items():
            if not found["equal"]:
                lines.append(f"- {case.title}, against {peer}: the first losses are not equal, see below.")
    missing = [name for name in (case.name for case in CASES) if name not in records]
    if missing:
        lines.append(f"- Not measured: {', '.join(missing)}.")
    return "## What is weaker than asked\n\n" + ("\n".join(lines) or "Nothing.") + "\n"


def _arithmetic(records: Mapping[str, Record], cases: Sequence[Case], counts: Sequence[Record]) -> str:
    """What the ratios would be where every side ran its matrix products at the same rate, and nothing else."""
    counted = {one["case"]: one["gflop"] for one in counts}
    lines = ["| case | against | GFLOP: theirs / ours | their ratio | measured | asked |", "|---|---|---|---|---|---|"]
    for case in cases:
        found = counted.get(case.name, {})
        for peer, ratio in records[case.name]["ratios"].items():
            if peer in found and "ours" in found:
                asked = f"{ratio['target']:g}" if "target" in ratio else ""
                share = f"{found[peer]:,.1f} / {found['ours']:,.1f} | {found[peer] / found['ours']:.2f}"
                lines.append(f"| {case.title} | {peer} | {share} | {ratio['median']:.2f} | {asked} |")
    told = (
        "By `python -m benchmarks.operations`: the operations of all matrix products of a step, attention's and the "
        "backward pass's among them, counted by torch in each side's own process. A measured ratio above that of the "
        "operations comes from what is no matrix product (dropout, copies, the host), one below it from small products "
        "and element-wise work, of which both sides have the same. Where more is asked than their ratio, "
        "leaving out work that need not be done does not suffice."
    )
    return "\n\n".join(["## What the arithmetic allows", told, "\n".join(lines)]) + "\n" if len(lines) > 2 else ""


def _floor(profiles: Sequence[Record]) -> str:
    """How much of the machine's matrix rate a step reaches, and where the rest goes."""
    if not profiles:
        return ""
    lines = [
        "| case | GFLOP a step | seconds | share of the matrix rate | stages, of the step | largest operators |",
        "|---|---|---|---|---|---|",
    ]
    for one in profiles:
        stages = ", ".join(f"{name} {seconds / one['step']:.0%}" for name, seconds in one["stages"].items())
        operators = ", ".join(f"`{name}` {share:.0%}" for name, share in one["operators"][:5])
        rate = f"{one['share_of_matrix_rate']:.0%} of {one['gflops']:.0f} GF/s"
        lines.append(f"| {one['title']} | {one['gflop']:.1f} | {one['step']:.3f} | {rate} | {stages} | {operators} |")
    told = (
        "Ours alone, by `python -m benchmarks.profiles`. The operations are those of the matrix products that were "
        "run, counted by torch; the rate is that of a large product on this machine, the best of six around the steps."
    )
    busy = [f"> **{one['case']}: {text}.**" for one in profiles for text in _busy(one)]
    return "\n\n".join(["## Against the matrix rate", told, *busy, "\n".join(lines)]) + "\n"


def _quality(found: Sequence[Record], peers: Sequence[Record]) -> str:
    """Minutes until a validation accuracy."""
    if not found:
        return ""
    told = (
        "By `python -m benchmarks.quality`: ours from the recorded runs of `results/mrpc/` (their seconds, spread "
        "evenly over their steps), PEFT's from runs with the same rates, steps and tokens, ended when they reach it. "
        "Ours reads the pair as its recipe says, and PEFT [CLS] by a linear layer, so this is the time of two whole "
        "systems and not of one method. Threads and machines are in the records. Most recorded runs shared their "
        "machine with other work, so that their minutes are no measure of speed; those beside PEFT's ran one after the "
        "other in one process, with as many threads, and ended at the target too."
    )
    busy = [f"> **PEFT, {one['method']}: {text}.**" for one in peers for text in _busy(one)]
    return "\n\n".join(["## Time to quality", told, *busy, "\n".join(table(found[0], peers))]) + "\n"


def table(found: Mapping[str, Any], peers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Markdown: a line a recipe of ours with the median of its seeds, a line a peer's run."""
    target = found["target"]
    lines = [
        f"| who | reached {target:g} on validation | minutes to it | step | minutes of the whole run | test accuracy |",
        "|---|---|---|---|---|---|",
    ]
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for one in found["runs"]:
        groups.setdefault(one["recipe"], []).append(one)
    for recipe, runs in groups.items():
        got = [one for one in runs if one["minutes"] is not None]
        times = sorted(one["minutes"] for one in got)
        told = f"{statistics.median(times):.1f} ({times[0]:.1f} to {times[-1]:.1f})" if times else ""
        shared = max(one["together"] for one in runs)
        whole = f"{statistics.median(one['minutes_in_all'] for one in runs):.1f}"
        beside = f" ({shared} runs in one pass)" if shared > 1 else ""
        steps = ", ".join(str(one["step"]) for one in got)
        test = statistics.fmean(one["test"] for one in runs)
        lines.append(
            f"| ours, {recipe} | {len(got)} of {len(runs)} seeds | {told} | {steps} | {whole}{beside} | {test:.4f} |"
        )
    for one in peers:
        end = f"{one['minutes_in_all']:.1f} | {one['test']:.4f} |"
        lines.append(f"| PEFT, {one['method']} | {_verdict(one, one['seed'])} | {end}")
        if "ours" in one:
            end = f"{one['ours']['minutes_in_all']:.1f} | |"
            lines.append(f"| ours beside it, {one['method']} | {_verdict(one['ours'], one['seed'])} | {end}")
    return lines


def _verdict(run: Mapping[str, Any], seed: int) -> str:
    """Whether a run reached the target, its minutes to it, and its step, as three cells."""
    if run["minutes"] is None:
        return f"no, seed {seed}: {run['best']:.4f} at best | | "
    return f"yes, seed {seed} | {run['minutes']:.1f} | {run['step']}"


def _losses(records: Mapping[str, Record], cases: Sequence[Case]) -> str:
    lines = ["| case | against | first values, ours | theirs | largest difference |", "|---|---|---|---|---|"]
    for case in cases:
        for peer, found in records[case.name]["check"].items():
            size = "none to tell" if found["difference"] is None else f"{found['difference']:.1e}"
            verdict = "" if found["equal"] else " (not equal)"
            cells = (case.title, peer, _curve(found["ours"]), _curve(found["theirs"]), f"{size}{verdict}")
            lines.append(f"| {' | '.join(cells)} |")
    if len(lines) == 2:
        return ""
    return "## The same losses from the same start\n\n" + "\n".join(lines) + "\n"


def _curve(values: Sequence[float]) -> str:
    if len(values) > 8:
        return f"{len(values)} tokens"
    return " ".join(f"{value:.5g}" for value in values)


def _details(records: Mapping[str, Record], cases: Sequence[Case]) -> str:
    parts = ["## The cases, side by side\n"]
    for case in cases:
        record = records[case.name]
        parts.append(f"**{case.title}** (`{case.name}`, {record['date'][:10]}, {record['pairs']} pairs of "
                     f"{record['steps_a_block']}, unit: a {record['unit']})\n")  # fmt: skip
        for name, side in record["sides"].items():
            once = f"; once: {side['once_seconds']:.1f} s" if side["once_seconds"] else ""
            parts.append(f"- {name}: {side['about'] or 'no further settings'}{once}")
        parts.append(f"\n{record['notes']}\n" if record["notes"] else "")
    return "\n".join(parts) if cases else ""


def _warnings(records: Mapping[str, Record]) -> str:
    lines = [f"> **{name}: {text}.**" for name, record in records.items() for text in _busy(record)]
    return "> Not to be relied upon:\n>\n" + "\n".join(lines) + "\n" if lines else ""


def _busy(record: Record) -> list[str]:
    """What must be said of a record's machine, by today's rule and not by that of the day it was written."""
    return busy_warnings(record["load_before"], record["others_before"], record["others_during"])


def _machine(records: Mapping[str, Record]) -> str:
    groups: dict[str, list[str]] = {}
    for name, record in records.items():
        found, versions = record["machine"], record["versions"]
        software = ", ".join(f"{package} {version}" for package, version in versions.items())
        text = (
            f"{found['cpu']}, {found['cores']} cores, {found['memory_gb']:g} GB, {record['threads']} threads a side; "
            f"{software}"
        )
        groups.setdefault(text, []).append(f"{name} ({found['gflops']:.0f} GF/s, load {record['load_before']:.2f})")
    lines = [f"- {text}. Cases, with the measured float32 matrix rate and the load average before the run: "
             f"{', '.join(names)}." for text, names in groups.items()]  # fmt: skip
    return "## The machine\n\n" + "\n".join(lines) + "\n" if lines else ""


def _spread(found: Mapping[str, Any]) -> str:
    return f"{found['median']:.2f} ({found['min']:.2f} to {found['max']:.2f})"


def _asked(found: Mapping[str, Any]) -> str:
    if "target" not in found:
        return ""
    return f" (asked: {found['target']:g}{'' if found['met'] else ', weaker'})"


if __name__ == "__main__":
    write()
