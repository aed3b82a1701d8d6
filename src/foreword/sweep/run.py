"""A whole sweep in its folder: rung after rung, pass after pass, each kept before the next; then the winner."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from foreword import config as configs
from foreword.api import train_together
from foreword.artifacts.manifest import machine, versions
from foreword.backbone.backbone import Backbone
from foreword.backbone.loading import load as load_backbone
from foreword.errors import ConfigError, ForewordError, Interrupted
from foreword.sweep import state
from foreword.sweep.checking import Checked, check
from foreword.sweep.passes import Leg, run_pass
from foreword.sweep.search import Outcome, candidates, leader
from foreword.sweep.sensitivity import effects
from foreword.sweep.spec import Sweep, Trial
from foreword.training.loop import Reporter, Silent
from foreword.training.record import write_json
from foreword.whole import put

BEST = "best.yaml"


class Observer(Protocol):
    """Who is told how a sweep goes: the command line's bars, or nobody."""

    def begins(self, rung: int, steps: Sequence[int], trials: Sequence[Trial]) -> Sequence[Reporter]:
        """A pass begins, to these steps; one reporter for each of its trials."""

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        """A trial has come to the end of its rung."""


class Unwatched:
    """An observer that says nothing."""

    def begins(self, rung: int, steps: Sequence[int], trials: Sequence[Trial]) -> Sequence[Reporter]:
        """A pass begins, to these steps; one reporter for each of its trials."""
        return [Silent() for _ in trials]

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        """A trial has come to the end of its rung."""


def run(
    sweep: Sweep, folder: Path, *, resume: bool = False, overwrite: bool = False, observer: Observer | None = None
) -> dict[str, Any]:
    """Search, choose the winner by its validation score, score it on test, and write `sweep.json` and `best.yaml`.

    Where the time is up before all rungs are done, the best so far is told, and is not scored on test.

    **Raises** `ForewordError` for a spec that cannot be run, before any model is loaded; where no trial is fit to win;
    `Interrupted` after Ctrl-C. In all but the first case, what is done is kept.
    """
    _check_folder(folder, resume=resume, overwrite=overwrite)
    checked = check(sweep)
    running = Running(sweep, checked, folder, observer or Unwatched())
    if resume and (found := state.read(folder)) is not None:
        running.outcomes = state.outcomes(found, sweep, running.identity)
    if overwrite:
        _clear(folder)
    running.keep()
    try:
        running.search()
        return running.finish()
    except Interrupted:
        done = sum(bool(found) for found in running.outcomes.values())
        raise Interrupted(
            f"the sweep stopped after {done} of {len(sweep.trials)} trials; what is done is kept",
            where=str(folder),
            do="go on with the same command and --resume",
        ) from None


