"""The Python API: train a run, load a foreword, predict and evaluate."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from foreword import config as configs
from foreword.artifacts import starting, storage
from foreword.assembly import Assembly, assemble, template_of
from foreword.backbone.backbone import Backbone
from foreword.backbone.loading import load as load_backbone
from foreword.bank import Bank
from foreword.batch import Item
from foreword.config import RunConfig
from foreword.data import Dataset
from foreword.data.loading import load as load_data
from foreword.data.loading import task_for
from foreword.errors import ConfigError, ForewordError
from foreword.evaluation.measuring import evaluate
from foreword.evaluation.scoring import Scored
from foreword.evaluation.writing import measure
from foreword.injections import Injection
from foreword.training.checkpoint import Progress
from foreword.training.compiling import check_compiling
from foreword.training.drift import with_drift
from foreword.training.folder import check_folder, log_of, make_folder
from foreword.training.loop import OWNER, Loop, Reporter, Silent, check_training, run_together
from foreword.training.plan import Plan, plan_of
from foreword.training.plan import together as plans_together
from foreword.training.record import record, write_json
from foreword.training.route import Route, Splits, follow, route_of
from foreword.training.stopping import ending
from foreword.use import Foreword
from foreword.use import Prediction as Prediction
from foreword.use import data_for as data_for
from foreword.use import load as load

SWAPPED = "swapped"
"""The training rows with their two texts in the other order, among a run's items."""
TIMED = 64
"""Rows by which the time of an answer is measured where scoring used what is kept."""


Config = RunConfig | Mapping[str, Any] | str | Path
"""Settings, plain values of them, or a recipe's path."""


@dataclass(frozen=True)
class Result:
    """A finished run: the foreword, the record that was written, and the scores of each split."""

    foreword: Foreword
    record: dict[str, Any]
    scored: dict[str, Scored]
    folder: Path | None = None


@dataclass
class Prepared:
    """A run whose data, backbone and parts are loaded, and nothing done yet. Its plan is made when it is asked for."""

    config: RunConfig
    dataset: Dataset
    assembly: Assembly
    items: dict[str, list[Item]]
    owner: str = OWNER
    route: Route = field(init=False)

    def __post_init__(self) -> None:
        if self.config.training.swap_pairs:
            self.items[SWAPPED] = swapped(self)
        self.route = route_of(self.assembly, self.items)

    @cached_property
    def plan(self) -> Plan:
        """What the run will do."""
        return plan_of(self.assembly, self.items["train"], self.items.get("validation", []), self.route)


def prepare(config: RunConfig, backbone: Backbone | None = None, owner: str = OWNER) -> Prepared:
    """Load and check everything that a run needs, cheapest first; `plan` says what it will do.

    `backbone`: one that is loaded already, to share it between runs. `owner`: what the run's rows call its foreword.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    task = task_for(config.data, config.task)
    template_of(config.template, task)
    if task.answer == "text":
        measure(["a"], [["a"]], task.metrics)  # a package that is missing is told now, not after the training
    dataset = load_data(config.data, task)
    check_training(config.training, task, bool(dataset.splits.get("validation")), len(dataset.labels))
    config = starting.pinned(config)  # an artifact that does not fit is told before any model is loaded
    if backbone is None:
        backbone = load_backbone(config.backbone)
    assembly = assemble(config, backbone, task, dataset.labels, dataset.rows("train"))
    starting.begin(assembly)
    if config.training.compile:
        check_compiling(assembly)
    items: dict[str, list[Item]] = {
        split: [assembly.reader.item(row, owner) for row in rows] for split, rows in dataset.splits.items()
    }
    return Prepared(config, dataset, assembly, items, owner)


def identity(prepared: Prepared) -> str:
    """What a checkpoint belongs to: the settings, the rows, and the backbone's weights."""
    data = {split: prepared.dataset.fingerprint(split) for split in prepared.dataset.splits}
    return json.dumps([configs.dump(prepared.config), data, prepared.assembly.backbone.fingerprint])


def swapped(prepared: Prepared) -> list[Item]:
    """The training items with their two texts in the other order."""
    first, second = prepared.assembly.reader.task.fields
    rows = prepared.dataset.rows("train")
    return [prepared.assembly.reader.item({**r, first: r[second], second: r[first]}, prepared.owner) for r in rows]


