"""`foreword compare RESULTS…`."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from foreword.comparison.results import Read
    from foreword.comparison.table import Table
    from foreword.comparison.testing import Contest

YAMLS = (".yaml", ".yml")


def compare(
    what: Annotated[
        list[Path],
        typer.Argument(help="Result files, run folders, folders of these; recipes or a plan (YAML) to train first."),
    ],
    metric: Annotated[str | None, typer.Option(help="The metric that is tested (default: the task's first).")] = None,
    show: Annotated[str | None, typer.Option(help="The metrics in the table, such as accuracy,f1.")] = None,
    task: Annotated[str | None, typer.Option(help="One task among the results, by its data's name.")] = None,
    split: Annotated[str, typer.Option(help="test or validation.")] = "test",
    seeds: Annotated[str | None, typer.Option(help="Seeds to train recipes with, such as 0,1,2.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Copy the results of what is trained into this folder too.")] = None,
    resamples: Annotated[int, typer.Option(min=100, help="Resamples and exchanges of the tests.")] = 10_000,
    html: Annotated[Path | None, typer.Option(help="Write one self-contained page.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write Markdown.")] = None,
    latex: Annotated[Path | None, typer.Option(help="Write LaTeX.")] = None,
    study: Annotated[Path | None, typer.Option(help="Write a study of every task: Markdown with a summary.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write JSON.")] = None,
    texts: Annotated[bool, typer.Option(help="Show single rows' texts on the page, where the data are.")] = True,
    allow_mixed: Annotated[
        bool, typer.Option("--allow-mixed", help="Show results of different data or code, with a mark.")
    ] = False,
    recipe: Annotated[bool, typer.Option("--recipe", help="Print the first result's recipe and stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare runs: means and intervals over seeds, paired tests, baselines, cost; as a table, a page, LaTeX, JSON."""
    from foreword.comparison.options import Options
    from foreword.comparison.results import read
    from foreword.comparison.table import tables
    from foreword.comparison.texts import plain
    from foreword.errors import ConfigError

    if split not in ("test", "validation"):
        raise ConfigError(f"there is no split '{split}'", where="--split", do="write test or validation")
    places, failed = _trained(what, seeds, keep)
    found = read(places)
    gaps = (*failed, *found.gaps)
    if recipe:
        typer.echo(_recipe(found), nl=False)
        return
    runs = [run for run in found.runs if task in (None, run.table[0])]
    if not runs:
        known = ", ".join(sorted({run.table[0] for run in found.runs}))
        raise ConfigError(f"no result is of the task '{task}'", where="--task", do=f"known: {known}")
    shown = tuple(part.strip() for part in (show or "").split(",") if part.strip())
    options = Options(split, metric, shown, resamples, allow_mixed=allow_mixed, texts=html is not None and texts)
    made, without = tables(runs, options)
    gaps = (*gaps, *without)
    files = {"html": html, "markdown": markdown, "latex": latex, "study": study, "json": output}
    outputs = {kind: place for kind, place in files.items() if place is not None}
    _write(made, gaps, outputs)
    if as_json:
        typer.echo(json.dumps(plain(made, gaps), allow_nan=False))
    else:
        _show(made, gaps, outputs)


def _trained(what: Sequence[Path], seeds: str | None, keep: Path | None) -> tuple[list[Path], Sequence[str]]:
    """The given results, and the folders of those runs that the YAML files among them ask for, trained by now.

    And what hindered those that could not be trained.
    """
    from foreword.cli.train import several
    from foreword.errors import ConfigError

    plans = [path for path in what if path.suffix in YAMLS]
    places = [path for path in what if path not in plans]
    if not plans:
        if seeds is not None or keep is not None:
            option = "--keep is" if seeds is None else "--seeds are"
            raise ConfigError(f"{option} for recipes, and none is given", do="leave it out, or give a YAML file")
        return places, ()
    from foreword.comparison.plan import asked

    runs = [one for path in plans for one in asked(path, several(None, seeds) or None)]
    from foreword.cli import render
    from foreword.comparison.running import train_missing
    from foreword.errors import Interrupted
    from foreword.sweep.chosen import choose

    bars: list[render.Bar] = []

    def bar(title: str) -> render.Bar:
        _close(bars)
        bars.append(render.Bar(title).__enter__())
        return bars[-1]

    try:
        chosen = choose(runs, bar)
        made = train_missing(chosen.asked, bar)
        found = [run.folder for run in made.runs] if keep is None else made.keep(keep)
        return [*places, *found], (*chosen.gaps, *made.gaps)
    except Interrupted as stopped:  # which names the option of another command
        raise Interrupted(stopped.what, where=stopped.where, do="go on with the same command") from None
    finally:
        _close(bars)


