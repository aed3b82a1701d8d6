"""`docs/serving-benchmarks.md`, from `benchmarks/results/serving/`; `python -m benchmarks.serving.page` makes it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cases import Case
from benchmarks.record import write_atomically
from benchmarks.serving.cases import CASES, Figures

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "serving-benchmarks.md"
RESULTS = Path(__file__).resolve().parents[1] / "results" / "serving"
Record = Mapping[str, Any]

HEAD = """# The server under load

Made by `python -m benchmarks.serving.page` from `benchmarks/results/serving/*.json`; not edited by hand.

A ratio is the peer's time divided by ours, of the same requests. The sides of a case are processes of their own that
take turns: a block of ours, a block of each peer, the order turned round every other time. Each pair of blocks gives
one ratio; told are their median, and the smallest and largest in brackets. Everything is in float32, on the same number
of threads. Where both sides compute the same, their answers are compared before anything is timed.
"""

REPEAT = """## How to repeat it

```
python -m benchmarks.serving                            # all cases, under 20 minutes on two quiet cores
python -m benchmarks.serving --case classify-64         # one of them
python -m benchmarks.serving --quick                    # does every case run? Nothing is kept
python -m benchmarks.serving.soak --minutes 20          # is it still whole after twenty minutes of everything?
```
"""


def load(folder: Path = RESULTS) -> dict[str, Record]:
    """The records by case."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return {record["case"]: record for record in found}


def render(records: Mapping[str, Record], cases: Sequence[Case | Figures] = CASES) -> str:
    """The page. Cases without a record are named as not measured."""
    pairs = [case for case in cases if isinstance(case, Case)]
    alone = [case for case in cases if isinstance(case, Figures)]
    parts = [HEAD, _warnings(records), _ratios(pairs, records), _floor(pairs, records)]
    parts += [_figures(case, records.get(case.name)) for case in alone]
    parts += [_soak(records.get("soak")), _details(pairs, records), REPEAT, _machine(records)]
    return "\n".join(part.rstrip() + "\n" for part in parts if part)


def write(results: Path = RESULTS, target: Path = PAGE) -> None:
    """Read the records, write the page."""
    write_atomically(target, render(load(results)))


def case_lines(record: Record) -> list[str]:
    """One case for the terminal."""
    name = record["case"]
    if record.get("kind") == "skipped":
        return [f"{name}: left out: {record['reason']}"]
    told = [f"{name}: {line}" for line in _leaves(record["figures"])] if record.get("kind") else []
    for peer, found in record.get("ratios", {}).items():
        equal = record["check"].get(peer, {}).get("equal", True)
        told.append(f"{name}: {peer} {_spread(found)} x{_asked(found)}{'' if equal else '; THE ANSWERS DIFFER'}")
    return [*told, *(f"WARNING: {name}: {one}" for one in record["warnings"])]


# -- parts of the page ------------------------------------------------------------------------------------------------


def _ratios(cases: Sequence[Case], records: Mapping[str, Record]) -> str:
    lines = ["| case | against | asked | measured | a second: theirs / ours | answers |", "|---|---|---|---|---|---|"]
    for case in cases:
        record = records.get(case.name)
        if record is None:
            peers = ", ".join(name for name in case.sides if name != "ours")
            lines.append(f"| {case.title} | {peers} | | not measured | | |")
        elif record.get("kind") == "skipped":
            lines.append(f"| {case.title} | | | left out: {record['reason']} | | |")
        else:
            lines += _ratio_lines(case, record)
    return "## Against peers, without HTTP\n\n" + "\n".join(lines) + "\n"


