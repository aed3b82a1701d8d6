"""One pass: a few trials on one backbone, each from its checkpoint to the step where it is compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from foreword.api import Started, prepare, start
from foreword.backbone.backbone import Backbone
from foreword.bank import Bank
from foreword.errors import ForewordError, Interrupted
from foreword.evaluation.measuring import evaluate
from foreword.evaluation.scoring import Scored
from foreword.sweep.search import Outcome
from foreword.sweep.spec import Trial
from foreword.training.folder import make_folder
from foreword.training.loop import OWNER, Reporter, metric_of, run_together


@dataclass(frozen=True)
class Leg:
    """A trial's part of a pass: it goes on to the step `until`, and is kept in `place`."""

    trial: Trial
    until: int
    place: Path


def run_pass(legs: Sequence[Leg], backbone: Backbone, reporters: Sequence[Reporter]) -> list[Outcome]:
    """Go on with each trial from where its folder stands; what each gave. Test rows are not looked at.

    A trial that cannot be made, or whose loss is not finite, is told as such in its outcome, and the others go on.
    **Raises** `Interrupted` after Ctrl-C, with all states saved.
    """
    runs = [_begin(number, leg, backbone, told) for number, (leg, told) in enumerate(zip(legs, reporters, strict=True))]
    loops = [run.loop for run in runs if isinstance(run, Started) and run.loop is not None]
    try:
        run_together(loops, resume=True)
    except ForewordError as error:
        if all(loop.failure is not error for loop in loops):
            raise
    return [run if isinstance(run, Outcome) else _outcome(run) for run in runs]


def _begin(number: int, leg: Leg, backbone: Backbone, reporter: Reporter) -> Started | Outcome:
    """The trial made ready, or why it cannot be."""
    try:
        prepared = prepare(leg.trial.config, backbone, f"{OWNER}{number}")
    except Interrupted:
        raise
    except ForewordError as error:
        return Outcome(None, done=True, failure=error.what)
    make_folder(leg.place, leg.trial.config, anew=False)
    prepared.items.pop("test", None)  # whose rows need no more than the winner's look at them
    started = start(prepared, leg.place, reporter)
    if started.loop is not None:
        started.loop.pause_at = leg.until
    return started


def _outcome(run: Started) -> Outcome:
    parameters = sum(parameter.numel() for parameter in run.prepared.assembly.trained().values())
    if run.loop is None:
        scored = _score(run)
        return Outcome(scored.metrics[metric_of(run.prepared.assembly)], done=True, degenerate=scored.degenerate)
    progress, failure = run.loop.progress, run.loop.failure
    about: dict[str, Any] = {
        "step": progress.step,
        "parameters": parameters,
        "seconds": round(progress.seconds, 2),
    }
    if failure is not None:
        return Outcome(None, done=True, failure=failure.what, diverged=True, **about)
    if progress.best is None or not math.isfinite(progress.best):
        return Outcome(None, done=True, failure=f"the validation score is {progress.best}", diverged=True, **about)
    return Outcome(
        progress.best, best_step=progress.best_step, done=progress.done, degenerate=_score(run).degenerate, **about
    )


def _score(run: Started) -> Scored:
    """The validation rows under the parameters as they are: the best so far, once a pass is over."""
    assembly, owner = run.prepared.assembly, run.prepared.owner
    bank, reader = Bank(assembly.backbone), assembly.reader
    assembly.readout.eval()
    with torch.no_grad():
        injection = run.prepared.route.compiled(assembly.backbone, assembly.method.at_rest())
    bank.put(owner, injection, assembly.readout)
    budget = run.prepared.config.training.max_tokens
    return evaluate(bank, run.items["validation"], reader.task, reader.labels, budget, quick=True)
