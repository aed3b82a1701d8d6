"""A comparison as one HTML page: tables whose cells lead to their runs, drawings, tests, single rows."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
import yaml
from markupsafe import Markup

from foreword.comparison import wording
from foreword.comparison.examples import Example, disagreements, worst
from foreword.comparison.results import Run
from foreword.comparison.table import Row
from foreword.comparison.table import Table as Compared
from foreword.page.markup import join, tag
from foreword.page.parts import Cell, Table, commands, facts, folded, grid, notes
from foreword.page.plots import Bar, Dot, bars, heatmap, line_chart, scatter
from foreword.page.render import Part, Section, render

COSTS = ("trained", "training", "memory", "latency")
FOOTER = "Written by foreword compare. Every figure of a table leads to its runs at the end of the page."


def page(tables: Sequence[Compared], gaps: Sequence[str] = ()) -> str:
    """The whole page."""
    sections = [section for table in tables for section in _sections(table, several=len(tables) > 1)]
    if gaps:
        sections.append(Section("Not compared", [notes(gaps)]))
    sections.append(Section("How to read this", [notes(wording.HOW)]))
    sections += [Section(f"Runs on {table.task}" if len(tables) > 1 else "Runs", _runs(table)) for table in tables]
    title = "Comparison on " + ", ".join(table.task for table in tables)
    return render(title, _lead(tables), [section for section in sections if section.parts], FOOTER)


def _lead(tables: Sequence[Compared]) -> Markup:
    said = [_sentence(table, len(tables) > 1) for table in tables]
    return join(*[part for sentence in said for part in (sentence, " ")][:-1])


def _sentence(table: Compared, several: bool) -> Markup:
    best, on = table.best, f" on {table.task}" if several else ""
    if best is None:
        return join(f"No system has a {wording.title(table.metric)}{on}.")
    metric = wording.title(table.metric)
    beaten, tested = wording.beaten(table)
    said = f"; after Holm's correction it is better than {beaten} of {tested} other system(s)" if tested else ""
    kept = wording.seeds(best)
    said = f" ({kept} seeds)" * (" of " in kept) + said
    value = wording.cell(table.metric, best.estimates[table.metric])
    return join(tag("strong", best.name), f" has the best {metric}{on}, ", tag("strong", value), f"{said}.")


def _sections(table: Compared, several: bool) -> Iterator[Section]:
    on = f"{table.task}: " if several else ""
    yield Section(f"{on}{table.size:,} {table.split} rows", [_table(table), _bars(table)], _anchor("task", table.task))
    yield Section(f"{on}Score and cost", [grid(_pareto(table, "trained"), _pareto(table, "seconds"))])
    yield Section(f"{on}Learning", [grid(*_curves(table))])
    yield Section(f"{on}Which differences hold", _tests(table))
    yield Section(f"{on}Sure and right", _calibration(table))
    for name, found in (("Where they disagree", disagreements(table)), ("What most get wrong", worst(table))):
        yield Section(f"{on}{name}", [_examples(found, table)] if found else [])
    told = [*table.gaps, *table.notes]
    searched = [tag("h3", "Searched"), notes(wording.rates(table))] if wording.rates(table) else []
    yield Section(f"{on}What to know", [*searched, *([tag("h3", "Gaps and notes"), notes(told)] if told else [])])


def _table(table: Compared) -> Table:
    heads = ("", *(wording.title(metric) for metric in table.shown), "seeds", *COSTS)
    rows = []
    for row in table.rows:
        link = None if row.system is None else "#" + _anchor("runs", table.task, row.name)
        costs = _costs(row, link)
        scores = [_score(row, metric, table, link) for metric in table.shown]
        rows.append([_name(row, table), *scores, Cell(wording.seeds(row), href=link), *costs])
    return Table(heads, rows)


def _costs(row: Row, link: str | None) -> list[Cell]:
    """What a row costs; how many of the trained parameters are stored stands below them where that is not all."""
    if row.system is None:
        return [Cell("")] * len(COSTS)
    found = wording.cost(row)
    time, _, shared = found["training"].partition(" for ")
    notes_of = {
        "trained": f"{found['stored']} stored" if row.cost.stored != row.cost.trained else "",
        "training": f"for {shared}" if shared else "",
    }
    return [Cell(time if n == "training" else found[n], notes_of.get(n, ""), href=link) for n in COSTS]


def _name(row: Row, table: Compared) -> Cell:
    system = row.system
    note = " · ".join((system.any.record["method"], str(system.any.record.get("backbone")))) if system else row.note
    if system and system.left_out:
        return Cell(wording.name(row), f"{note} · {wording.remark(row).partition(', ')[2]}", "degenerate", warn=True)
    best = row == table.best
    return Cell(wording.name(row), note, "best" if best else "", strong=best)


def _score(row: Row, metric: str, table: Compared, link: str | None) -> Cell:
    known = row.estimates.get(metric)
    if known is None:
        text = wording.raw(row, metric, table.split)
        return Cell(f"({text})" if text else "–", "in no mean" if text else "", href=link)
    spread = wording.cell(metric, known).removeprefix(wording.number(metric, known.mean)).strip()
    return Cell(wording.number(metric, known.mean), spread, href=link, strong=row == table.best)


def _bars(table: Compared) -> Markup:
    line = next((r.estimates.get(table.metric) for r in table.rows if r.role == "majority"), None)
    found = []
    for row in table.rows:
        known = row.estimates.get(table.metric)
        if known is not None:
            kind = "best" if row == table.best else "" if row.role == "system" else "plain"
            text = wording.cell(table.metric, known)
            found.append(Bar(wording.name(row), known.mean, text, kind, low=known.low, high=known.high))
    name = "" if line is None else f"the majority class everywhere: {wording.number(table.metric, line.mean)}"
    limit = 1.0 if table.metric not in (*wording.PERCENT, "loss") else None
    at = None if line is None else line.mean
    title = f"{wording.title(table.metric).capitalize()}, mean over seeds"
    return bars(found, title, line=at, line_name=name, limit=limit)


def _pareto(table: Compared, of: str) -> Markup:
    front = wording.front(table, of)
    dots = []
    for row in table.rows:
        known, cost = row.estimates.get(table.metric), getattr(row.cost, of)
        if row.role == "system" and known is not None and cost is not None:
            method = row.system.any.record["method"] if row.system else ""
            # A logarithm has no place for nothing trained: such rows stand at 1, and are named so.
            x, name = (cost, row.name) if cost > 0 else (1, f"{row.name} (0)")
            dots.append(Dot(float(x), known.mean, name, method, known.low, known.high))
    stair = [(max(float(getattr(row.cost, of)), 1.0), row.estimates[table.metric].mean) for row in front]
    x = {"trained": "trained parameters", "seconds": "seconds of training"}[of]
    title = f"{wording.title(table.metric).capitalize()} by {x}"
    return scatter(dots, x, wording.title(table.metric), title, log_x=True, front=stair)


def _curves(table: Compared) -> Iterator[Markup]:
    """Training loss and the validation metric by step: the mean over those of a system's seeds."""
    for key, name, title in (
        ("loss", "loss", "Training loss"),
        (f"validation.{table.metric}", wording.title(table.metric), f"Validation {wording.title(table.metric)}"),
    ):
        trained = [row for row in table.rows if row.system and _curve(row, "loss")]
        yield line_chart({row.name: _curve(row, key) for row in trained}, "step", name, title)


