"""A page that a paper could print: every task among the results, in Markdown, without a word of the data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from foreword.comparison import texts, wording
from foreword.comparison.table import Table


def study(tables: Sequence[Table], gaps: Sequence[str], place: Path, command: str) -> str:
    """The page as text; links lead to the result files from where the page is. `command` is what makes it."""
    runs = sum(len(table.runs) for table in tables)
    head = [
        "# Study",
        f"Made by `{command}` from {runs} recorded runs on {len(tables)} task(s); no figure is written by hand. "
        "A number in the column *seeds* leads to its run's file, and the runs' list says what repeats each.",
        _summary(tables),
    ]
    sections = (part for table in tables for part in texts.section(table, place.parent))
    return "\n\n".join([*head, *sections, *texts.closing(gaps)]) + "\n"


def _summary(tables: Sequence[Table]) -> str:
    lines = [
        "| task | rows | metric | best system | seeds | score | better than, after Holm |",
        "|---|---:|---|---|---|---:|---|",
    ]
    for table in tables:
        best = table.best
        if best is None:
            lines.append(f"| {table.task} | {table.size:,} | {wording.title(table.metric)} | none | | | |")
            continue
        beaten, tested = wording.beaten(table)
        cells = (
            table.task, f"{table.size:,}", wording.title(table.metric), best.name, wording.seeds(best),
            wording.cell(table.metric, best.estimates[table.metric]),
            f"{beaten} of {tested} others" if tested else "not tested",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