def train(
    config: Config,
    *,
    folder: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    reporter: Reporter | None = None,
    on_plan: Callable[[Plan], None] = lambda plan: None,
    backbone: Backbone | None = None,
) -> Result:
    """Train, evaluate and save one run.

    **Arguments:** `config`: settings, plain values, or a recipe's path. `folder`: where the run is kept (default: the
    settings' `output`; None keeps nothing). `resume`: go on from the folder's checkpoint. `overwrite`: replace a run
    that is there. `reporter` and `on_plan` are told how it goes.

    **Raises** `ForewordError` for anything that the user can mend; `Interrupted` after Ctrl-C, with the state saved.
    """
    reporters = None if reporter is None else [reporter]
    return train_together(
        [config],
        folders=None if folder is None else [folder],
        resume=resume,
        overwrite=overwrite,
        reporters=reporters,
        on_plan=on_plan,
        backbone=backbone,
    )[0]


def train_together(
    settings: Sequence[Config],
    *,
    folders: Sequence[str | Path | None] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    reporters: Sequence[Reporter] | None = None,
    on_plan: Callable[[Plan], None] = lambda plan: None,
    backbone: Backbone | None = None,
) -> list[Result]:
    """Train several runs on one backbone in one pass: seeds, rates, methods, tasks; the results of separate runs.

    **Arguments** and **raises** as in `train`; `folders` and `reporters` have one for each of the settings. Each run
    has its own optimiser, schedule and early stop. `seconds` and `kept_seconds` in their records are those of all.
    """
    runs = [starting.pinned(as_config(config)) for config in settings]
    _check_one_backbone(runs)
    places = _places(runs, folders, resume=resume, overwrite=overwrite)
    told = list(reporters) if reporters is not None else [Silent() for _ in runs]
    prepared = _prepare_all(runs, backbone)
    for one, place in zip(prepared, places, strict=True):
        on_plan(one.plan)
        if place is not None:
            make_folder(place, one.config, anew=overwrite)
            write_json(place / "plan.json", one.plan.to_dict())
    started = [start(*parts) for parts in zip(prepared, places, told, strict=True)]
    loops = [one.loop for one in started if one.loop is not None]
    if loops:
        run_together(loops, resume)
    return _finish_all(started)


def plans(settings: Sequence[Config], backbone: Backbone | None = None) -> list[Plan]:
    """What runs that share a pass would do; nothing is run or written. **Raises** `ForewordError` as training does."""
    runs = [as_config(config) for config in settings]
    _check_one_backbone(runs)
    return [one.plan for one in _prepare_all(runs, backbone)]


def _check_one_backbone(runs: Sequence[RunConfig]) -> None:
    names = {run.backbone for run in runs}
    if not runs or len(names) > 1:
        raise ConfigError(
            f"runs in one pass share one backbone, and there are {len(names)}: {', '.join(sorted(names)) or 'no runs'}",
            do="train them one after the other",
        )


def _prepare_all(runs: Sequence[RunConfig], backbone: Backbone | None) -> list[Prepared]:
    """Every run prepared on one backbone, their plans with the memory of all."""
    prepared: list[Prepared] = []
    for number, run in enumerate(runs):
        prepared.append(prepare(run, backbone, OWNER if len(runs) == 1 else f"{OWNER}{number}"))
        backbone = prepared[-1].assembly.backbone
    if len(prepared) > 1:
        for one, plan in zip(prepared, plans_together([one.plan for one in prepared]), strict=True):
            one.plan = plan
    return prepared


def _places(
    runs: Sequence[RunConfig], folders: Sequence[str | Path | None] | None, *, resume: bool, overwrite: bool
) -> list[Path | None]:
    """A folder for each run, checked. Resuming, a run that was not begun yet begins where another has."""
    targets = list(folders) if folders is not None else [run.output for run in runs]
    places = [None if target is None else Path(target) for target in targets]
    kept = [place.resolve() for place in places if place is not None]
    if len(places) != len(runs) or len(set(kept)) < len(kept):
        raise ConfigError("every run needs a folder of its own", do="give as many folders as runs")
    if len({run.threads for run in runs}) > 1:
        raise ConfigError("runs in one pass share their threads, and the settings ask for different numbers")
    some = resume and any(place is not None and (place / "run.yaml").exists() for place in places)
    going_on = [resume and (place is None or not some or (place / "run.yaml").exists()) for place in places]
    for place, run, goes_on in zip(places, runs, going_on, strict=True):
        if place is not None:
            check_folder(place, run, resume=goes_on, overwrite=overwrite)
    return places


def _finish_all(started: Sequence[Started]) -> list[Result]:
    """Write all runs down, then **raise** `ForewordError` for those that could not go on."""
    together = sum(one.loop is not None for one in started)
    failed = [one for one in started if one.loop is not None and one.loop.failure is not None]
    kept = sum(one.keeping.seconds for one in started)
    results = [_finish(one, together, kept) for one in started if one not in failed]
    if not failed:
        return results
    first = failed[0].loop.failure if failed[0].loop else None
    assert first is not None
    which = ", ".join(str(one.place or f"seed {one.prepared.config.seed}") for one in failed)
    raise ForewordError(f"{first.what}; {len(results)} of {len(started)} runs are done", where=which, do=first.do)


