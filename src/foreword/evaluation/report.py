"""One run, or several, as one HTML page that needs nothing else: no script, no font, no request.

Numbers become shares of a drawing's width and height here; what they look like is said in `templates/report.html.j2`.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from foreword.errors import ForewordError

_COLOURS = 6  # as many line colours as the template knows; beyond them the lines repeat, dashed


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
    # A lone surrogate in somebody's data is no reason to lose the page.
    _replace(Path(path), text.encode("utf-8", errors="replace"))
    return Path(path)


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
    return str(
        _template().render(
            title=title,
            table=table,
            best=_best(table),
            majority=majority if _finite(majority) else None,
            bars=[run for run in table if _finite(run.accuracy)],
            charts=_charts(curves),
            examples=examples,
            notes=notes,
            provenance=provenance or {},
        )
    )


@dataclass(frozen=True, slots=True)
class _Tick:
    place: float  # share from the left or from the top
    label: str


@dataclass(frozen=True, slots=True)
class _Line:
    name: str
    colour: int
    dashed: bool
    points: str  # an SVG polyline in a square of 100 by 100
    end: tuple[float, float]  # shares from the left and from the top
    last: str


@dataclass(frozen=True, slots=True)
class _Chart:
    title: str
    lines: Sequence[_Line]
    x_ticks: Sequence[_Tick]
    y_ticks: Sequence[_Tick]


def _best(table: Sequence[RunSummary]) -> RunSummary | None:
    measured = [run for run in table if _finite(run.accuracy) and not run.degenerate and run.method != "majority"]
    return max(measured, key=lambda run: run.accuracy or 0.0) if measured else None


def _charts(curves: Sequence[Curve]) -> list[_Chart]:
    series = [("Training loss", [(c.name, c.train_loss) for c in curves])]
    for metric in dict.fromkeys(c.metric for c in curves):
        title = "Validation " + metric.replace("_", " ")
        series.append((title, [(c.name if c.metric == metric else "", c.validation) for c in curves]))
    return [chart for title, lines in series if (chart := _chart(title, lines)) is not None]


def _chart(title: str, series: Sequence[tuple[str, Sequence[tuple[int, float]]]]) -> _Chart | None:
    """Lines scaled to the range of all of them; one without a finite point is left out, its colour stays its own."""
    kept = [(k, name, [(x, y) for x, y in points if _finite(y)]) for k, (name, points) in enumerate(series) if name]
    kept = [(k, name, points) for k, name, points in kept if points]
    if not kept:
        return None
    steps = [x for _, _, points in kept for x, _ in points]
    x_ticks = [t for t in _ticks(min(steps), max(steps)) if t == int(t) and min(steps) <= t <= max(steps)]
    y_ticks = _ticks(min(y for _, _, p in kept for _, y in p), max(y for _, _, p in kept for _, y in p))
    left, width = min(steps), (max(steps) - min(steps)) or 1
    low, height = y_ticks[0], y_ticks[-1] - y_ticks[0]
    lines = []
    for k, name, points in kept:
        places = [(100 * (x - left) / width, 100 - 100 * (y - low) / height) for x, y in points]
        text = " ".join(f"{x:.2f},{y:.2f}" for x, y in places)
        lines.append(
            _Line(
                name,
                k % _COLOURS,
                k >= _COLOURS,
                text,
                (places[-1][0] / 100, places[-1][1] / 100),
                f"{points[-1][1]:.3f}",
            )
        )
    return _Chart(
        title,
        lines,
        [_Tick((t - left) / width, f"{t:,.0f}") for t in x_ticks],
        [_Tick(1 - (t - low) / height, f"{t:.6g}") for t in y_ticks],
    )


def _ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers, two to `most` + 2 of them, from at or below `low` to at or above `high`."""
    span = high - low
    if span < max(1e-12, 1e-9 * max(abs(low), abs(high))):  # one value, as far as labels can tell
        span = max(abs(high), 1.0)
    step = 10.0 ** math.floor(math.log10(span / most))
    step *= next(m for m in (1, 2, 5, 10) if span / (step * m) <= most)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(k * step, 15) for k in range(first, max(last, first + 1) + 1)]


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _percent(value: float | None) -> str:
    return f"{100 * value:.1f} %" if value is not None and math.isfinite(value) else "–"


def _share(value: float) -> str:
    """A part of 0 … 1 as a length in a drawing; whatever lies outside stays at the edge."""
    return f"{100 * min(1.0, max(0.0, value)):.2f}%" if math.isfinite(value) else "0%"


def _duration(seconds: float | None) -> str:
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 99.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def _count(value: int) -> str:
    return f"{value:,}"


@cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("foreword.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=_percent, share=_share, duration=_duration, count=_count)
    return environment.get_template("report.html.j2")


def _replace(path: Path, content: bytes) -> None:
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)  # mkstemp makes it private; a report is there to be shown
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        reason = error.strerror or str(error)
        raise ForewordError(
            f"cannot write the report: {reason}", where=str(path), do="give another place, or make room there"
        ) from None
