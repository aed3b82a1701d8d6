"""What a comparison asks to be trained: methods, tasks, seeds and one budget for all, in a small YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from foreword.config import Settings, build
from foreword.errors import ConfigError

Values = dict[str, Any]


NAME = re.compile(r"[^/\\\x00-\x1f]*")
"""What a task or a method may be called, since files are called after it."""


class Plan(Settings):
    """Every method on every task with every seed.

    `tasks` and `methods`: names, each with fields of a recipe, or with a recipe's file; a method's fields go over its
    task's. `budget`: fields of `training` that all runs share, such as `max_steps`. `folder`: where the runs are kept.

    A method may have a `space` of values that are searched on each task, as those of a sweep: all with as many trials
    (`search`, a grid unless told otherwise), by the validation rows and with the first seed.
    """

    methods: dict[str, str | Values] = Field(min_length=1)
    tasks: dict[str, str | Values] = Field(default={"": {}}, min_length=1)
    seeds: list[int] = Field(default=[0], min_length=1)
    budget: Values = {}
    search: Values = {}
    folder: str = "runs/compare"


@dataclass(frozen=True)
class Asked:
    """One run that a plan asks for: its settings as plain values, its folder, and the file of a result that is kept.

    `space`, `search`: what is to be searched before it is run, by its task and method's first seed. `searched`: what
    its result tells of a search that is over.
    """

    name: str
    settings: Values
    folder: Path
    kept: str
    space: Values = field(default_factory=dict)
    search: Values = field(default_factory=dict)
    searched: Values = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return int(self.settings["seed"])


def read_yaml(path: Path) -> Values:
    """**Raises** `ConfigError` for what is no mapping in YAML."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", where=str(path)) from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"not valid YAML: {error}", where=str(path)) from None
    if not isinstance(values, dict):
        raise ConfigError("a recipe or a comparison is a mapping of fields to values", where=str(path))
    return values


def asked(path: Path, seeds: Sequence[int] | None = None) -> list[Asked]:
    """The runs that a YAML asks for: a comparison's (it has `methods`), or a recipe's with `seeds`.

    **Raises** `ConfigError` for unknown fields, seeds that are told twice, and files that are not there.
    """
    values = read_yaml(path)
    if "methods" not in values:
        own = [_seed(values, path)] if seeds is None else list(seeds)
        name = f"{path.absolute().parent.name}-{path.stem}"
        return [_asked(name, name, values, seed, Path("runs/compare")) for seed in own]
    if seeds is not None:
        raise ConfigError("a comparison names its own seeds", where=str(path), do="leave out --seeds")
    plan = build(Plan, values, where=str(path))
    if len(set(plan.seeds)) < len(plan.seeds) or min(plan.seeds) < 0:
        raise ConfigError(f"seeds: {plan.seeds} are not different numbers from 0", where=str(path))
    for name in (*plan.tasks, *plan.methods):
        if name in (".", "..") or not NAME.fullmatch(name):
            raise ConfigError(f"'{name}' cannot be the name of a file", where=str(path), do="give it a plain name")
    made: list[Asked] = []
    for task, of_task in plan.tasks.items():
        for method, of_method in plan.methods.items():
            merged = merge(_values(of_task, path), _values(of_method, path))
            merged = merge(merged, {"training": plan.budget}) if plan.budget else merged
            space, name = merged.pop("space", {}), f"{task}-{method}" if task else method
            _check_space(space, plan.budget, f"{path}: {method}")
            kept = f"{task}/{method}" if task else method
            runs = [_asked(name, kept, merged, seed, Path(plan.folder)) for seed in plan.seeds]
            made += (
                [replace(run, space=space, search={"kind": "grid", **plan.search}) for run in runs] if space else runs
            )
    _check_folders(made, path)
    return made


def _seed(values: Mapping[str, Any], path: Path) -> int:
    seed = values.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ConfigError(f"seed: {seed!r} is no number from 0", where=str(path))
    return seed


def _check_space(space: object, budget: Mapping[str, Any], where: str) -> None:
    """**Raises** `ConfigError` for what is no space, and for one that varies what the budget holds equal."""
    if not isinstance(space, Mapping):
        raise ConfigError(f"space: {space!r} is no mapping of fields to values", where=where)
    own = {"training", *(f"training.{name}" for name in budget)} if budget else set()
    if taken := sorted(str(name) for name in space if name in own):
        raise ConfigError(
            f"the space varies {', '.join(taken)}, which the budget holds equal for all methods",
            where=where,
            do="take it out of one of them",
        )


def _check_folders(made: Sequence[Asked], path: Path) -> None:
    """**Raises** `ConfigError` where two runs would lie in one folder."""
    first: dict[Path, str] = {}
    for one in made:
        other = first.setdefault(one.folder, one.kept)
        if other != one.kept:
            raise ConfigError(
                f"{other} and {one.kept} would both be kept in {one.folder}", where=str(path), do="rename one of them"
            )


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> Values:
    """Fields of both, those of `over` where both have them; mappings are merged field by field.

    Another `method` or `readout` takes the place of the one below it: their fields do not mix.
    """
    made = dict(under)
    for name, value in over.items():
        below = made.get(name)
        both = isinstance(below, Mapping) and isinstance(value, Mapping) and name not in ("method", "readout")
        made[name] = merge(below, value) if both and isinstance(below, Mapping) else value
    return made


def _values(given: str | Values, plan: Path) -> Values:
    """Fields as they stand, or those of a recipe's file: from here, else from beside the plan."""
    if not isinstance(given, str):
        return given
    places = [Path(given), plan.parent / given]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise ConfigError(f"no such recipe: {given}", where=str(plan), do="give a YAML file, or the recipe's fields")
    return read_yaml(found)


def _asked(name: str, kept: str, values: Mapping[str, Any], seed: int, folder: Path) -> Asked:
    return Asked(name, {**values, "seed": seed}, folder / f"{name}-seed{seed}", f"{kept}-seed{seed}.json")