def _curve(row: Row, key: str) -> list[tuple[float, float]]:
    by_step: dict[int, list[float]] = {}
    runs = row.system.runs if row.system else ()
    for run in runs:
        for point in run.record.get("curve") or ():
            if isinstance(point.get(key), int | float):
                by_step.setdefault(int(point["step"]), []).append(float(point[key]))
    most = max(map(len, by_step.values()), default=0)
    return [(step, float(np.mean(values))) for step, values in sorted(by_step.items()) if len(values) == most]


def _tests(table: Compared) -> list[Part]:
    if not table.contests:
        return []
    metric, several = wording.title(table.metric), len(table.contests)
    heads = ("pair", "", f"difference in {metric}", "p", "p, bootstrap", "p, Holm")
    order = sorted(table.contests, key=lambda one: (one.holm, -abs(one.difference)))
    rows = [
        (
            wording.pair(one),
            wording.verdict(one),
            wording.told(one, table.metric),
            *map(wording.p_value, (one.randomization, one.bootstrap, one.holm)),
        )
        for one in order
    ]
    said = f"Paired tests over {order[0].n:,} rows; Holm's correction is over the {several} pairs."
    listed = Table(heads, rows, texts=2)
    return [said, _differences(table), folded(f"All {several} pairs", Markup(listed.__html__()))]


