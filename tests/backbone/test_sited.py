"""Twins of layers: what they change, what they leave alone, and that a recomputed layer sees the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from foreword.backbone.sited import light
from foreword.bank import Bank
from foreword.batch import collate
from foreword.errors import ConfigError, Unsupported
from foreword.injections import Bottleneck, Injection, LowRank, ScaleInput, Shift, Sites
from support.backbones import FAMILIES, HIDDEN, LAYERS, REFUSING, shared, tiny
from support.forewords import anywhere, bank_of, hidden, impossible, items, loud, make, scores

METHODS = ("lora-all", "ia3", "adapter-houlsby", "adapter-parallel", "combined")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pass_leaves_the_trunk_as_it_is(family: str) -> None:
    backbone = tiny(family)
    tables = {id(m): (dict(m._modules), dict(m._parameters), set(m.__dict__)) for m in backbone.model.modules()}
    rows = items(make(family, "linear-probe", anywhere(family), backbone=backbone), owner=None)
    before = hidden(Bank(backbone), rows)
    for method in METHODS:
        assembly = make(family, method, anywhere(family), backbone=backbone)
        hidden(bank_of({"own": assembly}), items(assembly, owner="own"))
    assert {id(m) for m in backbone.model.modules()} == set(tables)
    for module in backbone.model.modules():
        assert (dict(module._modules), dict(module._parameters), set(module.__dict__)) == tables[id(module)]
        assert not module._forward_hooks and not module._forward_pre_hooks
    for one, other in zip(hidden(Bank(backbone), rows), before, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_of_none_beside_sites_is_bit_equal(family: str) -> None:
    backbone = shared(family)
    assemblies = {m: make(family, m, anywhere(family), backbone=backbone) for m in METHODS if m != "combined"}
    bank = bank_of(assemblies)
    plain = items(make(family, "linear-probe", anywhere(family), backbone=backbone), owner=None)[:1]
    others = [items(assembly, owner=name)[0] for name, assembly in assemblies.items()]
    probe = [type(row)(row.rows) for row in others]
    mixed, bare = collate([*plain, *others], backbone.pad_id), collate([*plain, *probe], backbone.pad_id)
    with torch.no_grad():
        found, expected = bank.hidden(mixed), bank.hidden(bare)
    assert torch.equal(found[0], expected[0])
    assert (found[1:] - expected[1:]).abs().amax((1, 2)).min() > 1e-3


def test_a_copy_shares_everything_but_its_table_of_children() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    twin = light(module)
    assert type(twin) is nn.Sequential and twin[0] is module[0] and twin._parameters is module._parameters
    twin._modules["1"] = nn.Tanh()
    assert isinstance(module[1], nn.ReLU)


def test_dropout_at_sites_is_another_for_another_batch_and_the_same_for_the_same() -> None:
    assembly = make("bert", "adapter-houlsby", "mean", backbone=shared("bert"))
    assembly.method.train()
    torch.manual_seed(1)
    injection = assembly.method.compiled()
    assert injection.random and not assembly.method.at_rest().random
    bank = Bank(shared("bert"))
    bank.put("own", injection)
    one, other = (items(assembly, owner="own")[i : i + 2] for i in (0, 2))
    first, again = hidden(bank, one), hidden(bank, one)
    assert torch.equal(first[0], again[0])
    beside = hidden(bank, [*one, *other])
    assert (beside[0] - first[0]).abs().max() > 1e-3
    bank.put("own", assembly.method.compiled())
    assert (hidden(bank, one)[0] - first[0]).abs().max() > 1e-3


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_dropout_keeps_the_mean(rate: float) -> None:
    from foreword.backbone.sited import _dropped

    states = torch.ones(100, 100)
    found = _dropped(states, rate, "x")
    assert float(found.mean()) == pytest.approx(1.0, abs=0.05)
    assert set(found.unique().tolist()) == ({1.0} if rate == 0 else {0.0, 2.0})


def put(family: str, place: tuple[int, str, str], operation: Any) -> None:
    Bank(shared(family)).put("own", Injection(sites=Sites({place: operation})))


@pytest.mark.parametrize(
    ("place", "operation"),
    [
        ((LAYERS, "output.dense", "shift"), Shift(torch.zeros(HIDDEN))),
        ((0, "output.nonsense", "shift"), Shift(torch.zeros(HIDDEN))),
        ((0, "output", "shift"), Shift(torch.zeros(HIDDEN))),
        ((0, "output.dense", "shift"), Shift(torch.zeros(HIDDEN + 1))),
        ((0, "output.dense", "scale_input"), ScaleInput(torch.zeros(HIDDEN))),
        ((0, "output.dense", "low_rank"), LowRank(torch.zeros(2, HIDDEN), torch.zeros(HIDDEN, 2))),
        (
            (0, "output.dense", "bottleneck"),
            Bottleneck(torch.zeros(2, 48), torch.zeros(2), torch.zeros(HIDDEN, 2), torch.zeros(HIDDEN)),
        ),
        (
            (0, "output.dense", "bottleneck"),
            Bottleneck(torch.zeros(2, 32), torch.zeros(2), torch.zeros(32, 2), torch.zeros(32), source="nowhere"),
        ),
    ],
)
def test_a_site_that_the_backbone_does_not_have_is_refused(place: Any, operation: Any) -> None:
    with pytest.raises(ConfigError, match="own"):
        put("bert", place, operation)


@pytest.mark.parametrize("family", REFUSING)
def test_families_that_do_not_run_in_parts_refuse_sites_by_name(family: str) -> None:
    with pytest.raises(Unsupported, match=family):
        put(family, (0, "output.dense", "shift"), Shift(torch.zeros(HIDDEN)))
    for method in ("lora", "ia3", "bitfit", "adapter-houlsby", "combined"):
        with pytest.raises(Unsupported, match=family):
            make(family, method, "mean", backbone=shared(family))


@pytest.mark.parametrize("family", FAMILIES)
def test_sites_are_used_over_int8(family: str) -> None:
    backbone = tiny(family)
    for method in ("lora-all", "ia3", "bitfit", "adapter-houlsby", "adapter-parallel", "combined"):
        if impossible(family, method):
            continue
        assembly = loud(make(family, method, "last", backbone=tiny(family)))
        exact = torch.stack(scores(bank_of({"own": assembly}), items(assembly, owner="own")))
        bank = Bank(backbone)
        backbone.round_to_int8()
        bank.put("own", assembly.method.at_rest(), assembly.readout)
        found = torch.stack(scores(bank, items(assembly, owner="own")))
        assert 0 < float((found - exact).norm() / exact.norm()) < 0.15, method
