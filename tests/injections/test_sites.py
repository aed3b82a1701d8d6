"""Operations at sites as plain data: what is stored is what was compiled, and nothing else is read back."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.errors import ArtifactError
from foreword.injections import Bottleneck, Injection, LowRank, ScaleInput, ScaleOutput, Shift, Sites
from foreword.injections.sites import ACTIVATIONS, merged


def bottleneck(**changes) -> Bottleneck:
    values = {
        "down": torch.randn(2, 6),
        "down_bias": torch.randn(2),
        "up": torch.randn(6, 2),
        "up_bias": torch.randn(6),
    }
    return Bottleneck(**(values | changes))


FULL = Sites(
    {
        (0, "attention.self.query", "low_rank"): LowRank(torch.randn(2, 6), torch.randn(6, 2), 0.1, 0.25, 7),
        (0, "output.dense", "scale_input"): ScaleInput(torch.randn(8)),
        (0, "output.dense", "shift"): Shift(torch.randn(6)),
        (11, "value", "scale_output"): ScaleOutput(torch.randn(6)),
        (11, "output.dense", "bottleneck"): bottleneck(
            source="intermediate.dense", scale=torch.tensor(3.0), norm="after", norm_weight=torch.ones(6),
            norm_bias=torch.zeros(6), activation="gelu_new", residual=False,
        ),
        (2, "", "bottleneck"): bottleneck(),
    }
)  # fmt: skip


def same(one: Sites, other: Sites) -> None:
    assert one.at.keys() == other.at.keys()
    for place, op in one.at.items():
        for field in dataclasses.fields(op):
            a, b = getattr(op, field.name), getattr(other.at[place], field.name)
            assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b, (place, field.name)


def test_tensors_are_read_back_with_their_settings() -> None:
    injection = Injection(sites=FULL)
    again = Injection.from_tensors(injection.tensors(), 0)
    assert again.sites is not None
    same(again.sites, FULL)
    assert injection.size() == sum(t.numel() for t in injection.tensors().values())
    assert all(name.startswith("sites.") for name in injection.tensors())
    same(injection.detached().sites, FULL)
    assert injection.detached().tensors().keys() == injection.tensors().keys()


@given(
    scale=st.floats(1e-6, 1e6),
    rate=st.floats(0, 0.99),
    seed=st.integers(0, 2**31),
    name=st.sampled_from(sorted(ACTIVATIONS)),
)
@settings(max_examples=40, deadline=None)
def test_every_number_survives_its_name(scale, rate, seed, name) -> None:
    sites = Sites({(3, "a.b", "bottleneck"): bottleneck(scale=scale, dropout=rate, seed=seed, activation=name)})
    same(Sites.from_tensors(sites.tensors()), sites)


def test_layers_are_found() -> None:
    assert (FULL.lowest, FULL.highest) == (0, 11)
    assert set(FULL.by_layer) == {0, 2, 11} and set(FULL.by_layer[0]["output.dense"]) == {"scale_input", "shift"}
    assert FULL.drops and not Sites({(0, "x", "shift"): Shift(torch.ones(2))}).drops
    assert Injection().lowest_layer is None and Injection(sites=FULL).highest_layer == 11


BROKEN = {
    "nonsense": torch.ones(1),
    "0.x.low_rank[scale=1.0].c": torch.ones(1),
    "0.x.low_rank[scale=1.0].a": torch.ones(2, 3),
    "0.x.low_rank[scale=one].a": torch.ones(2, 3),
    "0.x.low_rank[activation=relu].a": torch.ones(2, 3),
    "0.x.shift[].vector": torch.ones(2, 3),
    "x.y.shift[].vector": torch.ones(2),
    "0.x.other[].vector": torch.ones(2),
    "0.x.scale_input[__class__=1].vector": torch.ones(2),
}


@pytest.mark.parametrize("name", BROKEN)
def test_foreign_tensors_are_refused(name: str) -> None:
    with pytest.raises(ArtifactError):
        Injection.from_tensors({f"sites.{name}": BROKEN[name]}, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"down": torch.ones(3, 6)},
        {"down_bias": torch.ones(3)},
        {"up_bias": torch.ones(5)},
        {"activation": "exec"},
        {"norm": "before"},
        {"norm": "both", "norm_weight": torch.ones(6), "norm_bias": torch.ones(6)},
        {"norm_weight": torch.ones(6), "norm_bias": torch.ones(6)},
        {"scale": torch.ones(6)},
    ],
)
def test_what_does_not_go_together_is_refused(changes) -> None:
    with pytest.raises(ArtifactError, match="layer 4"):
        Sites.from_tensors(Sites({(4, "x", "bottleneck"): bottleneck(**changes)}).tensors())
    low = Sites({(4, "x", "low_rank"): LowRank(torch.ones(2, 3), torch.ones(3, 3))})
    with pytest.raises(ArtifactError, match="layer 4"):
        Sites.from_tensors(low.tensors())


def test_parts_merge_where_they_do_not_meet() -> None:
    one, other = (
        Sites({(0, "x", "shift"): Shift(torch.ones(2))}),
        Sites({(0, "x", "scale_output"): ScaleOutput(torch.ones(2))}),
    )
    assert set(merged({"a": one, "b": other}).at) == {*one.at, *other.at}
    with pytest.raises(ValueError):
        merged({"a": one, "b": one})