def _differences(table: Compared) -> Markup:
    """Row minus column; a difference that does not hold after Holm's correction is left empty."""
    metric, contests = wording.title(table.metric), table.contests
    tested = {name for one in contests for name in (one.first, one.second)}
    names = [row.name for row in table.rows if row.name in tested]
    matrix = np.full((len(names), len(names)), np.nan)
    for one in contests:
        if one.holm <= wording.LEVEL:
            i, j = names.index(one.first), names.index(one.second)
            matrix[i, j], matrix[j, i] = one.difference, -one.difference
    title = f"Difference in {metric}, row minus column, where it holds (Holm, {wording.LEVEL})"
    numbered = [f"{k}. {name}" for k, name in enumerate(names, 1)]
    return heatmap(matrix.tolist(), numbered, [str(k) for k in range(1, len(names) + 1)], title)


def _calibration(table: Compared) -> list[Part]:
    known = [(row, row.calibration) for row in table.rows if row.calibration is not None]
    if not known:
        return []
    lines = {f"{row.name}, ECE {found.ece:.3f}": [p[:2] for p in found.points] for row, found in known}
    said = "Share of right answers by how sure they were given, in ten bins; the dashed line is perfect. ECE is the "
    said += "mean distance from it over the rows (Guo et al. 2017); all seeds together."
    return [said, grid(line_chart(lines, "confidence", "share right", "Reliability", diagonal=True))]


def _examples(found: Sequence[Example], table: Compared) -> Markup:
    items = []
    for one in found:
        head = f"row {one.row}" + (f" · {one.hash}" if one.hash else "")
        text = tag("blockquote", one.text) if one.text else ""
        right = tag("p", f"right: {one.right}", class_="verdict right") if one.right else ""
        answers = (
            tag("p", f"{name}: {answer}", class_=f"verdict {'right' if answer == one.right else 'wrong'}")
            for name, answer in one.answers
        )
        items.append(tag("li", tag("div", tag("small", head), text), tag("div", right, *answers)))
    return tag("ul", *items, class_="examples")


def _runs(table: Compared) -> list[Part]:
    return [
        tag("div", *(_run(run, table) for run in row.system.all_runs), id=_anchor("runs", table.task, row.name))
        for row in table.rows
        if row.system is not None
    ]


def _run(run: Run, table: Compared) -> Markup:
    score = run.metrics(table.split).get(table.metric)
    shown = "" if score is None else f", {wording.title(table.metric)} {wording.number(table.metric, score)}"
    known = {
        "file": run.path.as_posix(),
        "seed": run.seed,
        "code": " ".join(filter(None, run.code)),
        f"{table.split} rows": run.data(table.split),
        "prompt": run.record.get("prompt") or "not recorded (schema 1)",
        "backbone": f"{run.record.get('backbone')} {run.record.get('backbone_fingerprint')}",
        "versions": run.record["versions"],
        "machine": run.record.get("machine") or {},
    }
    recipe = yaml.safe_dump(run.record["config"], sort_keys=False, allow_unicode=True)
    inside = (facts(known), commands({"Run it again": wording.command(run)}), tag("pre", recipe))
    return folded(f"{run.name}, seed {run.seed}{shown}", *inside)


def _anchor(*parts: str) -> str:
    """A name for a place on the page; where letters have to go, a checksum keeps it apart from its likes."""
    whole = "-".join(parts)
    plain = re.sub(r"[^\w-]+", "-", whole)
    return plain if plain == whole else f"{plain}-{zlib.crc32(whole.encode('utf-8', 'replace')):08x}"
