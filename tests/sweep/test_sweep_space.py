"""The space, the order of its points, and who goes on: no model, no data."""

from __future__ import annotations

import random
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreword.errors import ConfigError
from foreword.sweep.search import (
    HalvingConfig,
    Outcome,
    SearchConfig,
    candidates,
    leader,
    order,
    points,
    rungs_of,
)
from foreword.sweep.space import label, parse
from foreword.training.loop import Schedule

SMALL = {"a": [1, 2, 3], "b": ["x", "y"]}


def drawn(space: dict[str, Any], **search: Any) -> list[dict[str, Any]]:
    return [point.values for point in points(parse(space), SearchConfig(**search))]


@given(st.floats(1e-6, 10), st.floats(1.01, 1e5), st.booleans(), st.integers(0, 99))
def test_draws_and_points_stay_in_their_range(low: float, factor: float, log: bool, seed: int) -> None:
    high = low * factor
    values = parse({"x": {"log_uniform" if log else "uniform": [low, high], "points": 4}})
    rng = random.Random(seed)
    found = [values.draw(rng)["x"] for _ in range(20)] + list(values.grid()[0])
    assert all(low <= value <= high for value in found)


@given(st.integers(1, 50), st.integers(1, 400), st.integers(0, 99))
def test_integers_are_integers_of_the_range(low: int, more: int, seed: int) -> None:
    for kind in ("int", "log_int"):
        values = parse({"x": {kind: [low, low + more], "points": 3}})
        rng = random.Random(seed)
        found = [values.draw(rng)["x"] for _ in range(20)] + list(values.grid()[0])
        assert all(type(value) is int and low <= value <= low + more for value in found)


def test_log_uniform_has_as_many_in_each_decade() -> None:
    values = parse({"x": {"log_uniform": ["1e-4", "1e-1"]}})
    rng = random.Random(0)
    found = [values.draw(rng)["x"] for _ in range(3000)]
    assert all(850 < sum(low <= value < 10 * low for value in found) < 1150 for low in (1e-4, 1e-3, 1e-2))


def test_log_int_reaches_both_ends() -> None:
    values = parse({"x": {"log_int": [1, 4]}})
    rng = random.Random(0)
    assert {values.draw(rng)["x"] for _ in range(200)} == {1, 2, 3, 4}


def test_numbers_that_yaml_takes_for_texts_are_numbers() -> None:
    assert parse({"x": ["1e-3", "auto"]}).grid() == ((0.001, "auto"),)


@given(st.integers(1, 30), st.integers(0, 5))
def test_the_grid_covers_before_it_repeats(trials: int, seed: int) -> None:
    found = points(parse(SMALL), SearchConfig(kind="grid", trials=trials, seed=seed))
    assert len(found) == trials
    for start in range(0, trials, 6):
        part = found[start : start + 6]
        assert len({label(point.values) for point in part}) == len(part)
        assert {point.repeat for point in part} == {start // 6}


@given(st.sampled_from(["grid", "random"]), st.integers(1, 6), st.integers(1, 6), st.integers(0, 20))
def test_more_trials_keep_the_first_ones(kind: str, few: int, more: int, seed: int) -> None:
    short, long = (drawn(SMALL, kind=kind, trials=n, seed=seed) for n in (min(few, more), max(few, more)))
    assert long[: len(short)] == short


def test_random_is_seeded_and_takes_nothing_twice() -> None:
    space = {"x": {"log_uniform": [1e-4, 1e-1]}, **SMALL}
    assert drawn(space, trials=9, seed=3) == drawn(space, trials=9, seed=3)
    assert drawn(space, trials=9, seed=3) != drawn(space, trials=9, seed=4)
    found = drawn(SMALL, trials=50)
    assert len(found) == len({label(values) for values in found}) == 6, "there are no more points"


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "empty"),
        ({"x": []}, "list of values"),
        ({"x": 3}, "the values of x are 3"),
        ({"x": {"normal": [0, 1]}}, "unknown kind of values 'normal'"),
        ({"x": {"points": 3}}, "one kind"),
        ({"x": {"uniform": [1, 0]}}, "no range"),
        ({"x": {"uniform": [0, "wide"]}}, "no range"),
        ({"x": {"uniform": [0, float("inf")]}}, "no range"),
        ({"x": {"log_uniform": [0, 1]}}, "no logarithm"),
        ({"x": {"int": [1, 2.5]}}, "no integers"),
        ({"x": {"uniform": [0, 1], "points": 0}}, "points"),
        ({"x": {"choice": [1], "points": 2}}, "no points"),
        ({"x": [1, 1]}, "twice"),
        ({"x": [date(2020, 1, 2)]}, "neither text nor number"),
        ({"method": ["lora"], "method.r": [1]}, "as a whole"),
    ],
)
def test_a_space_that_means_nothing_is_told(space: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(space)


def test_searches_that_cannot_be_are_told() -> None:
    with pytest.raises(ConfigError, match="number of trials"):
        drawn(SMALL, kind="random")
    with pytest.raises(ConfigError, match="how many values of x"):
        drawn({"x": {"uniform": [0, 1]}}, kind="grid")
    with pytest.raises(ConfigError, match="the grid has"):
        drawn({name: {"int": [1, 100]} for name in "abc"}, kind="grid")
    with pytest.raises(ConfigError, match="seed is in the space"):
        drawn({"seed": [0, 1]}, kind="grid", trials=3)
    with pytest.raises(ConfigError, match="first rung"):
        HalvingConfig(eta=2)


def test_rungs_lie_on_evaluations_and_end_with_the_run() -> None:
    schedule = Schedule(rows=100, steps_per_epoch=10, steps=100, evaluate_every=4)
    assert rungs_of(schedule, None) == [100]
    assert rungs_of(schedule, HalvingConfig(eta=3, min_steps=5)) == [8, 24, 72, 100]
    assert rungs_of(schedule, HalvingConfig(eta=2, min_epochs=1)) == [12, 24, 48, 96, 100]
    assert rungs_of(schedule, HalvingConfig(eta=2, min_steps=100)) == [100]


def outcome(score: float | None, **more: Any) -> Outcome:
    return Outcome(score, **more)


def test_ties_go_to_fewer_parameters_and_the_sick_come_last() -> None:
    found = {
        0: [outcome(0.8, parameters=20)],
        1: [outcome(0.8, parameters=10)],
        2: [outcome(0.9, degenerate=True)],
        3: [outcome(None, failure="the loss is nan", diverged=True)],
        4: [outcome(0.7)],
    }
    assert order(range(5), found, 0, higher=True) == [1, 0, 4, 2]
    assert order(range(5), found, 0, higher=False) == [4, 1, 0, 2]
    assert leader(found, higher=True) == 1
    assert leader({2: found[2], 3: found[3]}, higher=True) is None


def test_halving_keeps_the_best_and_the_leader_is_of_those_who_came_furthest() -> None:
    found = {n: [outcome(n / 10)] for n in range(9)}
    assert candidates(9, 0, found, 3, higher=True) == list(range(9))
    assert candidates(9, 1, found, 3, higher=True) == [8, 7, 6]
    for n, score in ((8, 0.5), (7, 0.75), (6, 0.6)):
        found[n].append(outcome(score))
    assert candidates(9, 2, found, 3, higher=True) == [7]
    assert leader(found, higher=True) == 7, "0.8 after a third of the steps does not count against it"
