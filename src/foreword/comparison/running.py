"""Train what a comparison asks for and no folder has yet; the only module here that needs torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from foreword import api
from foreword.backbone.backbone import Backbone
from foreword.comparison.plan import Asked
from foreword.config import RunConfig, build, load
from foreword.errors import ConfigError, ForewordError, Interrupted
from foreword.training.loop import Reporter, Silent
from foreword.training.record import write_json
from foreword.whole import put


@dataclass(frozen=True)
class Trained:
    """All runs that have a result now, and what hindered the others."""

    runs: tuple[Asked, ...]
    gaps: tuple[str, ...] = ()

    def keep(self, place: Path) -> list[Path]:
        """Copy every result below `place`, by task, method and seed; the files."""
        for one in self.runs:
            put(place / one.kept, (one.folder / "result.json").read_bytes())
        return [place / one.kept for one in self.runs]


def train_missing(asked: Sequence[Asked], reporter: Callable[[str], Reporter] = lambda name: Silent()) -> Trained:
    """Train every run that has no result yet, one after the other.

    A run that was stopped goes on from its checkpoint, and one whose result is there is not run again. A run that
    fails, because it diverged for example, is named among the gaps, and the others go on.

    **Raises** `ConfigError`, before any model is loaded, for wrong settings and for a folder that holds another run;
    `Interrupted` after Ctrl-C; the first failure where all runs fail.
    """
    configs = [build(RunConfig, one.settings, where=one.name) for one in asked]
    done = [_is_done(one.folder, config) for one, config in zip(asked, configs, strict=True)]
    loaded: dict[str, Backbone] = {}
    failed: dict[Path, ForewordError] = {}
    for one, config, finished in zip(asked, configs, done, strict=True):
        if not finished:
            going_on = (one.folder / "run.yaml").is_file()
            told, known = reporter(f"{one.name}, seed {config.seed}"), loaded.get(config.backbone)
            try:
                made = api.train(config, folder=one.folder, resume=going_on, reporter=told, backbone=known)
                loaded[config.backbone] = made.foreword.bank.backbone
            except Interrupted:
                raise
            except ForewordError as error:
                failed[one.folder] = error
    if len(failed) == len(asked):
        raise next(iter(failed.values()))
    for one in asked:
        if one.searched and one.folder not in failed:
            _tell(one)
    gaps = tuple(f"{folder}: {error.what}" for folder, error in failed.items())
    return Trained(tuple(one for one in asked if one.folder not in failed), gaps)


def _tell(one: Asked) -> None:
    """What was searched for a run, in its result."""
    path = one.folder / "result.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    if record.get("search") != one.searched:
        write_json(path, {**record, "search": one.searched})


def _is_done(folder: Path, config: RunConfig) -> bool:
    """Whether the folder holds the result of this very run."""
    if not (folder / "result.json").is_file():
        return False
    if not (folder / "run.yaml").is_file():
        do = "choose another folder for the comparison, or move it away"
        raise ConfigError("the folder holds a result without its run.yaml", where=str(folder), do=do)
    held, wanted = (one.model_dump(mode="json") for one in (load(folder / "run.yaml"), config))
    other = sorted(name for name in set(wanted) - {"output", "threads"} if wanted[name] != held[name])
    if other:
        raise ConfigError(
            f"the folder holds a run with another {', '.join(other)}",
            where=str(folder),
            do="choose another folder for the comparison, or move that run away",
        )
    return True
