"""One table: every system's mean and interval, the baselines, what it cost, and which differences hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from foreword import registry
from foreword.comparison.calibration import Calibration, calibration
from foreword.comparison.mixing import Mixed, Mixture, check, mixture
from foreword.comparison.options import DEFAULT, Options
from foreword.comparison.results import Run
from foreword.comparison.scoring import CONFUSED, Floats, needs_data, right, scorer
from foreword.comparison.systems import System, systems
from foreword.comparison.testing import Contest, contests
from foreword.comparison.truth import Truth, truth_of
from foreword.errors import ConfigError, DataError, ForewordError, did_you_mean
from foreword.evaluation import baselines
from foreword.evaluation.statistics import mean_interval

SHOWN = 2
"""How many metrics a table shows, where nobody names them."""


@dataclass(frozen=True)
class Estimate:
    """A metric's mean over `n` runs with its interval (None for one run); `values` by seed."""

    mean: float
    low: float | None
    high: float | None
    values: tuple[tuple[int, float], ...]

    @property
    def n(self) -> int:
        """The number of runs."""
        return len(self.values)


@dataclass(frozen=True)
class Cost:
    """What a system costs: means over its runs, None where nothing is recorded or nothing was trained.

    `together`: how many runs shared the pass whose `seconds` these are. `latency`: milliseconds a row, of scoring
    validation and test rows in batches. `memory` in MB, the process's peak.
    """

    trained: int = 0
    stored: int = 0
    seconds: float | None = None
    together: int = 1
    memory: float | None = None
    latency: float | None = None


@dataclass(frozen=True)
class Row:
    """A line of the table. `role`: `system`, or the baseline it is; a `missing` one has a `note` instead."""

    name: str
    role: str
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    system: System | None = None
    cost: Cost = Cost()
    note: str = ""
    mark: str = ""
    calibration: Calibration | None = None

    @property
    def degenerate(self) -> bool:
        """Whether all of its runs are left out."""
        return self.system is not None and not self.system.runs


@dataclass(frozen=True)
class Table:
    """The comparison on one task. `scores` hold each test row's score by row name, where rows have one."""

    task: str
    kind: str
    split: str
    size: int
    metric: str
    shown: tuple[str, ...]
    rows: tuple[Row, ...]
    contests: tuple[Contest, ...]
    scores: Mapping[str, Floats]
    truth: Truth
    labels: tuple[str, ...]
    gaps: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def best(self) -> Row | None:
        """The system with the best mean of the tested metric."""
        known = [row for row in self.rows if row.role == "system" and self.metric in row.estimates]
        return max(known, key=lambda row: better(self.metric) * row.estimates[self.metric].mean, default=None)

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs in the table."""
        return tuple(run for row in self.rows if row.system for run in row.system.all_runs)


def tables(runs: Sequence[Run], options: Options = DEFAULT) -> tuple[tuple[Table, ...], tuple[str, ...]]:
    """A table for every task among the runs, and why others have none.

    **Raises** `Mixed` as `table` does, and the first error where no task has a table.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault(run.table, []).append(run)
    made: list[Table] = []
    failed: dict[str, ForewordError] = {}
    for (task, _), group in sorted(groups.items()):
        try:
            made.append(table(group, options))
        except Mixed:
            raise
        except ForewordError as error:
            failed[f"{task}: {error.what}"] = error
    if not made and failed:
        raise next(iter(failed.values()))
    return tuple(made), tuple(failed)


