"""The optimiser and the schedule."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from foreword.config import TrainingConfig
from foreword.training.optim import make_optimizer, schedule, set_rate


def config(**values) -> TrainingConfig:
    return TrainingConfig(**values)


def parameters() -> dict[str, torch.nn.Parameter]:
    return {name: torch.nn.Parameter(torch.ones(2, 3)) for name in ("method.a", "readout.b", "method.c")}


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("constant", [1 / 3, 2 / 3, 1, 1, 1, 1, 1, 1, 1, 1]),
        ("linear", [1 / 3, 2 / 3, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]),
        ("cosine", [1 / 3, 2 / 3, *(0.5 * (1 + math.cos(math.pi * i / 8)) for i in range(8))]),
    ],
)
def test_the_rate_at_every_step(shape, expected):
    chosen = config(schedule=shape, warmup=0.25)
    assert [schedule(chosen, step, 10) for step in range(10)] == pytest.approx(expected)


@given(st.sampled_from(["constant", "linear", "cosine"]), st.floats(0, 0.99), st.integers(1, 300))
def test_the_rate_is_never_zero_negative_or_above_one(shape, warmup, steps):
    rates = [schedule(config(schedule=shape, warmup=warmup), step, steps) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)
    assert max(rates) == pytest.approx(1.0)
    top = rates.index(max(rates))
    assert rates[:top] == sorted(rates[:top]) and rates[top:] == sorted(rates[top:], reverse=True)


@pytest.mark.parametrize("name", ["adamw", "adafactor"])
def test_the_readout_may_have_a_rate_of_its_own(name):
    trained = parameters()
    chosen = config(optimizer=name, learning_rate=0.1, readout_learning_rate=0.001, schedule="linear")
    optimizer = make_optimizer(chosen, trained)
    rates = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    assert len(rates) == 3
    for step, factor in ((0, 1.0), (5, 0.5), (0, 1.0)):  # no memory of the step before
        assert set_rate(optimizer, chosen, step, 10) == pytest.approx(factor)
        assert rates[id(trained["method.a"])]["lr"] == pytest.approx(0.1 * factor)
        assert rates[id(trained["readout.b"])]["lr"] == pytest.approx(0.001 * factor)


@pytest.mark.parametrize("name", ["adamw", "adafactor"])
def test_only_a_readout_or_only_a_method_can_be_trained(name):
    for chosen in ("readout.b", "method.a"):
        trained = {chosen: torch.nn.Parameter(torch.ones(2))}
        optimizer = make_optimizer(config(optimizer=name), trained)
        trained[chosen].sum().backward()
        optimizer.step()
        assert (trained[chosen] < 1).all()


@pytest.mark.parametrize(("name", "kind"), [("adamw", torch.optim.AdamW), ("adafactor", torch.optim.Adafactor)])
def test_the_settings_reach_the_optimiser(name, kind):
    optimizer = make_optimizer(config(optimizer=name, weight_decay=0.3, learning_rate=0.7), parameters())
    assert isinstance(optimizer, kind)
    assert all(group["weight_decay"] == 0.3 and group["lr"] == 0.7 for group in optimizer.param_groups)