def _ratio_lines(case: Case, record: Record) -> list[str]:
    lines, size, unit = [], *_items(case)
    for number, (peer, found) in enumerate(record["ratios"].items()):
        rates = [size(record) / record["sides"][side]["median_seconds"] for side in (peer, "ours")]
        check = record["check"].get(peer)
        cells = (
            case.title if not number else "",
            peer,
            f"≥ {found['target']:g}" if "target" in found else "",
            f"{_spread(found)}{'' if found.get('met', True) else ' (weaker)'}",
            f"{rates[0]:.3g} / {rates[1]:.3g} {unit}",
            "" if check is None else "equal" if check["equal"] else "NOT EQUAL",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _items(case: Case) -> tuple[Any, str]:
    """How many things a unit has, by its record, and what they are."""
    if "window" in case.settings:
        return (lambda record: record["settings"]["window"]), "requests"
    return (lambda record: record["figures"]["tokens_a_round"]), "tokens"


def _floor(cases: Sequence[Case], records: Mapping[str, Record]) -> str:
    lines = ["| case | needed | machine's rate | floor | ours | ours ÷ floor |", "|---|---|---|---|---|---|"]
    for case in cases:
        record = records.get(case.name)
        if record is None or "floor" not in record.get("figures", {}):
            continue
        floor, ours = record["figures"]["floor"], record["sides"]["ours"]["median_seconds"]
        read = f"; {floor['weights_read_gb']:.1f} GB of weights are read" if "weights_read_gb" in floor else ""
        lines.append(
            f"| {case.name} | {floor['gflop']:.2f} GFLOP {floor['unit']}{read} | {floor['gflops']:.0f} GF/s | "
            f"{floor['seconds'] * 1e3:.0f} ms | {ours * 1e3:.0f} ms | {ours / floor['seconds']:.1f} |"
        )
    told = (
        "The operations of the matrix products that the answers need (no padding, the last layer where it is read) "
        "÷ the rate of a large product on this machine. A step of texts has few rows, and reading the weights is then "
        "the tighter bound."
    )
    return "\n\n".join(["## Against the floor", told, "\n".join(lines)]) + "\n" if len(lines) > 2 else ""


def _figures(case: Figures, record: Record | None) -> str:
    if record is None or record.get("kind") == "skipped":
        why = "not measured" if record is None else f"left out: {record['reason']}"
        return f"## {_upper(case.title)}\n\n{why}\n"
    lines = [f"- {line}" for line in _leaves(record["figures"])]
    for one in record["asked"]:
        bound = f"at most {one['most']:g}" if "most" in one else f"at least {one['least']:g}"
        lines.append(f"- asked of {one['name']}: {bound}; {'met' if one['met'] else 'WEAKER'}")
    note = f"{record['notes']}\n\n" if record["notes"] else ""
    return f"## {_upper(case.title)}\n\n{note}" + "\n".join(lines) + "\n"


def _leaves(values: Mapping[str, Any], path: str = "") -> list[str]:
    """A line a figure; the spread of one kind of seconds in one line."""
    lines = []
    for name, value in values.items():
        here = f"{path} {name}".strip()
        if isinstance(value, Mapping) and value and all(isinstance(one, (int, float)) for one in value.values()):
            lines.append(f"{here}: " + ", ".join(f"{key} {_number(one)}" for key, one in value.items()))
        elif isinstance(value, Mapping):
            lines += _leaves(value, here)
        elif name != "server_cpu_seconds":
            lines.append(f"{here}: {_number(value)}")
    return lines


def _soak(record: Record | None) -> str:
    if record is None:
        return "## A soak of everything\n\nnot measured\n"
    told = record["figures"]
    minutes = " ".join(f"{value:.0f}" for value in told["memory_mb_by_minute"])
    lines = [
        f"- {told['minutes']:g} minutes, {told['requests']:,} requests, {told['left_early']:,} of them left early by "
        f"their clients, {told['replaced']} forewords replaced; failures: {told['failures']}",
        f"- memory by minute, MB: {minutes}",
        f"- a straight line through the minutes from the {told['from_minute']}th on rises by "
        f"{told['leak_mb_per_minute']:.2f} MB a minute",
    ]
    return "## A soak of everything\n\n" + f"{record['notes']}\n\n" + "\n".join(lines) + "\n"


def _details(cases: Sequence[Case], records: Mapping[str, Record]) -> str:
    parts = ["## The cases, side by side\n"]
    for case in cases:
        record = records.get(case.name)
        if record is None or record.get("kind") == "skipped":
            continue
        parts.append(f"**{case.title}** (`{case.name}`, {record['date'][:10]}, {record['pairs']} pairs of "
                     f"{record['steps_a_block']}, unit: a {record['unit']})\n")  # fmt: skip
        for name, side in record["sides"].items():
            parts.append(f"- {name}: {side['about']}; {side['peak_memory_mb']:,.0f} MB at most")
        parts.append(f"\n{record['notes']}\n" if record["notes"] else "")
    return "\n".join(parts) if len(parts) > 1 else ""


def _warnings(records: Mapping[str, Record]) -> str:
    lines = [f"> **{name}: {text}.**" for name, record in records.items() for text in record.get("warnings", ())]
    return "> Not to be relied upon:\n>\n" + "\n".join(lines) + "\n" if lines else ""


def _machine(records: Mapping[str, Record]) -> str:
    groups: dict[str, list[str]] = {}
    for name, record in records.items():
        if "machine" not in record:
            continue
        found = record["machine"]
        software = ", ".join(f"{package} {version}" for package, version in record["versions"].items())
        hardware = f"{found['cpu']}, {found['cores']} cores, {found['memory_gb']:g} GB"
        text = f"{hardware}, {record['threads']} threads; {software}"
        busy = record["others_during"]
        groups.setdefault(text, []).append(name if busy is None else f"{name} ({busy:.2f})")
    lines = [f"- {text}. Cases, with the cores that others used meanwhile: {', '.join(names)}."
             for text, names in groups.items()]  # fmt: skip
    return "## The machine\n\n" + "\n".join(lines) + "\n" if lines else ""


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return "yes" if value is True else "no" if value is False else str(value)


def _spread(found: Mapping[str, Any]) -> str:
    return f"{found['median']:.2f} ({found['min']:.2f} to {found['max']:.2f})"


def _asked(found: Mapping[str, Any]) -> str:
    return f" (asked: {found['target']:g}{'' if found['met'] else ', weaker'})" if "target" in found else ""


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


if __name__ == "__main__":
    write()