def table(runs: Sequence[Run], options: Options = DEFAULT) -> Table:
    """The comparison of runs on one task.

    **Raises** `Mixed` for results that do not belong together, unless `allow_mixed`; `DataError` where no run has rows
    or metrics of the split; `ConfigError` for a metric that no run has.
    """
    scored = [run for run in runs if run.part(options.split).get("predictions")]
    gaps = [f"{run.path}: has no {options.split} rows" for run in runs if run not in scored]
    task, kind = runs[0].table
    if not scored:
        raise DataError(f"no result of {task} has {options.split} rows", do="choose another --split")
    mixed = mixture(scored, options.split)
    if not options.allow_mixed:
        check(mixed, task)
    metric, shown = _metrics(scored, options)
    main = _largest(scored, options.split)
    labels = tuple(main[0].record.get("labels", ()))
    parts = [run.part(options.split) for run in main]
    wanted = options.data and (options.texts or needs_data(metric, parts, len(labels)))
    truth = truth_of(main, options.split, data=wanted)
    if truth.gap:
        gaps.append(truth.gap)
    grouped = systems(scored, options.split)
    rows, missing = _rows(grouped, shown, options, mixed)
    gaps += missing
    lines = _baselines(main, truth, shown, options.split)
    how = scorer(metric, [run.part(options.split) for run in scored], truth, len(labels))
    ordered = sorted((_calibrated(row, truth, options.split) for row in rows), key=lambda row: _place(row, metric))
    from_best = [row.system for row in reversed(ordered) if row.system is not None]
    tested, scores, told = contests(from_best, main, how, _constant(truth, metric), options)
    notes = [*mixed.noted, *(f"mixed: {one}" for one in mixed.refused)]
    return Table(
        task,
        kind,
        options.split,
        int(parts[0]["rows"]),
        metric,
        shown,
        (*lines, *ordered),
        tested,
        scores,
        truth,
        labels,
        tuple([*gaps, *told]),
        tuple(notes),
    )


def _metrics(runs: Sequence[Run], options: Options) -> tuple[str, tuple[str, ...]]:
    """The metric that is tested, and those that are shown, it first."""
    had = [run.metrics(options.split) for run in runs]
    every = dict.fromkeys(name for one in had for name in one)
    own = runs[0].table[1]
    known = [n for n in (registry.tasks.get(own)().metrics if own in registry.tasks.names else ()) if n in every]
    if not every:
        raise DataError(f"no result of {runs[0].table[0]} has a metric", do="look for runs that diverged")
    for name in filter(None, (options.metric, *options.shown)):
        if name not in every:
            raise ConfigError(f"no result of {runs[0].table[0]} has the metric '{name}'", do=did_you_mean(name, every))
    metric = options.metric or (known or list(every))[0]
    shown = options.shown or tuple(dict.fromkeys((metric, *known, *every)))[:SHOWN]
    return metric, tuple(dict.fromkeys((metric, *shown)))


def _largest(runs: Sequence[Run], split: str) -> list[Run]:
    """The runs that were scored on the same rows as most are."""
    groups: dict[Any, list[Run]] = {}
    for run in runs:
        groups.setdefault((run.data(split), run.part(split)["rows"]), []).append(run)
    return max(groups.values(), key=len)


def _rows(
    grouped: Sequence[System], shown: Sequence[str], options: Options, mixed: Mixture
) -> tuple[list[Row], list[str]]:
    rows, gaps = [], []
    for system in grouped:
        had = {name: _values(system.runs, name, options.split) for name in shown}
        estimates = {name: estimate(values) for name, values in had.items() if values}
        if system.runs:
            gaps += _flattered(system, shown[0], options.split)
            gaps += [f"{system.name}: {len(v)} of {len(system.runs)} runs have {n}" for n, v in had.items()
                     if len(v) < len(system.runs)]  # fmt: skip
        signs = sorted({mixed.marks[str(run.path)] for run in system.all_runs if str(run.path) in mixed.marks})
        rows.append(Row(system.name, "system", estimates, system, _cost(system), mark="".join(signs)))
    if single := [system.name for system in grouped if len(system.runs) == 1]:
        gaps.append(f"one seed alone, so no interval over seeds: {', '.join(single)}")
    if not any(row.system is not None and row.system.any.record["method"] == "hard" for row in rows):
        rows.append(Row("hard prompt", "missing", note="no result of a hard prompt is among these"))
        gaps.append("there is no hard prompt to compare with: run a recipe with method: hard")
    return rows, gaps


def _flattered(system: System, metric: str, split: str) -> list[str]:
    """What a system's mean would be with the runs that are left out of it."""
    every = [value for _, value in _values(system.all_runs, metric, split)]
    if not system.left_out or len(every) <= len(system.runs):
        return []
    return [
        f"{system.name}: its mean is of {len(system.runs)} of {len(system.all_runs)} seeds; with the degenerate ones "
        f"{metric} would be {float(np.mean(every)):.4g}"
    ]


def estimate(values: Sequence[tuple[int, float]]) -> Estimate:
    """The mean over runs, and Student's t interval at 95% where there are two or more. `values`: (seed, value)."""
    numbers = [value for _, value in values]
    mean = float(np.mean(numbers))
    if len(numbers) < 2:
        return Estimate(mean, None, None, tuple(values))
    interval = mean_interval(numbers)
    return Estimate(mean, interval.low, interval.high, tuple(values))


