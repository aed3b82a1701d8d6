"""A comparison as Markdown, LaTeX and JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from foreword.comparison import wording
from foreword.comparison.examples import Example, disagreements, worst
from foreword.comparison.results import Run
from foreword.comparison.table import Row, Table

SCHEMA = 1
"""Of the JSON that is written here."""


def markdown(tables: Sequence[Table], gaps: Sequence[str], start: Path = Path()) -> str:
    """All tables, each with its tests and its runs; links lead to the result files from the folder `start`."""
    parts = ["# Comparison", *(part for table in tables for part in section(table, start))]
    return "\n\n".join([*parts, *closing(gaps)]) + "\n"


def closing(gaps: Sequence[str]) -> Iterator[str]:
    """What could not be compared, and how the figures are to be read."""
    if gaps:
        yield "## Not compared"
        yield "\n".join(f"- {_plain(gap)}" for gap in gaps)
    yield "## How to read this"
    yield "\n".join(f"- {_plain(line)}" for line in wording.HOW)


def section(table: Table, start: Path) -> Iterator[str]:
    """One task's part of the page."""
    yield f"## {_plain(table.task)}"
    yield f"{_plain(table.kind)}, {table.size:,} {table.split} rows; tested by {wording.title(table.metric)}."
    yield "\n".join(_table(table, start))
    if machines := wording.machines(table):
        yield f"Times are of {_plain(machines)}."
    if table.contests:
        yield "\n".join(_tests(table))
    if rates := wording.rates(table):
        yield "Searched: " + "; ".join(map(_plain, rates)) + "."
    for name, lines in (("Gaps", table.gaps), ("Notes", table.notes)):
        if lines:
            yield f"{name}:\n\n" + "\n".join(f"- {_plain(line)}" for line in lines)
    if table.runs:
        yield _folded(table, start)


def _table(table: Table, start: Path) -> Iterator[str]:
    heads = ["", "seeds", *(wording.title(metric) for metric in table.shown), *wording.COSTS]
    yield _line(heads)
    yield "|---|---|" + "---:|" * (len(heads) - 2)
    for row in table.rows:
        cells = [_cell(row, metric, table.split) for metric in table.shown]
        name = f"**{_plain(wording.name(row))}**" if row == table.best else _plain(wording.name(row))
        remark = f" *({_plain(wording.remark(row))})*" if wording.remark(row) else ""
        yield _line([name + remark, _seeds(row, start), *cells, *wording.cost(row).values()])


def _cell(row: Row, metric: str, split: str) -> str:
    if row.degenerate:
        return f"~~{wording.raw(row, metric, split)}~~"
    return "" if row.role == "missing" else wording.cell(metric, row.estimates.get(metric))


def _seeds(row: Row, start: Path) -> str:
    """The number of runs, and a link to each by its seed."""
    if row.system is None:
        return ""
    links = wording.links([run.path for run in row.system.all_runs], start)
    named = ", ".join(f"[{run.seed}]({_link(links[run.path])})" for run in row.system.all_runs)
    return f"{wording.seeds(row)}: {named}"


def _tests(table: Table) -> Iterator[str]:
    chosen = important(table)
    left = len(table.contests) - len(chosen)
    part = f", of which those with the best system and with baselines are shown ({left} others are in the JSON)"
    yield f"Paired tests over {table.contests[0].n:,} rows, {len(table.contests)} pairs{part if left else ''}:"
    yield ""
    yield _line(["", f"difference in {wording.title(table.metric)}", "p", "p, bootstrap", "p, Holm", ""])
    yield "|---|---:|---:|---:|---:|---|"
    for one in chosen:
        p_values = map(wording.p_value, (one.randomization, one.bootstrap, one.holm))
        pair, difference = _plain(wording.pair(one)), wording.told(one, table.metric)
        yield _line([pair, difference, *p_values, _plain(wording.verdict(one))])


def important(table: Table, most: int = 15) -> list[Any]:
    """All contests of a small table; of a larger one those of the best system, and those with baselines."""
    if len(table.contests) <= most:
        return list(table.contests)
    named = {table.best.name} if table.best else set()
    named |= {row.name for row in table.rows if row.role == "majority"}
    return [one for one in table.contests if {one.first, one.second} & named]


def _folded(table: Table, start: Path) -> str:
    """Every run with what made it, folded away."""
    links = wording.links([run.path for run in table.runs], start)
    lines = [_line(["run", "seed", "code", "backbone", "repeat it"]), "|---|---:|---|---|---|"]
    for run in table.runs:
        made = f"{run.code[0]} {run.code[1] or ''}".strip()
        weights = f"{run.record.get('backbone')} {str(run.record.get('backbone_fingerprint'))[:12]}"
        name = f"[{_plain(run.name)}]({_link(links[run.path])})"
        lines.append(_line([name, str(run.seed), made, _plain(weights), f"`{wording.command(run)}`"]))
    return "<details><summary>Runs</summary>\n\n" + "\n".join(lines) + "\n\n</details>"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_<>\[\]#~])", r"\\\1", " ".join(text.split()))


