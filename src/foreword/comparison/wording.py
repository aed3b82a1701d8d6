"""How a table's numbers are written, the same in every output."""

from __future__ import annotations

import os
import shlex
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from foreword.comparison.results import Run
from foreword.comparison.table import Estimate, Row, Table, better
from foreword.comparison.testing import Contest

TITLES = {
    "accuracy": "accuracy", "f1": "F1", "macro_f1": "macro F1", "mcc": "MCC", "loss": "loss", "rouge_1": "ROUGE-1",
    "rouge_2": "ROUGE-2", "rouge_l": "ROUGE-L", "bleu": "BLEU", "chrf": "chrF", "answer_f1": "answer F1",
    "exact_match": "exact match", "target_token_share": "target tokens, %", "span_f1": "span F1",
    "span_precision": "span precision", "span_recall": "span recall", "p_at_1": "P@1", "p_at_10": "P@10", "mrr": "MRR",
}  # fmt: skip
PERCENT = ("bleu", "chrf", "rouge_1", "rouge_2", "rouge_l", "answer_f1", "exact_match", "target_token_share")
"""Metrics from 0 to 100; the others go from 0 to 1."""
LEVEL = 0.05
"""A difference holds where its corrected p value is at or below this."""
ROLES = {"majority": "majority class", "random": "random guess"}

HOW = (
    "Intervals of means are Student's t over seeds, at 95%; a run of one seed has none.",
    "A row's score is its mean over a system's seeds. Tests compare these over the same rows, so they say whether "
    "these trained systems differ on other rows of the kind, not what other seeds would give.",
    "p: approximate randomisation (Noreen 1989) and the paired bootstrap (Efron and Tibshirani 1993; Koehn 2004 for "
    "metrics of a whole corpus), two-sided. Holm's correction (1979) is over all pairs of the table.",
    "The random guess answers each class as often as it occurs in training; its accuracy is the exact expectation.",
    "Degenerate runs gave (nearly) one answer everywhere; they are marked, and are in no mean and no test. A mean "
    "without them is of fewer seeds, and flatters; a pair is tested over the seeds that neither left out.",
    "Latency is the time of scoring rows in batches, by row, through all layers; memory is the process's peak.",
)


def title(metric: str) -> str:
    """A metric as papers write it."""
    return TITLES.get(metric, metric)


def number(metric: str, value: float) -> str:
    """A value with as many digits as it deserves."""
    return f"{value:.2f}" if metric in PERCENT else f"{value:.4f}"


def cell(metric: str, known: Estimate | None) -> str:
    """A mean with its interval, and the value alone for one run."""
    if known is None:
        return "–"
    mean = number(metric, known.mean)
    if known.low is None or known.high is None:
        return mean
    return f"{mean} [{number(metric, known.low)}, {number(metric, known.high)}]"


def name(row: Row) -> str:
    """A row's name, with the mark of a mixed one."""
    return ROLES.get(row.name, row.name) + (f" {row.mark}" if row.mark else "")


def seeds(row: Row) -> str:
    """How many runs are in the mean: "3", "2 of 3" where some are degenerate, "1" for a single one."""
    if row.system is None:
        return ""
    kept, every = len(row.system.runs), len(row.system.all_runs)
    return str(kept) if kept == every else f"{kept} of {every}"


def remark(row: Row) -> str:
    """What has to be said about a row: why it has no numbers, or which runs are left out."""
    if row.system is None or not row.system.left_out:
        return row.note
    told = "; ".join(f"seed {run.seed}: {why}" for run, why in row.system.left_out)
    return f"degenerate, {told}"


def raw(row: Row, metric: str, split: str) -> str:
    """The scores of degenerate runs, which are in no mean."""
    found = [run.metrics(split).get(metric) for run, _ in (row.system.left_out if row.system else ())]
    return ", ".join(number(metric, value) for value in found if value is not None)


def cost(row: Row) -> dict[str, str]:
    """Parameters, time, memory and latency, as a table shows them."""
    if row.system is None:
        return dict.fromkeys(COSTS, "")
    found = row.cost
    shared = f" for {found.together} in one pass" if found.together > 1 and found.seconds is not None else ""
    return {
        "trained": f"{found.trained:,}",
        "stored": f"{found.stored:,}",
        "training": "–" if found.seconds is None else f"{found.seconds:,.0f} s{shared}",
        "memory": "–" if found.memory is None else f"{found.memory:,.0f} MB",
        "latency": "–" if found.latency is None else f"{found.latency:.1f} ms",
    }


COSTS = ("trained", "stored", "training", "memory", "latency")


def p_value(value: float | None) -> str:
    """A p value; a very small one by its bound."""
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def verdict(contest: Contest) -> str:
    """Which system is better after Holm's correction; none where that cannot be said."""
    if contest.holm > LEVEL:
        return "no difference shown"
    return f"{contest.first if contest.difference > 0 else contest.second} is better"


def pair(contest: Contest) -> str:
    """The two systems of a contest, and the seeds it leaves out."""
    seeds = ", ".join(map(str, contest.without))
    left = f" (without seed{'s' if len(contest.without) > 1 else ''} {seeds})" if seeds else ""
    return f"{contest.first} − {contest.second}{left}"


