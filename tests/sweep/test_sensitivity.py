"""A planted effect is found, and what is shown is what was measured."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreword.sweep.search import Outcome
from foreword.sweep.sensitivity import Effect, effects
from foreword.sweep.spec import Trial


def found(rows: list[tuple[dict[str, Any], Outcome]], higher: bool = True) -> list[Effect]:
    trials = [cast(Trial, SimpleNamespace(number=n, values=values, config=SimpleNamespace(seed=7)))
              for n, (values, _) in enumerate(rows)]  # fmt: skip
    return effects(trials, {n: [outcome] for n, (_, outcome) in enumerate(rows)}, higher=higher)


def test_the_field_that_matters_comes_first() -> None:
    rows = [
        ({"rate": rate, "init": init}, Outcome(0.6 + (0.2 if rate == 0.01 else 0.0) + (0.01 if init == "zero" else 0)))
        for rate in (0.001, 0.01)
        for init in ("random", "zero")
    ]
    first, second = found(rows)
    assert (first.name, second.name) == ("rate", "init")
    assert first.spread == pytest.approx(0.2) and second.spread == pytest.approx(0.01)
    assert [(group.values, group.trials) for group in first.groups] == [("0.001", 2), ("0.01", 2)]
    assert first.groups[1].best == pytest.approx(0.81) and first.groups[1].worst == pytest.approx(0.8)


def test_where_low_is_good_the_best_is_the_lowest() -> None:
    [effect] = found([({"x": "a"}, Outcome(2.0)), ({"x": "a"}, Outcome(1.0))], higher=False)
    assert (effect.groups[0].best, effect.groups[0].worst) == (1.0, 2.0)


def test_many_numbers_are_told_in_ranges_and_on_their_scale() -> None:
    [effect] = found([({"rate": 10.0**-n}, Outcome(0.1 * n)) for n in range(1, 9)])
    assert [group.trials for group in effect.groups] == [2, 2, 2, 2]
    assert effect.groups[0].values == "1e-08 to 1e-07" and effect.log
    [narrow] = found([({"dropout": n / 10}, Outcome(0.5)) for n in range(8)])
    assert not narrow.log and narrow.spread == 0.0


def test_the_degenerate_are_shown_as_such_and_the_failed_are_counted() -> None:
    rows = [
        ({"x": 1}, Outcome(0.5, degenerate=True, step=4)),
        ({"x": 2}, Outcome(0.9, step=8)),
        ({"x": 3}, Outcome(None, failure="the loss is nan")),
    ]
    [effect] = found(rows)
    assert effect.points == [(1, 0.5, True), (2, 0.9, False)]
    assert (effect.left_out, effect.steps) == (1, (4, 8))
    assert found(rows[2:]) == []


def test_a_grid_that_begins_anew_has_its_first_seed_too() -> None:
    effect = next(one for one in found([({"x": 1}, Outcome(0.5)), ({"x": 1, "seed": 8}, Outcome(0.7))])
                  if one.name == "seed")  # fmt: skip
    assert [group.values for group in effect.groups] == ["7", "8"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1)), min_size=1, max_size=20))
def test_groups_hold_every_trial_once_and_means_lie_between(rows: list[tuple[str, float]]) -> None:
    [effect] = found([({"x": value}, Outcome(score)) for value, score in rows])
    assert sum(group.trials for group in effect.groups) == len(rows)
    assert all(group.worst - 1e-9 <= group.mean <= group.best + 1e-9 for group in effect.groups)
