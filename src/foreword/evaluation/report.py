"""One run, or several, as one HTML page that needs nothing else: no script, no font, no request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from foreword.page.markup import join, tag
from foreword.page.parts import Cell, Quote, Table, commands, facts, grid, quotes
from foreword.page.parts import notes as listed
from foreword.page.plots import Bar, bars, line_chart
from foreword.page.render import Section, render, write
from foreword.page.scales import finite


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One row of the table: a run or a baseline on the same test `rows`.

    `accuracy` and `macro_f1` in 0 … 1 or None where not measured; `seconds` of training, None where nothing was
    trained; `degenerate` where one class was answered everywhere; `command` runs it again.
    """

    name: str
    method: str
    backbone: str
    accuracy: float | None
    macro_f1: float | None
    trained_parameters: int
    seconds: float | None
    rows: int
    degenerate: bool = False
    command: str = ""


@dataclass(frozen=True, slots=True)
class Curve:
    """How a run learned: (step, value) pairs of the training loss and of the validation `metric`, in order."""

    name: str
    train_loss: Sequence[tuple[int, float]]
    validation: Sequence[tuple[int, float]]
    metric: str = "accuracy"


@dataclass(frozen=True, slots=True)
class Prediction:
    """One classified text; `probability` in 0 … 1 of the predicted label, `target` where the answer is known."""

    text: str
    predicted: str
    probability: float | None = None
    target: str | None = None


def write_report(
    path: str | Path,
    *,
    title: str,
    table: Sequence[RunSummary],
    curves: Sequence[Curve] = (),
    examples: Sequence[Prediction] = (),
    notes: Sequence[str] = (),
    provenance: Mapping[str, object] | None = None,
    majority: float | None = None,
) -> Path:
    """Write the page to `path` in one stroke, and return the path.

    `majority` is the accuracy of always answering the training set's majority class, drawn as a line; left out, it is
    that of the row whose method is `majority`. **Raises** `ForewordError` where the file cannot be written; a page
    that was there before is then untouched.
    """
    text = render_report(
        title=title,
        table=table,
        curves=curves,
        examples=examples,
        notes=notes,
        provenance=provenance,
        majority=majority,
    )
    return write(path, text)


def render_report(
    *,
    title: str,
    table: Sequence[RunSummary],
    curves: Sequence[Curve] = (),
    examples: Sequence[Prediction] = (),
    notes: Sequence[str] = (),
    provenance: Mapping[str, object] | None = None,
    majority: float | None = None,
) -> str:
    """The page of `write_report` as text."""
    if majority is None:
        majority = next((run.accuracy for run in table if run.method == "majority"), None)
    sections = [
        Section("Test accuracy", [_accuracies(table, majority)] if any(finite(run.accuracy) for run in table) else []),
        Section("Runs", [_table(table)] if table else []),
        Section("Learning", [grid(*_charts(curves))] if curves else []),
        Section("Examples", [quotes([Quote(e.text, e.predicted, e.probability, e.target) for e in examples])])
        if examples
        else Section(""),
        Section("Notes", [listed(notes)] if notes else []),
        Section("Run it again", [commands(repeat)] if (repeat := _commands(table)) else []),
        Section("Where these numbers come from", [facts(provenance)] if provenance else []),
    ]
    lead = _lead(best, majority) if (best := _best(table)) else ""
    return render(title, lead, [section for section in sections if section.parts], FOOTER)


FOOTER = "Written by foreword. Accuracy and macro F1 are of the test rows; 0/0 counts as 0."


def _lead(best: RunSummary, majority: float | None) -> Markup:
    """The page's one sentence."""
    strong = tag("strong", best.name), tag("strong", _percent(best.accuracy))
    said = join(strong[0], " answers ", strong[1], f" of {best.rows:,} test rows correctly")
    if finite(majority):
        said += f"; always giving the most frequent answer would reach {_percent(majority)}"
    if not best.trained_parameters:
        return said + "."
    took = "" if best.seconds is None else f" in {_duration(best.seconds)}"
    return said + f". It trained {best.trained_parameters:,} parameters{took}."


def _accuracies(table: Sequence[RunSummary], majority: float | None) -> Markup:
    best = _best(table)
    found = [
        Bar(
            run.name,
            run.accuracy,
            _percent(run.accuracy),
            kind="best" if run == best else "plain" if run.method == "majority" or run.degenerate else "",
            note="one class everywhere" if _stuck(run) else "",
        )
        for run in table
        if run.accuracy is not None and finite(run.accuracy)
    ]
    line = majority if finite(majority) else None
    return bars(found, line=line, line_name=f"the majority class everywhere: {_percent(line)}", limit=1.0)


def _table(table: Sequence[RunSummary]) -> Table:
    best = _best(table)
    rows = [
        (
            _name(run, run == best),
            _percent(run.accuracy),
            _percent(run.macro_f1),
            f"{run.trained_parameters:,}",
            _duration(run.seconds),
            f"{run.rows:,}",
        )
        for run in table
    ]
    return Table(("Run", "Accuracy", "Macro F1", "Trained parameters", "Time", "Rows"), rows)


def _name(run: RunSummary, best: bool) -> Cell:
    note = " · ".join(part for part in (run.method, run.backbone) if part)
    if _stuck(run):
        return Cell(run.name, note, "degenerate: one class everywhere", warn=True)
    return Cell(run.name, note, "best" if best else "", strong=best)


def _stuck(run: RunSummary) -> bool:
    return run.degenerate and run.method != "majority"


def _commands(table: Sequence[RunSummary]) -> dict[str, str]:
    return {run.name: run.command for run in table if run.command}


def _best(table: Sequence[RunSummary]) -> RunSummary | None:
    measured = [run for run in table if finite(run.accuracy) and not run.degenerate and run.method != "majority"]
    return max(measured, key=lambda run: run.accuracy or 0.0) if measured else None


def _charts(curves: Sequence[Curve]) -> Iterator[Markup]:
    """The training loss, and each validation metric; a run keeps its colour in all of them."""
    yield line_chart({c.name: c.train_loss for c in curves}, "step", "loss", "Training loss by step")
    for metric in dict.fromkeys(c.metric for c in curves):
        series = {c.name: c.validation if c.metric == metric else () for c in curves}
        name = metric.replace("_", " ")
        yield line_chart(series, "step", name, f"Validation {name} by step")


def _percent(value: float | None) -> str:
    return f"{100 * value:.1f} %" if value is not None and finite(value) else "–"


def _duration(seconds: float | None) -> str:
    if seconds is None or not finite(seconds):
        return "–"
    if seconds < 99.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"