def beaten(table: Table) -> tuple[int, int]:
    """How many other systems the best one is better than after Holm's correction, and of how many it was tested with.

    The majority class is no system.
    """
    name = table.best.name if table.best else ""
    own = [c for c in table.contests if name in (c.first, c.second) and "majority" not in (c.first, c.second)]
    return sum(verdict(c) == f"{name} is better" for c in own), len(own)


def told(contest: Contest, metric: str) -> str:
    """The difference with its interval."""
    sign = "+" if contest.difference > 0 else ""
    mean, low, high = (number(metric, part) for part in (contest.difference, contest.low, contest.high))
    return f"{sign}{mean} [{low}, {high}]"


def command(run: Run) -> str:
    """What repeats a run: from its folder's own settings where it is in one, else from those in the result."""
    if run.path.name == "result.json" and (run.path.parent / "run.yaml").is_file():
        return f"foreword train {quoted(run.path.parent / 'run.yaml')} --output runs/again"
    return f"foreword compare {quoted(run.path)} --recipe > recipe.yaml && foreword train recipe.yaml"


def quoted(path: Path) -> str:
    """A path as a shell takes it."""
    return shlex.quote(path.as_posix())


def machines(table: Table) -> str:
    """What the times were measured on."""
    found = [run.record.get("machine") or {} for run in table.runs]
    told = (f"{one['processor']}, {one.get('threads', '?')} thread(s)" for one in found if one.get("processor"))
    return "; ".join(dict.fromkeys(told))


def rates(table: Table) -> list[str]:
    """The learning rates that were searched, by system, and whether the systems had equal budgets."""
    tried: dict[str, set[float]] = defaultdict(set)
    taken: dict[str, set[float]] = defaultdict(set)
    trials: dict[str, set[object]] = defaultdict(set)
    lengths: dict[str, set[str]] = defaultdict(set)
    for row in table.rows:
        for run in row.system.all_runs if row.system and row.cost.trained else ():
            search = run.record.get("search")
            own = search if isinstance(search, dict) else {}
            tried[row.name].update(own.get("learning_rates", ()), _rate(run))
            taken[row.name].update(_rate(run))
            trials[row.name].add(own.get("trials"))
            lengths[row.name].add(_length(run))
    lines = [
        f"{method}: learning rate{'s' if len(found) > 1 else ''} {_numbers(found)}"
        + (f", {_trials(trials[method])} tried, {_numbers(taken[method])} taken" if trials[method] != {None} else "")
        for method, found in sorted(tried.items())
    ]
    unknown = sorted(method for method, found in trials.items() if None in found)
    if unknown:
        lines.append(
            f"budget of the search unknown for {', '.join(unknown)}: the results hold only the rates that were run, "
            "so equal budgets are not claimed"
        )
    elif len({frozenset(found) for found in trials.values()}) > 1:
        lines.append("unequal budgets: see the trials above")
    unequal = len({frozenset(found) for found in lengths.values()}) > 1
    if unequal:
        alike: dict[str, list[str]] = defaultdict(list)
        for method, found in sorted(lengths.items()):
            alike[" or ".join(sorted(found))].append(method)
        lines.append("trained unequally: " + "; ".join(f"{much}: {', '.join(of)}" for much, of in alike.items()))
    elif trials and not unknown and len({frozenset(found) for found in trials.values()}) == 1:
        lines.append("equal budgets: as many trials, rows, epochs and batches for each")
    return lines


def _length(run: Run) -> str:
    """How much a run was to see of which number of rows."""
    steps, epochs = run.value("training.max_steps"), run.value("training.epochs")
    much = f"{steps} steps" if steps else f"{epochs} epochs"
    rows = run.record.get("train", {}).get("rows", "?")
    return f"{much} of {run.value('training.batch_size')} of {rows} rows"


def _numbers(found: set[float]) -> str:
    return ", ".join(f"{rate:g}" for rate in sorted(found))


def _trials(found: set[object]) -> str:
    return " or ".join(str(one) for one in sorted(found, key=str) if one is not None) + " trials"


def _rate(run: Run) -> tuple[float, ...]:
    rate = run.value("training.learning_rate")
    return (float(rate),) if isinstance(rate, int | float) else ()


def front(table: Table, of: str) -> list[Row]:
    """The rows that no other beats in score at the same cost or less; by cost. `of`: `trained` or `seconds`."""
    known = [
        (value, row)
        for row in table.rows
        if row.role == "system" and table.metric in row.estimates and (value := getattr(row.cost, of)) is not None
    ]
    best: list[Row] = []
    score = {row.name: better(table.metric) * row.estimates[table.metric].mean for _, row in known}
    for _, row in sorted(known, key=lambda pair: (pair[0], -score[pair[1].name])):
        if not best or score[row.name] > score[best[-1].name]:
            best.append(row)
    return best


def links(paths: Sequence[Path], start: Path) -> dict[Path, str]:
    """Each path as a link from a page in the folder `start`."""
    return {path: Path(os.path.relpath(path, start)).as_posix() for path in paths}