@dataclass(frozen=True)
class Keeping:
    """What it cost to have what is kept: `seconds`, and `error`, the largest of float16 (None for float32)."""

    seconds: float = 0.0
    error: float | None = None


@dataclass(eq=False)
class Started:
    """A run on its way: its items as its route has them, and its loop, or None where it trains nothing."""

    prepared: Prepared
    items: Splits
    loop: Loop | None
    place: Path | None
    keeping: Keeping


def start(prepared: Prepared, place: Path | None, reporter: Reporter) -> Started:
    """Take the run's route: what is kept of its rows is made now, for the splits that are among its items."""
    errors: list[float] = []
    begun = time.perf_counter()
    with ending("stopped while what is kept of the data was made"):
        items = follow(prepared.route, prepared.assembly, prepared.items, reporter.kept, errors.append)
    took = 0.0 if prepared.route.wanted is None else time.perf_counter() - begun
    keeping = Keeping(took, max(errors, default=None))
    if not prepared.assembly.trained():
        return Started(prepared, items, None, place, keeping)
    rows, validation, twins = items["train"], items.get("validation", []), items.get(SWAPPED, ())
    run, log = identity(prepared), with_drift(log_of(place), prepared.assembly.method)
    loop = Loop(prepared.assembly, rows, validation, place, reporter, log, run, twins, prepared.route)
    return Started(prepared, items, loop, place, keeping)


def _finish(started: Started, together: int, kept: float) -> Result:
    """Score the trained parts and write everything down; `kept`: seconds that making what is kept took, of all runs."""
    prepared, items, place = started.prepared, started.items, started.place
    progress = Progress(done=True) if started.loop is None else started.loop.progress
    assembly, dataset = prepared.assembly, prepared.dataset
    name = re.sub(r"[^\w.-]+", "-", f"{Path(dataset.name).stem}-{prepared.config.method.name}")
    assembly.readout.eval().requires_grad_(False)
    bank, injection = Bank(assembly.backbone), assembly.method.at_rest()
    budget, task = prepared.config.training.max_tokens, assembly.reader.task
    begun = time.perf_counter()
    with torch.no_grad():
        bank.put(prepared.owner, prepared.route.compiled(assembly.backbone, injection), assembly.readout)
    splits = [split for split in ("validation", "test") if items.get(split)]
    if task.answer == "text" and prepared.route.wanted is not None:  # what was run before cannot be continued
        bank.put(prepared.owner, injection, assembly.readout)
        items = prepared.items
    scored = {split: evaluate(bank, items[split], task, assembly.reader.labels, budget) for split in splits}
    took = time.perf_counter() - begun
    latency = _latency(started, bank, injection, took, sum(len(items[split]) for split in splits))
    bank.remove(prepared.owner)
    bank.put(name, injection, assembly.readout)
    cut = {split: assembly.reader.cut(rows) for split, rows in prepared.items.items() if split != SWAPPED}
    made = record(assembly, dataset, prepared.plan, progress, scored, len(prepared.items["train"]), took, cut)
    made["together"], made["latency_ms"] = together, latency
    made["kept_seconds"], made["kept_error"] = round(kept, 3), started.keeping.error
    metrics = {split: one.metrics for split, one in scored.items()}
    manifest = storage.describe(assembly, name, metrics)
    if place is not None:
        storage.save(assembly, place / "artifact", name, metrics)
        write_json(place / "result.json", made)
    return Result(Foreword(name, bank, assembly.reader, manifest), made, scored, place)


def _latency(started: Started, bank: Bank, injection: Injection, took: float, rows: int) -> float | None:
    """Milliseconds a row through all layers, in batches; where layers were kept, of the first rows run without that."""
    prepared, assembly = started.prepared, started.prepared.assembly
    items = prepared.items.get("test") or prepared.items.get("validation")
    if not items or prepared.route.wanted is None or assembly.reader.task.answer == "text":
        return round(1000 * took / rows, 3) if rows else None
    bank.put(prepared.owner, injection, assembly.readout)
    begun = time.perf_counter()
    evaluate(bank, items[:TIMED], assembly.reader.task, assembly.reader.labels, prepared.config.training.max_tokens)
    return round(1000 * (time.perf_counter() - begun) / len(items[:TIMED]), 3)


def as_config(config: Config) -> RunConfig:
    """Settings from whatever describes them."""
    if isinstance(config, RunConfig):
        return config
    return configs.load(config) if isinstance(config, str | Path) else configs.build(RunConfig, config)