@dataclass(eq=False)
class Running:
    """A sweep on its way. `outcomes`: of each trial, rung by rung."""

    sweep: Sweep
    checked: Checked
    folder: Path
    observer: Observer
    outcomes: dict[int, list[Outcome]] = field(default_factory=dict)
    late: bool = False

    def __post_init__(self) -> None:
        self.identity = state.identity(self.sweep, self.checked.data)
        self._started = time.perf_counter()
        self._backbone: tuple[str, Backbone] | None = None

    def keep(self) -> None:
        """Write down what is known so far."""
        self._write(done=False)

    def search(self) -> None:
        """All rungs, or as many as there is time for."""
        halving, trials = self.sweep.search.halving, self.sweep.trials
        for rung in range(len(self.checked.pauses[0])):
            eta = 1 if halving is None else halving.eta
            numbers = candidates(len(trials), rung, self.outcomes, eta, higher=self.checked.higher)
            for group in self._passes(rung, numbers):
                if self._time_is_up():
                    self.late = True
                    return
                self._pass(rung, group)
        while (best := self._leader()) is not None and not self.outcomes[best.number][-1].done:
            self._pass(len(self.outcomes[best.number]), [best])  # all that had come further have failed

    def finish(self) -> dict[str, Any]:
        """The winner scored and written out. **Raises** `ForewordError` where there is none."""
        best = self._leader()
        if best is None:
            self._write(done=not self.late)
            raise ForewordError(
                "no trial is fit to win: " + (_verdicts(self.outcomes) or "none was run"),
                where=str(self.folder / state.NAME),
                do="look at the reasons there; often the learning rates are too high, or the trials too short",
            )
        head = f"# The winner of {self.sweep.recipe.name} over {', '.join(self.sweep.space.fields)}, by validation.\n"
        put(self.folder / BEST, head + configs.dump(best.config.model_copy(update={"output": None})))
        if not self.late:
            result = self._result(best)
            for trial in self.sweep.trials:
                if trial.number != best.number:
                    (self._place(trial) / "checkpoint.safetensors").unlink(missing_ok=True)
        else:
            result = None
        return self._write(done=not self.late, winner=best, result=result)

    def _passes(self, rung: int, numbers: Sequence[int]) -> Iterator[list[Trial]]:
        """The trials that this rung lacks, in groups that can share a pass; what is done already is carried over."""
        groups: dict[tuple[str, int | None], list[Trial]] = {}
        for number in numbers:
            own, trial = self.outcomes.setdefault(number, []), self.sweep.trials[number]
            if len(own) == rung and own and own[-1].done:
                own.append(own[-1])
            if len(own) == rung:
                groups.setdefault((trial.config.backbone, trial.config.threads), []).append(trial)
        size = self.sweep.search.together
        for group in groups.values():
            yield from (group[start : start + size] for start in range(0, len(group), size))

    def _pass(self, rung: int, group: Sequence[Trial]) -> None:
        steps = [self.checked.pauses[trial.number][rung] for trial in group]
        reporters = self.observer.begins(rung, steps, group)
        backbone = self._load(group[0].config.backbone)
        legs = [Leg(trial, until, self._place(trial)) for trial, until in zip(group, steps, strict=True)]
        found = run_pass(legs, backbone, reporters)
        for trial, outcome in zip(group, found, strict=True):
            self.outcomes[trial.number].append(outcome)
        self.keep()
        for trial, outcome in zip(group, found, strict=True):
            self.observer.ended(trial, outcome)

    def _load(self, name: str) -> Backbone:
        if self._backbone is None or self._backbone[0] != name:
            self._backbone = None  # two large ones need not be held at once
            self._backbone = name, load_backbone(name)
        return self._backbone[1]

    def _leader(self) -> Trial | None:
        number = leader(self.outcomes, higher=self.checked.higher)
        return None if number is None else self.sweep.trials[number]

    def _result(self, best: Trial) -> dict[str, Any]:
        """The winner's record, with what was searched; its training is done, so that it is only scored."""
        path = self._place(best) / "result.json"
        if not path.is_file():
            train_together([best.config], folders=[path.parent], resume=True, backbone=self._load(best.config.backbone))
        made: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        made["search"] = searched(best, [trial for trial in self.sweep.trials if self.outcomes.get(trial.number)])
        write_json(path, made)
        return made

    def _place(self, trial: Trial) -> Path:
        return self.folder / "trials" / f"{trial.number:03d}"

    def _time_is_up(self) -> bool:
        most = self.sweep.search.max_minutes
        return most is not None and time.perf_counter() - self._started >= most * 60

    def _write(
        self, *, done: bool, winner: Trial | None = None, result: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        made: dict[str, Any] = {
            "schema": state.SCHEMA,
            "done": done,
            "recipe": self.sweep.recipe.name,
            "identity": self.identity,
            "metric": self.checked.metric,
            "higher_is_better": self.checked.higher,
            "validation_rows": self.checked.rows,
            "asked": {name: getattr(self.sweep.search, name) for name in state.FREE},
            "trials": state.plain(self.outcomes, self.sweep),
        }
        if winner is not None:
            made["winner"] = _winner(winner, self.outcomes[winner.number][-1], result)
            made["sensitivity"] = [
                asdict(one) for one in effects(self.sweep.trials, self.outcomes, higher=self.checked.higher)
            ]
        made |= {"versions": versions(), "machine": machine()}
        write_json(self.folder / state.NAME, made)
        return made


def searched(winner: Trial, tried: Sequence[Trial]) -> dict[str, Any]:
    """What a comparison has to know of a search: how many trials the winner's method had, and at which rates.

    Trials of other methods, or on other backbones, are no budget of this one's.
    """
    own = [
        trial.config
        for trial in tried
        if (trial.config.method.name, trial.config.backbone) == (winner.config.method.name, winner.config.backbone)
    ]
    return {"trials": len(own), "learning_rates": sorted({config.training.learning_rate for config in own})}


def _winner(trial: Trial, outcome: Outcome, result: dict[str, Any] | None) -> dict[str, Any]:
    made: dict[str, Any] = {"number": trial.number, "values": dict(trial.values), "score": outcome.score}
    for split in ("validation", "test"):
        if result is not None and split in result:
            figures = {name: value for name, value in result[split].items() if isinstance(value, int | float)}
            made[split] = figures | {"majority": result[split].get("majority", {})}
    return made | ({"scored": True} if result is not None else {"scored": False})


def _verdicts(outcomes: dict[int, list[Outcome]]) -> str:
    """How many trials failed, diverged and were degenerate, in words."""
    last = [found[-1] for found in outcomes.values() if found]
    counts = {
        "diverged": sum(one.diverged for one in last),
        "could not be run": sum(one.failure is not None and not one.diverged for one in last),
        "gave one answer everywhere": sum(one.degenerate for one in last),
    }
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def _check_folder(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """**Raises** `ConfigError` where something else is in the folder. Nothing is written yet."""
    if resume and overwrite:
        raise ConfigError("a sweep is either resumed or replaced, not both", do="leave out --resume or --overwrite")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"a sweep is kept in a folder, and this is a file: {folder}", do="choose another by --output")
    there = (folder / state.NAME).exists()
    if resume and not there:
        raise ConfigError(f"there is no sweep to resume in {folder}", do="leave out --resume, or name it by --output")
    if folder.exists() and any(folder.iterdir()) and not (resume or overwrite):
        do = "go on with it by --resume, replace it by --overwrite, or choose another folder by --output"
        raise ConfigError(f"there is {'a sweep' if there else 'something'} already: {folder}", do=do)
    if overwrite and (folder / "trials").exists() and not there:
        raise ConfigError(f"{folder} holds trials of no known sweep", do="choose another folder by --output")


def _clear(folder: Path) -> None:
    """Remove what a sweep writes."""
    for name in (state.NAME, BEST, "sweep.html"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "trials", ignore_errors=True)
