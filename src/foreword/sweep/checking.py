"""What is wrong with a sweep's trials that can be told from their data, before any model is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from foreword import config as configs
from foreword.artifacts.starting import pinned
from foreword.assembly import template_of
from foreword.data import Dataset
from foreword.data.loading import load as load_data
from foreword.data.loading import task_for
from foreword.errors import ConfigError, ForewordError
from foreword.evaluation.metrics import METRICS
from foreword.sweep.search import rungs_of
from foreword.sweep.spec import Sweep, Trial
from foreword.training.loop import check_training, schedule_for


@dataclass(frozen=True)
class Checked:
    """What the trials have in common, and where each is compared.

    `metric`: what they are chosen by. `rows`: of validation. `pauses`: for each trial the steps of its rungs, as many
    for all. `data`: fingerprints of the rows of the first trial by split.
    """

    metric: str
    higher: bool
    rows: int
    pauses: tuple[tuple[int, ...], ...]
    data: Mapping[str, str]


def check(sweep: Sweep) -> Checked:
    """Load the data of all trials. **Raises** `ForewordError` for one that cannot be run, or not be compared."""
    sets: dict[str, Dataset] = {}
    metrics: dict[str, Trial] = {}
    rows: dict[tuple[str, str], Trial] = {}
    rungs = []
    for trial in sweep.trials:
        try:
            dataset, metric = _one(trial, sets)
        except ForewordError as error:
            raise type(error)(f"{trial.title}: {error.what}", where=error.where, do=error.do) from None
        if not dataset.splits.get("validation"):
            raise ConfigError(
                "a sweep chooses by the validation rows, and there are none", where=dataset.source,
                do="set data.split.validation, such as 0.1",
            )  # fmt: skip
        metrics.setdefault(metric, trial)
        rows.setdefault((dataset.task, dataset.fingerprint("validation")), trial)
        schedule = schedule_for(trial.config.training, len(dataset.rows("train")))
        rungs.append(rungs_of(schedule, sweep.search.halving))
    if len(metrics) > 1:
        raise ConfigError(f"the trials are chosen by different metrics: {', '.join(metrics)}", do="sweep one metric")
    if len(rows) > 1:
        one, other = list(rows.values())[:2]
        raise ConfigError("the trials have different validation rows, so their scores mean different things",
                          where=f"{one.title}; {other.title}", do="take that field out of the space")  # fmt: skip
    metric, most = next(iter(metrics)), max(map(len, rungs))
    if sweep.search.halving is not None and most == 1:
        raise ConfigError(
            "the first rung lies behind the end of every trial",
            do="lower halving.min_steps or .min_epochs, or evaluate more often (training.evaluate_every)",
        )
    pauses = tuple((*found, *[found[-1]] * (most - len(found))) for found in rungs)
    first = _dataset(sweep.trials[0], sets)
    data: dict[str, str] = {split: first.fingerprint(split) for split in first.splits}
    for trial in sweep.trials:
        begun = pinned(trial.config).init_from
        if begun is not None and begun.sha256 is not None:
            data[f"init_from {begun.artifact}"] = begun.sha256
    return Checked(metric, METRICS[metric].higher_is_better, len(first.rows("validation")), pauses, data)


def _one(trial: Trial, sets: dict[str, Dataset]) -> tuple[Dataset, str]:
    config = trial.config
    dataset, task = _dataset(trial, sets), task_for(config.data, config.task)
    template_of(config.template, task)
    check_training(config.training, task, bool(dataset.splits.get("validation")), len(dataset.labels))
    return dataset, config.training.metric or task.selects_by


def _dataset(trial: Trial, sets: dict[str, Dataset]) -> Dataset:
    """The trial's data, loaded once for all trials that share them."""
    task = task_for(trial.config.data, trial.config.task)
    key = f"{task.name}\n{configs.dump(trial.config.data)}"
    if key not in sets:
        sets[key] = load_data(trial.config.data, task)
    return sets[key]
