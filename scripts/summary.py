"""Tables of the recorded runs: reads results/*/*.json, writes results/README.md and results/paired.json.

Run it by `make results`. No figure is written by hand.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foreword.config import DataConfig
from foreword.data.loading import load, task_for
from foreword.evaluation.statistics import approximate_randomization, bootstrap_interval, mean_interval
from foreword.training.record import write_json

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"


def runs() -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Task folder to recipe name to its runs, by seed."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(RESULTS.glob("*/*-seed*.json")):
        name = path.stem.rpartition("-seed")[0]
        found[path.parent.name][name].append(json.loads(path.read_text(encoding="utf-8")))
    return found


def cell(values: Sequence[float]) -> str:
    """A mean over seeds with its 95% interval (Student's t), or the one value there is."""
    if len(values) < 2:
        return f"{values[0]:.4f} (one seed)"
    interval = mean_interval(values)
    return f"{np.mean(values):.4f} [{interval.low:.4f}, {interval.high:.4f}]"


def seconds(group: Sequence[dict[str, Any]]) -> str:
    """The mean over the runs, or of the passes that several runs shared."""
    shared = {run.get("together", 1) for run in group} - {0, 1}
    mean = f"{np.mean([run['seconds'] for run in group]):.0f}"
    return f"{mean} ({', '.join(str(n) for n in sorted(shared))} runs in one pass)" if shared else mean


def table(recipes: dict[str, list[dict[str, Any]]]) -> list[str]:
    lines = [
        "| recipe | seeds | trained | validation accuracy | test accuracy | test F1 | best / all steps | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    first = next(iter(recipes.values()))[0]
    known, unseen = first["validation"]["majority"], first["test"]["majority"]
    lines.append(
        f"| majority class | | 0 | {known['accuracy']:.4f} | {unseen['accuracy']:.4f} | {unseen['f1']:.4f} | | |"
    )
    for name, group in sorted(recipes.items(), key=lambda pair: np.mean([r["test"]["accuracy"] for r in pair[1]])):
        mark = " **degenerate**" if any(r["test"]["degenerate"] for r in group) else ""
        steps = ", ".join(f"{r['train']['best_step']}/{r['train']['steps']}" for r in group)
        lines.append(
            f"| {name}{mark} | {', '.join(str(r['seed']) for r in group)} | {group[0]['parameters']['trained']:,} "
            f"| {cell([r['validation']['accuracy'] for r in group])} | {cell([r['test']['accuracy'] for r in group])} "
            f"| {cell([r['test']['f1'] for r in group])} | {steps} | {seconds(group)} |"
        )
    return lines


def right(run: dict[str, Any], targets: Sequence[int]) -> np.ndarray:
    return (np.asarray(run["test"]["predictions"]) == np.asarray(targets)).astype(float)


def paired(task: str, recipes: dict[str, list[dict[str, Any]]]) -> dict[str, Any] | None:
    """The trained prompt against the hard prompt that is best on the validation rows, over the same test rows."""
    hard = {name: group for name, group in recipes.items() if group[0]["method"] == "hard"}
    soft = {
        name: group for name, group in recipes.items() if group[0]["method"] not in ("hard", "linear-probe", "full")
    }
    if not hard or not soft:
        return None
    config = DataConfig(source=task)
    dataset = load(config, task_for(config))
    if {run["data"]["test"] for group in recipes.values() for run in group} != {dataset.fingerprint("test")}:
        raise SystemExit(f"{task}: the runs were scored on other test rows than those at hand; nothing is compared")
    targets = [row["label"] for row in dataset.rows("test")]
    best = max(hard, key=lambda name: hard[name][0]["validation"]["accuracy"])
    against = np.mean([right(run, targets) for run in hard[best]], axis=0)
    found: dict[str, Any] = {"hard": {n: g[0]["validation"]["accuracy"] for n, g in hard.items()}, "best hard": best}
    for name, group in soft.items():
        ours = np.mean([right(run, targets) for run in group], axis=0)
        test = approximate_randomization(ours, against)
        found[name] = {
            "accuracy": float(ours.mean()),
            "accuracy interval over test rows": vars_of(bootstrap_interval(ours)),
            "against": float(against.mean()),
            "difference": test.difference,
            "interval": vars_of(test.interval),
            "p": test.p_value,
            "test": test.name,
            "rows": test.n,
            "seeds": [run["seed"] for run in group],
        }
    return found


def vars_of(interval: Any) -> list[float]:
    return [round(interval.low, 4), round(interval.high, 4)]


HEAD = """# Recorded results

Made by `make results` from the JSON files beside this page; a run's file holds its recipe, seed, versions, machine,
learning curve and every prediction. Intervals are 95%, over seeds.
"""
SECTION = """## {task}

{test} test rows, {validation} validation rows; {processor}, {threads} thread(s).

{table}
"""
TEST = """
{name} against {best}, the hard prompt that is best on validation: {difference:+.4f} {interval}, p = {p:.4f}
(approximate randomisation over {rows} test rows, {seeds} seeds averaged).
"""


def section(task: str, recipes: dict[str, list[dict[str, Any]]], tests: dict[str, Any] | None) -> str:
    first = next(iter(recipes.values()))[0]
    text = SECTION.format(
        task=task,
        test=f"{first['test']['rows']:,}",
        validation=f"{first['validation']['rows']:,}",
        processor=first["machine"]["processor"],
        threads=first["machine"]["threads"],
        table="\n".join(table(recipes)),
    )
    for name, one in (tests or {}).items():
        if isinstance(one, dict) and "p" in one:
            assert tests is not None
            values = {**one, "seeds": len(one["seeds"]), "name": name, "best": tests["best hard"]}
            text += TEST.format(**values)
    return text


def main() -> None:
    found = sorted(runs().items())
    tests = {task: made for task, recipes in found if (made := paired(task, recipes))}
    text = "\n".join([HEAD, *(section(task, recipes, tests.get(task)) for task, recipes in found)])
    (RESULTS / "README.md").write_text(text, encoding="utf-8")
    write_json(RESULTS / "paired.json", tests)
    print(RESULTS / "README.md")


if __name__ == "__main__":
    main()
