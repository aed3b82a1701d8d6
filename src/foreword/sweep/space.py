"""What a sweep varies: fields of the recipe by their dotted names, and the values that each may take.

A list is a choice. A range is `{uniform: [0, 0.3]}`, `{log_uniform: [1e-4, 1e-1]}`, `{int: [1, 6]}` or
`{log_int: [4, 128]}`, with both ends; `points: 5` says how many of its values a grid takes.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from foreword.errors import ConfigError, did_you_mean

KINDS = ("choice", "uniform", "log_uniform", "int", "log_int")
DIGITS = 4
"""Significant digits of a drawn number: more of them would only be harder to read."""
_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    options: tuple[Any, ...]

    def draw(self, rng: random.Random) -> Any:
        """A value, each as probable as another."""
        return self.options[rng.randrange(len(self.options))]

    def points(self, name: str) -> tuple[Any, ...]:
        """What a grid takes: all of them."""
        return self.options


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; `log`: even on the logarithmic scale; `whole`: integers."""

    low: float
    high: float
    log: bool = False
    whole: bool = False
    count: int | None = None

    def draw(self, rng: random.Random) -> float | int:
        """A value, drawn evenly on the range's scale."""
        if self.whole and not self.log:
            return rng.randint(int(self.low), int(self.high))
        if self.whole:  # every integer has the share of the scale from half a step below it to half a step above
            low, high = math.log(self.low - 0.5), math.log(self.high + 0.5)
            return min(max(round(math.exp(rng.uniform(low, high))), int(self.low)), int(self.high))
        return self._at(rng.random())

    def points(self, name: str) -> tuple[float | int, ...]:
        """What a grid takes: `count` values, evenly spaced on the range's scale, or every integer of it.

        **Raises** `ConfigError` for a range of the field `name` that has no such number.
        """
        if self.count is None:
            if self.whole and not self.log:
                return tuple(range(int(self.low), int(self.high) + 1))
            raise ConfigError(
                f"a grid needs to know how many values of {name} it takes", where=f"space.{name}", do="add points: 5"
            )
        shares = [i / max(self.count - 1, 1) for i in range(self.count)]
        return tuple(dict.fromkeys(round(self._at(s)) if self.whole else self._at(s) for s in shares))

    def _at(self, share: float) -> float:
        if self.log:
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)


@dataclass(frozen=True)
class Space:
    """Fields of the recipe and their values, in the order that they were given."""

    fields: Mapping[str, Choice | Range]

    def draw(self, rng: random.Random) -> dict[str, Any]:
        """One point, each field by itself."""
        return {name: values.draw(rng) for name, values in self.fields.items()}

    def grid(self) -> tuple[tuple[Any, ...], ...]:
        """The values of each field that a grid takes. **Raises** `ConfigError` as `Range.points` does."""
        return tuple(values.points(name) for name, values in self.fields.items())


def parse(given: Mapping[str, Any]) -> Space:
    """A space from plain values. **Raises** `ConfigError` for an empty one, and for every wrong field by its name."""
    if not given:
        raise ConfigError("the space is empty: nothing is to be varied", do="name a field and its values under space:")
    fields = {str(name): _field(str(name), value) for name, value in given.items()}
    for name in fields:
        for other in fields:
            if other.startswith(f"{name}."):
                raise ConfigError(
                    f"the space sets {name} as a whole, and {other} inside it",
                    do=f"give {name} whole groups that differ in {other.removeprefix(f'{name}.')}, or drop one",
                )
    return Space(fields)


def _field(name: str, given: Any) -> Choice | Range:
    where = f"space.{name}"
    if isinstance(given, list):
        return _choice(given, where)
    if not isinstance(given, Mapping):
        raise ConfigError(f"the values of {name} are {given!r}", where=where, do="give a list, or a range")
    kinds = [key for key in given if key in KINDS]
    others = [str(key) for key in given if key not in (*KINDS, "points")]
    if others:
        raise ConfigError(f"unknown kind of values '{others[0]}'", where=where, do=did_you_mean(others[0], KINDS))
    if len(kinds) != 1:
        raise ConfigError(f"the values of {name} need one kind", where=where, do=f"one of: {', '.join(KINDS)}")
    if kinds[0] == "choice":
        if "points" in given:
            raise ConfigError("a choice has no points: a grid takes every value", where=where, do="take points out")
        return _choice(given["choice"], where)
    return _range(kinds[0], given[kinds[0]], given.get("points"), where)


def _choice(given: Any, where: str) -> Choice:
    if not isinstance(given, list) or not given:
        raise ConfigError("a choice needs a list of values", where=where, do="such as [0.001, 0.01]")
    options = tuple(number(value) for value in given)
    try:
        json.dumps(options)
    except TypeError:  # a date, which YAML makes of what looks like one
        raise ConfigError(f"a value is neither text nor number: {given}", where=where, do="put it in quotes") from None
    if len({label(option) for option in options}) < len(options):
        raise ConfigError(f"a value is named twice: {given}", where=where, do="name it once")
    return Choice(options)


def _range(kind: str, given: Any, points: Any, where: str) -> Range:
    ends = [number(value) for value in given] if isinstance(given, list) else []
    log, whole = kind.startswith("log"), kind.endswith("int")
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) and math.isfinite(end) for end in ends)
    if len(ends) != 2 or not numbers or ends[0] >= ends[1]:
        raise ConfigError(f"{kind}: {given!r} is no range", where=where, do=f"give two numbers: {kind}: [low, high]")
    if whole and any(end != int(end) for end in ends):
        raise ConfigError(f"{kind}: {given!r} are no integers", where=where, do=f"use {kind.replace('int', 'uniform')}")
    if log and ends[0] <= 0:
        raise ConfigError(f"{kind}: {given!r} goes down to {ends[0]}, which has no logarithm", where=where,
                          do="begin above 0")  # fmt: skip
    if points is not None and (not isinstance(points, int) or isinstance(points, bool) or points < 1):
        raise ConfigError(f"points: {points!r} is no number of values", where=where, do="such as points: 5")
    return Range(float(ends[0]), float(ends[1]), log, whole, points)


def number(value: Any) -> Any:
    """The number that `1e-3` means, which YAML 1.1 takes for a text for want of a point; any other value as it is."""
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


def label(value: Any) -> str:
    """A value as a short text, for tables and for telling values apart."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
