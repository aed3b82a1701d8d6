"""What mattered: the validation score against each field that was varied, over the trials that had an equal budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from foreword.sweep.search import Outcome, Outcomes
from foreword.sweep.space import label
from foreword.sweep.spec import Trial

MOST_GROUPS = 6
"""Different numbers of a field that are told one by one; more of them are told in ranges."""
BINS = 4


@dataclass(frozen=True)
class Group:
    """Trials whose field has one value, or one of a range: how many, and their mean, best and worst score."""

    values: str
    trials: int
    mean: float
    best: float
    worst: float


@dataclass(frozen=True)
class Effect:
    """What one field did. `spread`: between the means of its best and its worst group.

    `steps`: the least and the most that the trials behind it had been trained. `points`: each value with its score, and
    whether the trial was degenerate then. `log`: whether the numbers are better shown on a logarithmic scale.
    `left_out`: trials that came to no score.
    """

    name: str
    spread: float
    groups: list[Group]
    points: list[tuple[Any, float, bool]]
    steps: tuple[int, int]
    log: bool
    left_out: int


def effects(trials: Sequence[Trial], outcomes: Outcomes, *, higher: bool) -> list[Effect]:
    """The effect of every field, the one with the largest spread first.

    Scores are those of the first rung, which all trials had; without halving it is their end. Fields are varied at
    once, so that with few trials an effect may be another field's.
    """
    pairs = [(trial, outcomes[trial.number][0]) for trial in trials if outcomes.get(trial.number)]
    used = [(trial, outcome) for trial, outcome in pairs if outcome.score is not None]
    names = dict.fromkeys(name for trial in trials for name in trial.values)
    found = [_effect(name, used, len(pairs) - len(used), higher) for name in names] if used else []
    return sorted(found, key=lambda one: -one.spread)


def _effect(name: str, used: Sequence[tuple[Trial, Outcome]], left_out: int, higher: bool) -> Effect:
    points: list[tuple[Any, float]] = [
        (trial.values.get(name, getattr(trial.config, name, None)), outcome.score)  # a grid's first round has no seed
        for trial, outcome in used
        if outcome.score is not None
    ]
    steps = [outcome.step for _, outcome in used]
    shown = [(value, score, one.degenerate) for (value, score), (_, one) in zip(points, used, strict=True)]
    numbers = [value for value, _ in points if _is_number(value)]
    ranked = len(numbers) == len(points)
    parts = _ranges(points) if ranked and len(set(numbers)) > MOST_GROUPS else _values(points, ranked)
    groups = [_group(title, scores, higher) for title, scores in parts]
    means = [group.mean for group in groups]
    log = ranked and min(numbers) > 0 and max(numbers) >= 20 * min(numbers)
    return Effect(name, max(means) - min(means), groups, shown, (min(steps), max(steps)), log, left_out)


def _group(title: str, scores: Sequence[float], higher: bool) -> Group:
    low, high = min(scores), max(scores)
    return Group(title, len(scores), fmean(scores), high if higher else low, low if higher else high)


def _values(points: Sequence[tuple[Any, float]], ranked: bool) -> list[tuple[str, list[float]]]:
    """The scores of each value; numbers in their order, others in that of the trials."""
    ordered = sorted(points, key=lambda point: point[0]) if ranked else points
    found: dict[str, list[float]] = {}
    for value, score in ordered:
        found.setdefault(label(value), []).append(score)
    return list(found.items())


def _ranges(points: Sequence[tuple[Any, float]]) -> list[tuple[str, list[float]]]:
    """Ranges that hold about as many trials each."""
    ordered = sorted(points, key=lambda point: point[0])
    size = math.ceil(len(ordered) / BINS)
    parts = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    return [(f"{part[0][0]:g} to {part[-1][0]:g}", [score for _, score in part]) for part in parts]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
