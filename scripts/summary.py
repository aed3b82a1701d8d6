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

from foreword.config import DataConfig, build
from foreword.data import Dataset
from foreword.data.loading import load, task_for
from foreword.evaluation import texts
from foreword.evaluation.statistics import (
    PairedTest,
    approximate_randomization,
    mean_interval,
    paired_bootstrap,
    paired_corpus_bootstrap,
)
from foreword.registry import tasks
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
    first = next(iter(recipes.values()))[0]
    names = measured(first)
    heads = [*(f"{split} {TITLES.get(name, name)}" for split, name in names)]
    lines = [
        f"| recipe | seeds | trained | {' | '.join(heads)} | best / all steps | seconds |",
        "|" + "---|" * (len(heads) + 5),
    ]
    if "majority" in first["test"]:
        majority = " | ".join(f"{first[split]['majority'][name]:.4f}" for split, name in names)
        lines.append(f"| majority class | | 0 | {majority} | | |")
    for name, group in sorted(recipes.items(), key=lambda pair: np.mean([r["test"][names[1][1]] for r in pair[1]])):
        mark = " **degenerate**" if any(r["test"]["degenerate"] for r in group) else ""
        steps = ", ".join(f"{r['train']['best_step']}/{r['train']['steps']}" for r in group)
        cells = " | ".join(cell([r[split][metric] for r in group]) for split, metric in names)
        lines.append(
            f"| {name}{mark} | {', '.join(str(r['seed']) for r in group)} | {group[0]['parameters']['trained']:,} "
            f"| {cells} | {steps} | {seconds(group)} |"
        )
    return lines


def measured(run: dict[str, Any]) -> list[tuple[str, str]]:
    """What the table of a task shows: the first metric of both splits, the others of the test rows."""
    first, *others = tasks.get(run["kind"])().metrics
    shown = others[:1] if "majority" in run["test"] else [*others, "loss"]
    return [("validation", first), ("test", first), *(("test", name) for name in shown)]


def right(run: dict[str, Any], targets: Sequence[int]) -> np.ndarray:
    return (np.asarray(run["test"]["predictions"]) == np.asarray(targets)).astype(float)


def paired(task: str, recipes: dict[str, list[dict[str, Any]]]) -> dict[str, Any] | None:
    """Each trained prompt against the hard prompt that is best on the validation rows, over the same test rows."""
    hard = {name: group for name, group in recipes.items() if group[0]["method"] == "hard"}
    soft = {
        name: group for name, group in recipes.items() if group[0]["method"] not in ("hard", "linear-probe", "full")
    }
    if not hard or not soft:
        return None
    any_run = next(iter(hard.values()))[0]
    config = build(DataConfig, any_run["config"]["data"])
    dataset = load(config, task_for(config, any_run["kind"]))
    if {run["data"]["test"] for group in recipes.values() for run in group} != {dataset.fingerprint("test")}:
        raise SystemExit(f"{task}: the runs were scored on other test rows than those at hand; nothing is compared")
    metric = measured(any_run)[0][1]
    best = max(hard, key=lambda name: hard[name][0]["validation"][metric])
    found: dict[str, Any] = {
        "metric": metric, "hard": {n: g[0]["validation"][metric] for n, g in hard.items()}, "best hard": best
    }  # fmt: skip
    for name, group in soft.items():
        test = compare(group, hard[best], metric, dataset)
        found[name] = {
            metric: float(np.mean([run["test"][metric] for run in group])),
            "against": float(np.mean([run["test"][metric] for run in hard[best]])),
            "difference": test.difference,
            "interval": vars_of(test.interval),
            "p": test.p_value,
            "test": test.name,
            "rows": test.n,
            "seeds": [run["seed"] for run in group],
        }
    return found


def compare(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], metric: str, dataset: Dataset) -> PairedTest:
    """The test that fits the metric: by rows where each row has it, and else by resampling the corpus."""
    rows = dataset.rows("test")
    if dataset.labels:
        targets = [row["label"] for row in rows]
        return approximate_randomization(*(np.mean([right(r, targets) for r in g], axis=0) for g in (ours, theirs)))
    if metric in texts.CORPUS:
        golds = [row[tasks.get(dataset.task)().target] for row in rows]
        counts = [[texts.corpus_rows(metric, run["test"]["predictions"], golds) for run in g] for g in (ours, theirs)]
        return paired_corpus_bootstrap(*counts, lambda summed: texts.from_corpus_rows(metric, summed))
    return paired_bootstrap(*(np.mean([run["test"]["by_row"][metric] for run in g], axis=0) for g in (ours, theirs)))


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
{name} against {best}, the hard prompt that is best on validation: {title} {difference:+.4f} {interval}, p = {p:.4f}
({test} over {rows} test rows, {told}).
"""
TITLES = {"rouge_1": "ROUGE-1", "rouge_2": "ROUGE-2", "rouge_l": "ROUGE-L", "bleu": "BLEU", "chrf": "chrF",
          "answer_f1": "F1", "exact_match": "exact match", "f1": "F1", "target_token_share": "target tokens, %",
          "span_f1": "span F1"}  # fmt: skip


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
            seeds = len(one["seeds"])
            told = f"{seeds} seeds averaged" if seeds > 1 else "one seed"
            title = TITLES.get(tests["metric"], tests["metric"])
            values = {**one, "told": told, "title": title, "name": name, "best": tests["best hard"]}
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