def _close(bars: Sequence[Any]) -> None:
    for one in bars:
        one.__exit__(None, None, None)


def _recipe(found: Read) -> str:
    import yaml

    run = found.runs[0]
    return yaml.safe_dump({**run.record["config"], "output": None}, sort_keys=False, allow_unicode=True)


def _write(made: Sequence[Table], gaps: Sequence[str], places: Mapping[str, Path]) -> None:
    """Every output that was asked for, each in one stroke."""
    from foreword.comparison import pages, texts
    from foreword.comparison.study import study
    from foreword.page.render import write

    for kind, place in places.items():
        if kind == "html":
            write(place, pages.page(made, gaps))
        elif kind == "markdown":
            write(place, texts.markdown(made, gaps, place.parent))
        elif kind == "latex":
            write(place, texts.latex(made))
        elif kind == "study":
            write(place, study(made, gaps, place, shlex.join(["foreword", *sys.argv[1:]])))
        else:
            write(place, json.dumps(texts.plain(made, gaps), allow_nan=False, indent=1) + "\n")


def _show(made: Sequence[Table], gaps: Sequence[str], places: Mapping[str, Path]) -> None:
    from foreword.cli import render
    from foreword.comparison import wording

    for table in made:
        _scores(table)
        _costs(table)
        _tests(table)
        _lines("searched", wording.rates(table))
        for row in table.rows:
            files = [run.path.as_posix() for run in (row.system.all_runs if row.system else ())]
            _lines(f"runs of {row.name}", [", ".join(files)] if files else [])
        _lines("to know", (*table.gaps, *table.notes))
        render.out.print()
    _lines("not compared", gaps)
    _lines("repeat a run", ["foreword compare FILE --recipe > recipe.yaml && foreword train recipe.yaml"])
    for kind, place in places.items():
        render.out.print(f"{kind}: {place}", markup=False, soft_wrap=True)


def _scores(table: Table) -> None:
    """Means with half the width of their intervals, which are symmetric."""
    from foreword.comparison import wording

    body = []
    for row in table.rows:
        scores = [f"({wording.raw(row, name, table.split)})" if row.degenerate else "" for name in table.shown]
        for k, name in enumerate(table.shown):
            known = row.estimates.get(name)
            if known is not None:
                half = "" if known.high is None else f" ±{wording.number(name, known.high - known.mean)}"
                scores[k] = wording.number(name, known.mean) + half
        best = row == table.best
        body.append(([wording.name(row), wording.seeds(row), *scores, wording.cost(row)["trained"]], best))
    heads = ["", "seeds", *(wording.title(name) for name in table.shown), "trained"]
    _grid(heads, body, f"{table.task}: {table.size:,} {table.split} rows, 95% intervals over seeds; the best is bold")
    for row in table.rows:
        if wording.remark(row):
            _lines(wording.name(row), [wording.remark(row)])


def _costs(table: Table) -> None:
    from foreword.comparison import wording

    heads = ["", *(name for name in wording.COSTS if name != "trained")]
    body = [([wording.name(r), *map(wording.cost(r).__getitem__, heads[1:])], False) for r in table.rows if r.system]
    _grid(heads, body, "cost")


def _tests(table: Table) -> None:
    from foreword.comparison import texts, wording

    if not table.contests:
        return
    body = []
    for one in texts.important(table):
        p_values = map(wording.p_value, (_tested(one), one.holm))
        names = wording.pair(one)
        body.append(([names, wording.told(one, table.metric), *p_values], one.holm <= wording.LEVEL))
    n, several = table.contests[0].n, len(table.contests)
    title = f"paired tests over {n:,} rows; bold: p at most {wording.LEVEL} after Holm over {several} pair(s)"
    _grid(["", wording.title(table.metric), "p", "Holm"], body, title)


def _tested(one: Contest) -> float:
    """The p value that Holm's correction takes."""
    return one.bootstrap if one.randomization is None else one.randomization


def _grid(heads: Sequence[str], body: Sequence[tuple[Sequence[str], bool]], title: str) -> None:
    """Rows, of which some are bold; the names in the first column stay on one line."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table as Grid

    from foreword.cli import render

    made = Grid(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1), title_style="")
    for k, head in enumerate(heads):
        made.add_column(escape(head), justify="right" if k else "left", no_wrap=not k, overflow="fold")
    for cells, bold in body:
        made.add_row(*map(escape, cells), style="bold" if bold else None)
    render.out.print(made)


def _lines(title: str, lines: Sequence[str]) -> None:
    from foreword.cli import render

    for line in lines:
        render.out.print(f"{title}: {line}", markup=False)
