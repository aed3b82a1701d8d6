"""A sweep as tables, and as one page with its pictures, from what `sweep.json` holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foreword.page import plots, render
from foreword.page.parts import Table
from foreword.page.render import Section
from foreword.sweep.space import label

Made = Mapping[str, Any]


def verdict(outcome: Mapping[str, Any]) -> str:
    """One rung of a trial in a few words."""
    if outcome["failure"] is not None:
        return f"{'diverged' if outcome['diverged'] else 'could not be run'}: {outcome['failure']}"
    return f"{outcome['score']:.4f}{', degenerate: one answer everywhere' if outcome['degenerate'] else ''}"


def trial_rows(made: Made) -> tuple[list[str], list[list[str]]]:
    """The trials from the best down, as a table: number, values, scores rung by rung, steps, parameters, verdict."""
    trials = sorted(made["trials"], key=lambda one: _rank(one, made["higher_is_better"]))
    names = list(dict.fromkeys(name for one in trials for name in one["values"]))
    rows = []
    for one in trials:
        scores = " → ".join(f"{rung['score']:.4f}" for rung in one["rungs"] if rung["score"] is not None)
        values = (label(one["values"][name]) if name in one["values"] else "" for name in names)
        last = one["rungs"][-1]
        rows.append(
            [str(one["number"]), *values, scores, f"{last['step']:,}", f"{last['parameters']:,}", _fate(one, made)]
        )
    return ["trial", *shortened(names), f"validation {made['metric']}", "steps", "trained", ""], rows


def shortened(names: Sequence[str]) -> list[str]:
    """Dotted names by their last part, where it tells them apart."""
    ends = [name.rpartition(".")[2] for name in names]
    return [name if ends.count(end) > 1 else end for name, end in zip(names, ends, strict=True)]


def sensitivity_rows(made: Made) -> tuple[list[str], list[list[str]]]:
    """For each field its groups of values with their mean, best and worst score, and the spread between means."""
    rows = []
    for effect in made["sensitivity"]:
        for number, group in enumerate(effect["groups"]):
            first = (effect["name"], f"{effect['spread']:.4f}") if number == 0 else ("", "")
            scores = (f"{group[name]:.4f}" for name in ("mean", "best", "worst"))
            rows.append([first[0], group["values"], str(group["trials"]), *scores, first[1]])
    return ["field", "values", "trials", "mean", "best", "worst", "spread of means"], rows


def html(made: Made) -> str:
    """The whole sweep as one page."""
    winner = made["winner"]
    values = ", ".join(f"{name} = {label(value)}" for name, value in winner["values"].items())
    told = [f"Trial {winner['number']}: {values}. Chosen by its {made['metric']} on {made['validation_rows']:,} "
            "validation rows, among all trials; nothing was chosen on test."]  # fmt: skip
    told += [line for split in ("validation", "test") if (line := _scored(split, made))]
    if not winner["scored"]:
        told.append("The time was up before the search was done: this is the best so far, not scored on test.")
    columns, rows = trial_rows(made)
    sections = [
        Section("The winner", told),
        Section("All trials", [Table(columns, rows, texts=1)]),
        Section("Learning so far", [_rungs(made)]),
        Section("What mattered", [_words(made), Table(*sensitivity_rows(made), texts=2), *_pictures(made)]),
    ]
    subtitle = f"{len(made['trials'])} trials of {made['recipe']}, {made['identity']['search']['kind']} search"
    return render.render("Sweep", subtitle, [section for section in sections if any(section.parts)])


def write(path: Path, made: Made) -> None:
    """Write the page."""
    render.write(path, html(made))


def steps_of(made: Made) -> str:
    """After how many steps the sensitivity was taken, in words."""
    least, most = made["sensitivity"][0]["steps"]
    return f"{least:,} steps" if least == most else f"{least:,} to {most:,} steps"


def _rank(trial: Mapping[str, Any], higher: bool) -> tuple[Any, ...]:
    last = trial["rungs"][-1]
    score = last["score"] if last["score"] is not None else 0.0
    able = last["failure"] is None
    return (not able, last["degenerate"], -len(trial["rungs"]), -score if higher else score, last["parameters"])


def _fate(trial: Mapping[str, Any], made: Made) -> str:
    last = trial["rungs"][-1]
    if "winner" in made and trial["number"] == made["winner"]["number"]:
        return "winner"
    if last["failure"] is not None:
        return verdict(last)
    if last["degenerate"]:
        return "degenerate"
    return "" if last["done"] else f"dropped at rung {len(trial['rungs'])}" if made["done"] else "waits"


def _scored(split: str, made: Made) -> str:
    one, name = made["winner"].get(split, {}), made["metric"]
    if name not in one:
        return ""
    line = one.get("majority", {})
    beside = f", where the majority class gives {line[name]:.4f}" if name in line else ""
    return f"On {split} ({one['rows']:,} rows): {name} {one[name]:.4f}{beside}."


def _words(made: Made) -> str:
    if not made["sensitivity"]:
        return "No trial came to a score."
    left = made["sensitivity"][0]["left_out"]
    lost = f" {left} trials that came to no score are left out." if left else ""
    return (f"Validation {made['metric']} after {steps_of(made)}, which all trials had.{lost} Fields were varied at "
            "once: with few trials, what looks like one field's doing may be another's.")  # fmt: skip


def _rungs(made: Made) -> Any:
    """The scores of each trial over its rungs; nothing where there is one rung alone."""
    lines = {
        f"trial {one['number']}": [(rung["step"], rung["score"]) for rung in one["rungs"] if rung["score"] is not None]
        for one in made["trials"]
    }
    if max(map(len, lines.values()), default=0) < 2:
        return ""
    return plots.line_chart(lines, "step", f"validation {made['metric']}", "The best score so far, rung by rung")


def _pictures(made: Made) -> list[Any]:
    """A picture for each field: dots for numbers, bars of the means for names."""
    found = []
    for effect in made["sensitivity"]:
        title, name = effect["name"], f"validation {made['metric']}"
        points = effect["points"]
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value, _, _ in points):
            dots = [plots.Dot(float(v), score, group="degenerate" if bad else "trial") for v, score, bad in points]
            found.append(plots.scatter(dots, effect["name"], name, title, log_x=effect["log"]))
        else:
            bars = [plots.Bar(group["values"], group["mean"], low=min(group["best"], group["worst"]),
                              high=max(group["best"], group["worst"])) for group in effect["groups"]]  # fmt: skip
            found.append(plots.bars(bars, f"{title}: mean {name}, from the worst to the best"))
    return found