def _values(runs: Sequence[Run], metric: str, split: str) -> list[tuple[int, float]]:
    return [(run.seed, value) for run in runs if (value := run.metrics(split).get(metric)) is not None]


def _cost(system: System) -> Cost:
    records = [run.record for run in system.all_runs]
    trained = int(records[0]["parameters"].get("trained", 0))
    scored = [value for record in records if (value := _latency(record)) is not None]
    peaks = [record["peak_memory_mb"] for record in records if record.get("peak_memory_mb")]
    times = [
        record["seconds"] + (record.get("kept_seconds") or 0)
        for record in records
        if trained and record.get("seconds") is not None
    ]
    return Cost(
        trained,
        int(records[0]["parameters"].get("stored", 0)),
        float(np.mean(times)) if times else None,
        max(record.get("together") or 1 for record in records),
        float(np.mean(peaks)) if peaks else None,
        float(np.mean(scored)) if scored else None,
    )


def _latency(record: Mapping[str, Any]) -> float | None:
    """Milliseconds a row; None in older results of runs that scored what they kept, and not the rows themselves."""
    if "latency_ms" in record:
        known: float | None = record["latency_ms"]
        return known
    rows = sum(record.get(split, {}).get("rows", 0) for split in ("validation", "test"))
    route = str(record.get("plan", {}).get("route"))
    kept = any(told in route for told in ("run once for all rows", "lie ready for all rows", "are made once"))
    return None if kept or not rows or not record.get("scoring_seconds") else 1000 * record["scoring_seconds"] / rows


def _baselines(runs: Sequence[Run], truth: Truth, shown: Sequence[str], split: str) -> list[Row]:
    """What always answering the most frequent thing scores, and guessing as often as the classes occur in training."""
    record = max(runs, key=lambda run: run.record.get("train", {}).get("rows", 0)).part(split).get("majority")
    classes = len(runs[0].record.get("labels", ()))
    if record is None:
        why = "not defined where answers are texts"
        return [Row("majority", "missing", note=why), Row("random", "missing", note=why)]
    values = {name: Estimate(record[name], None, None, ((0, record[name]),)) for name in shown if name in record}
    majority = Row("majority", "majority", values)
    if truth.targets is None or truth.train_classes is None or not classes:
        return [majority, Row("random", "missing", note=truth.gap or "the results do not hold the right answers")]
    names = [name for name in shown if name in ("accuracy", *CONFUSED)]
    labels = np.repeat(np.arange(len(truth.train_classes)), truth.train_classes)
    try:
        scores = baselines.random_scores(labels, truth.targets, classes, names)
    except ForewordError as error:
        return [majority, Row("random", "missing", note=error.what)]
    return [majority, Row("random", "random", {n: Estimate(v, None, None, ((0, v),)) for n, v in scores.items()})]


def _constant(truth: Truth, metric: str) -> Mapping[str, Any] | None:
    """The majority's answers as a split's part, where it has answers that a test can take."""
    if truth.targets is None or truth.train_classes is None or metric not in ("accuracy", *CONFUSED):
        return None
    answer = int(np.argmax(truth.train_classes))
    return {"predictions": [answer] * len(truth.targets), "rows": len(truth.targets)}


def _calibrated(row: Row, truth: Truth, split: str) -> Row:
    """With the calibration of its runs' answers, all rows of all seeds together, where confidences are recorded."""
    if row.system is None or truth.targets is None:
        return row
    parts = [run.part(split) for run in row.system.runs]
    parts = [part for part in parts if part.get("confidences") and len(part["confidences"]) == len(part["predictions"])]
    if not parts:
        return row
    sure = np.concatenate([part["confidences"] for part in parts])
    return replace(row, calibration=calibration(sure, np.concatenate([right(part, truth) for part in parts])))


def better(metric: str) -> int:
    """1 for a metric that is better where it is higher, else -1."""
    return -1 if metric == "loss" else 1


def _place(row: Row, metric: str) -> tuple[int, float]:
    """Hard prompts first, then the others; the better the later."""
    hard = row.role == "missing" or (row.system is not None and row.system.any.record["method"] == "hard")
    known = row.estimates.get(metric)
    return (0 if hard else 1), -1e9 if known is None else better(metric) * known.mean
