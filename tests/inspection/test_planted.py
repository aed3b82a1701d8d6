"""Planted effects are found: two virtual tokens that do nothing are reported so, by attention and by ablation."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from foreword.injections import Injection, KeyValues
from foreword.inspection import Subject, Wanted, inspect
from foreword.inspection.minimal import minimal
from support.backbones import HEADS, HIDDEN, LAYERS, tiny
from support.inspected import subject

IDLE = (1, 3)


@cache
def planted() -> Subject:
    """Key/values of four tokens; every query has a large part along one axis, and two keys point against it."""
    backbone = tiny("bert")
    size = HIDDEN // HEADS
    with torch.no_grad():
        for layer in backbone.trunk.encoder.layer:
            layer.attention.self.query.bias[::size] = 40.0
    table = torch.randn(LAYERS, 2, HEADS, 4, size, generator=torch.Generator().manual_seed(1))
    table[:, 0, :, :, 0] = 1.0
    table[:, 0, :, IDLE, 0] = -40.0
    injection = Injection(key_values=KeyValues(tuple(range(LAYERS)), table))
    return subject("bert", "v2-random", injection=injection, backbone=backbone)


@cache
def found():
    return inspect(planted())


def test_the_idle_tokens_get_no_attention_and_the_others_do():
    shares = found().shares
    assert shares.by_token.shape == (LAYERS, 4)
    assert float(shares.by_token[:, list(IDLE)].max()) == 0
    assert float(shares.by_token[:, [0, 2]].min()) > 0.01


def test_without_the_idle_tokens_nothing_is_another():
    by_name = {one.name: one for one in found().ablations}
    assert found().idle == [f"token {i}" for i in IDLE]
    for i in IDLE:
        test = by_name[f"token {i}"].test
        most = 1 - 0.025 ** (1 / len(planted().rows))  # of n rows none is another: so many may be, for all we know
        assert test.difference == 0 and test.interval.high == -test.interval.low == pytest.approx(most)
    assert all(abs(by_name[f"token {i}"].loss_change) > 1e-3 for i in (0, 2))
    assert {"the whole prompt", "layer 0", "layer 2"} <= set(by_name)


def test_a_minimal_prompt_leaves_the_idle_tokens_out():
    kept = minimal(planted()).kept
    assert not set(kept) & set(IDLE)


def test_key_values_are_said_to_have_no_words():
    assert found().words == [] and "no vocabulary" in found().gaps["words"]
    assert found().discrete is None


@pytest.mark.parametrize("method", ["lora", "adapter-houlsby", "full"])
def test_methods_without_virtual_tokens_show_what_there_is(method):
    made = inspect(subject("bert", method), wanted=Wanted(top=2))
    assert made.shares is None and "no virtual tokens" in made.gaps["attention"]
    assert made.ablations[0].name == "the whole prompt"
    if method != "full":
        assert [one.name for one in made.ablations if one.kind == "layer"] == ["layer 0", "layer 1", "layer 2"]
        assert all(one.after > 0 for one in made.moved)
    if method == "lora":
        assert all(one.before == 0 and one.cosine is None for one in made.moved), "it begins at doing nothing"
