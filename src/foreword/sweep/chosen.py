"""A comparison whose methods are searched first: each on each task, with as many trials, by the validation rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from foreword import config as configs
from foreword.comparison.plan import Asked
from foreword.errors import ConfigError, ForewordError, Interrupted
from foreword.sweep import state
from foreword.sweep.checking import check
from foreword.sweep.run import Observer, run
from foreword.sweep.search import Outcome, SearchConfig
from foreword.sweep.space import parse
from foreword.sweep.spec import Sweep, Trial, sweep_of
from foreword.training.loop import Reporter, Silent
from foreword.whole import put


@dataclass(frozen=True)
class Chosen:
    """The runs that are left to train, none of which has a space any more, and what hindered the others."""

    asked: tuple[Asked, ...]
    gaps: tuple[str, ...] = ()


def choose(asked: Sequence[Asked], reporter: Callable[[str], Reporter] = lambda name: Silent()) -> Chosen:
    """Search for each task and method that has a space; its runs take the winner's values, the first one its run too.

    A search that was stopped goes on, and one that is over is not run again: it lies beside the runs, in
    `NAME-search`. A search that fails is named among the gaps, and its runs are left out.

    **Raises** `ForewordError`, before any model is loaded, for settings and data that cannot be run, a space that is no
    space, and unequal budgets; `Interrupted` after Ctrl-C; the first failure where all fail.
    """
    for one in asked:
        if not one.space:
            configs.build(configs.RunConfig, one.settings, where=one.name)
    sweeps = {one.name: _sweep(one) for one in _firsts(asked)}
    _check_equal({name: len(sweep.trials) for name, sweep in sweeps.items()})
    for sweep in sweeps.values():
        check(sweep)  # the last one's data too, before the first one is run
    winners: dict[str, Winner] = {}
    failed: dict[str, ForewordError] = {}
    for one in _firsts(asked):
        try:
            winners[one.name] = _winner(sweeps[one.name], _beside(one), Watching(one.name, reporter))
        except Interrupted:
            raise
        except ForewordError as error:
            failed[one.name] = error
    made = [_settled(one, winners.get(one.name)) for one in asked if one.name not in failed]
    if failed and not made:
        raise next(iter(failed.values()))
    return Chosen(tuple(made), tuple(f"{name}: {error.what}" for name, error in failed.items()))


@dataclass(frozen=True)
class Winner:
    """The trial that won, where its run lies, and what was searched."""

    trial: Trial
    folder: Path
    searched: Mapping[str, Any]


@dataclass(eq=False)
class Watching:
    """A search that is told as the runs are: a bar for each pass, under the first of its trials."""

    name: str
    reporter: Callable[[str], Reporter]

    def begins(self, rung: int, steps: Sequence[int], trials: Sequence[Trial]) -> Sequence[Reporter]:
        """A pass begins; one reporter for each of its trials."""
        return [self.reporter(f"{self.name}, {trials[0].title}"), *(Silent() for _ in trials[1:])]

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        """A trial has come to the end of its rung."""


def _firsts(asked: Sequence[Asked]) -> list[Asked]:
    """The run by which each task and method is searched: that of its first seed."""
    found: dict[str, Asked] = {}
    for one in asked:
        if one.space:
            found.setdefault(one.name, one)
    return list(found.values())


def _beside(one: Asked) -> Path:
    return one.folder.parent / f"{one.name}-search"


def _sweep(one: Asked) -> Sweep:
    """The search as a sweep over the run's own recipe. **Raises** `ConfigError`."""
    where = f"{one.name}: search"
    search = configs.build(SearchConfig, one.search, where=where)
    if search.max_minutes is not None:
        raise ConfigError("budgets by the clock are not equal ones", where=where, do="give trials in place of minutes")
    path = one.folder.parent / f"{one.name}-search.yaml"
    parse(one.space)  # before anything is written
    put(path, f"# What the search for {one.name} begins with.\n" + yaml.safe_dump(one.settings, sort_keys=False))
    return sweep_of(path, (), one.space, search)


def _check_equal(trials: Mapping[str, int]) -> None:
    """**Raises** `ConfigError` where one search has more trials than another."""
    if len(set(trials.values())) > 1:
        most, least = max(trials, key=trials.__getitem__), min(trials, key=trials.__getitem__)
        raise ConfigError(
            f"unequal budgets: {trials[most]} trials for {most}, {trials[least]} for {least}",
            do="give every space as many values, or search.trials",
        )


def _winner(sweep: Sweep, folder: Path, observer: Observer) -> Winner:
    """The sweep begun, gone on with, or read where it is over. **Raises** as `foreword.sweep.run.run`."""
    made = run(sweep, folder, resume=(folder / state.NAME).is_file(), observer=observer)
    trial = sweep.trials[made["winner"]["number"]]
    place = folder / "trials" / f"{trial.number:03d}"
    return Winner(trial, place, json.loads((place / "result.json").read_text(encoding="utf-8"))["search"])


def _settled(one: Asked, winner: Winner | None) -> Asked:
    """The run by the winner's values; that of the winner's own seed is the one that the search has made."""
    if winner is None:
        return one
    settings = {**winner.trial.config.model_dump(mode="json"), "seed": one.seed, "output": None}
    if one.seed == winner.trial.config.seed:
        for name in ("run.yaml", "result.json"):
            put(one.folder / name, (winner.folder / name).read_bytes())
    return replace(one, settings=settings, space={}, searched=dict(winner.searched))