def _link(path: str) -> str:
    return path.replace(" ", "%20").replace("(", "%28").replace(")", "%29")


def latex(tables: Sequence[Table]) -> str:
    """A `tabular` for every task, without packages; a comment at each row names its runs."""
    return "\n".join(line for table in tables for line in _tabular(table)) + "\n"


def _tabular(table: Table) -> Iterator[str]:
    heads = ["", "seeds", *(wording.title(metric) for metric in table.shown), "trained", "training"]
    yield f"% {_comment(table.task)}: {table.size} {table.split} rows. " + _comment(wording.HOW[0])
    yield rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}"
    yield r"\hline"
    yield " & ".join(map(escaped, heads)) + r" \\"
    yield r"\hline"
    for row in table.rows:
        if row.system is not None:
            yield "% " + _comment(", ".join(f"seed {run.seed}: {run.path}" for run in row.system.all_runs))
        costs = wording.cost(row)
        cells = [wording.cell(m, row.estimates.get(m)) if m in row.estimates else "--" for m in table.shown]
        name = escaped(wording.name(row) + (" (degenerate)" if row.degenerate else ""))
        name = rf"\textbf{{{name}}}" if row == table.best else name
        rest = [wording.seeds(row), *cells, costs["trained"], costs["training"]]
        yield " & ".join([name, *map(escaped, rest)]) + r" \\"
    yield r"\hline"
    yield r"\end{tabular}"
    yield ""


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "−": "$-$", "<": r"\textless{}",
    ">": r"\textgreater{}", "†": r"\dag{}", "‡": r"\ddag{}", "§": r"\S{}", "¶": r"\P{}", "‖": r"\textbardbl{}",
}  # fmt: skip


def escaped(text: str) -> str:
    """Text as LaTeX prints it."""
    return "".join(_LATEX.get(letter, letter) for letter in text)


def _comment(text: str) -> str:
    return " ".join(text.split())


def plain(tables: Sequence[Table], gaps: Sequence[str]) -> dict[str, Any]:
    """The whole comparison as plain data, every number with the runs it is from."""
    return {"schema": SCHEMA, "tables": [_data(table) for table in tables], "gaps": list(gaps)}


def _data(table: Table) -> dict[str, Any]:
    return {
        "task": table.task,
        "kind": table.kind,
        "split": table.split,
        "size": table.size,
        "metric": table.metric,
        "rows": [_row(row, table) for row in table.rows],
        "contests": [{name: getattr(one, name) for name in one.__dataclass_fields__} for one in table.contests],
        "pareto": {of: [row.name for row in wording.front(table, of)] for of in ("trained", "seconds")},
        "searched": wording.rates(table),
        "disagreements": [_example(one, table) for one in disagreements(table)],
        "worst": [_example(one, table) for one in worst(table)],
        "gaps": list(table.gaps),
        "notes": list(table.notes),
    }


def _example(one: Example, table: Table) -> dict[str, Any]:
    """A row and its answers, without the data's own words: what is right is told where it is a class."""
    right = one.right if table.truth.targets is not None else None
    return {"row": one.row, "hash": one.hash, "right": right, "answers": dict(one.answers)}


def _row(row: Row, table: Table) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": row.name,
        "role": row.role,
        "mark": row.mark,
        "degenerate": row.degenerate,
        "note": wording.remark(row),
        "metrics": {
            name: {"mean": e.mean, "low": e.low, "high": e.high, "n": e.n, "values": dict(map(_named, e.values))}
            for name, e in row.estimates.items()
        },
    }
    if row.system is not None:
        found |= {name: getattr(row.cost, name) for name in row.cost.__dataclass_fields__}
        found["ece"] = None if row.calibration is None else row.calibration.ece
        left = {str(run.path): why for run, why in row.system.left_out}
        found["runs"] = [_run(run, table.split) | {"left_out": left.get(str(run.path))} for run in row.system.all_runs]
    return found


def _named(pair: tuple[int, float]) -> tuple[str, float]:
    return str(pair[0]), pair[1]


def _run(run: Run, split: str) -> dict[str, Any]:
    return {
        "file": run.path.as_posix(),
        "seed": run.seed,
        "method": run.record["method"],
        "metrics": run.metrics(split),
        "code": {"version": run.code[0], "source": run.code[1]},
        "data": run.data(split),
        "backbone": run.record.get("backbone"),
        "backbone_fingerprint": run.record.get("backbone_fingerprint"),
        "versions": run.record["versions"],
        "command": wording.command(run),
    }
