"""A sweep as it is written down: a recipe, a space, a search; and its trials, each checked as a run of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from foreword import config as configs
from foreword.config import RunConfig, Settings
from foreword.errors import ConfigError, did_you_mean
from foreword.sweep.search import Point, SearchConfig, points
from foreword.sweep.space import Space, label, parse

OWN = {"output": "the sweep gives every trial its folder", "threads": "it changes no result, only the time"}
"""Fields of a recipe that no sweep varies, and why."""


class SpaceConfig(Settings):
    """A YAML file of a sweep, or of a space that is joined to a recipe.

    `recipe`: a path, from the file's own folder or the current one. `set`: overrides, as `--set` has them. `space` as
    `foreword.sweep.space` describes it. `search`: how it is searched.
    """

    recipe: str | None = None
    set: list[str] = []
    space: dict[str, Any]
    search: SearchConfig = SearchConfig()


@dataclass(frozen=True)
class Trial:
    """One configuration: its number, the values that make it, and the whole run."""

    number: int
    values: Mapping[str, Any]
    config: RunConfig

    @property
    def title(self) -> str:
        """The trial as one line."""
        return f"trial {self.number}: " + ", ".join(f"{name}={label(value)}" for name, value in self.values.items())


@dataclass(frozen=True)
class Sweep:
    """Everything that is known before any data or model is loaded.

    `base`: the recipe without the space's values; `described`: the space as it was written.
    """

    recipe: Path
    base: RunConfig
    space: Space
    search: SearchConfig
    trials: tuple[Trial, ...]
    described: Mapping[str, Any]


def read(path: Path) -> SpaceConfig | None:
    """The sweep that a YAML file describes, or None where it is a recipe. **Raises** `ConfigError`."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"no such file: {path}", do="give a recipe, or a YAML file with a space:") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"cannot read the sweep: {error}", where=str(path)) from None
    if not isinstance(values, Mapping) or "space" not in values:
        return None
    return configs.build(SpaceConfig, values, where=str(path))


def load(
    path: Path, space: Path | None = None, overrides: Sequence[str] = (), search: Mapping[str, Any] | None = None
) -> Sweep:
    """A sweep from its own file, or from a recipe and the file of a space; `search` are settings over the file's.

    Every trial is built, so that a field, a name or a value that one of them refuses is told here. **Raises**
    `ConfigError`.
    """
    found = read(path)
    if found is not None and space is not None:
        raise ConfigError(f"{path} has a space of its own", do="leave --space out, or give the recipe in its place")
    if found is None and space is None:
        raise ConfigError(
            f"{path} is a recipe, and says of no field what it may be",
            do="give --space FILE, such as one of recipes/search/, or a file with recipe: and space:",
        )
    written = found or read(space or path)
    if written is None:
        raise ConfigError(f"{space} has no space", do="list fields and their values under space:")
    recipe = path if found is None else _recipe(path, written)
    every = (*written.set, *overrides)
    settings = configs.build(SearchConfig, {**written.search.model_dump(exclude_unset=True), **(search or {})})
    return sweep_of(recipe, every, written.space, settings)


def sweep_of(recipe: Path, overrides: Sequence[str], space: Mapping[str, Any], search: SearchConfig) -> Sweep:
    """A sweep from its parts. **Raises** as `load`."""
    base, parsed = configs.load(recipe, overrides), parse(space)
    for name in parsed.fields:
        _check_field(name, base)
    trials = tuple(_trial(n, point, recipe, overrides, base) for n, point in enumerate(points(parsed, search)))
    return Sweep(recipe, base, parsed, search, trials, dict(space))


def _recipe(path: Path, written: SpaceConfig) -> Path:
    if written.recipe is None:
        raise ConfigError("the sweep names no recipe", where=str(path), do="add recipe: PATH, or use it by --space")
    beside = path.parent / written.recipe
    return beside if beside.is_file() else Path(written.recipe)


def _trial(number: int, point: Point, recipe: Path, overrides: Sequence[str], base: RunConfig) -> Trial:
    values = dict(point.values)
    if point.repeat:
        values["seed"] = base.seed + point.repeat
    texts = [f"{name}={_yaml(value)}" for name, value in values.items()]
    try:
        return Trial(number, values, configs.load(recipe, [*overrides, *texts]))
    except ConfigError as error:
        said = ", ".join(texts)
        do = error.do or "change the space, so that every combination of its values is a run"
        raise ConfigError(f"trial {number} is no run: {error.what}", where=f"{recipe} with {said}", do=do) from None


def _yaml(value: Any) -> str:
    """A value as YAML that reads back the same: in a list, since alone some values get a document's end behind them."""
    return yaml.safe_dump([value], default_flow_style=True, width=10**9, allow_unicode=True).strip()[1:-1]


def _check_field(name: str, base: RunConfig) -> None:
    """**Raises** `ConfigError` for a field that no recipe has, with the nearest name."""
    where = f"space.{name}"
    if name in OWN:
        raise ConfigError(f"{name} is not swept: {OWN[name]}", where=where, do="take it out")
    at: Any = base
    parts = name.split(".")
    for number, part in enumerate(parts):
        if not isinstance(at, BaseModel):
            if at is None or isinstance(at, Mapping):
                return  # built with the trial, which knows what may stand there
            raise ConfigError(f"{'.'.join(parts[:number])} is no group of fields", where=where, do="name a field")
        known = type(at).model_fields
        if part not in known:
            prefix = "".join(f"{one}." for one in parts[:number])
            raise ConfigError(f"the recipe has no field {prefix}{part}", where=where, do=did_you_mean(part, known))
        at = getattr(at, part)
