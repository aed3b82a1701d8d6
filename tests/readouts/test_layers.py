"""A readout that reads below the last layer: what it reads, and that nothing above is run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from foreword.batch import collate
from foreword.errors import ConfigError, Unsupported
from foreword.training.cost import cost_of
from foreword.training.loop import OWNER, Loop
from foreword.training.route import WHOLE, follow, route_of
from support.backbones import LAYERS, ONE_STACK, TWO_STACKS, bare, shared
from support.forewords import bank_of, close, gradients, items, loud, make, near, same, scores

LOW = {"name": "linear", "position": "last", "layers": 2}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREWORD_CACHE", str(tmp_path))


@pytest.mark.parametrize("family", TWO_STACKS)
def test_two_stacks_refuse_it(family: str) -> None:
    with pytest.raises(Unsupported, match=f"{family}.*two stacks"):
        make(family, "linear-probe", LOW, backbone=shared(family))


@pytest.mark.parametrize("family", ONE_STACK)
def test_it_reads_what_the_first_layers_give(family: str) -> None:
    readout = {**LOW, "position": "mean"} if family == "opt-projected" else LOW
    if family == "opt-projected":
        with pytest.raises(Unsupported, match="wide"):
            make(family, "linear-probe", readout, backbone=shared(family))
        return
    assembly = loud(make(family, "linear-probe", readout, backbone=shared(family)))
    rows = items(assembly)[:3]
    found = scores(bank_of({OWNER: assembly}), rows)
    model = bare(family)
    for row, score in zip(rows, found, strict=True):
        theirs = model(input_ids=torch.tensor([row.rows[0].ids]), output_hidden_states=True).hidden_states[2][0, -1]
        close([score], [assembly.readout.weight.detach() @ theirs + assembly.readout.bias.detach()])


def test_rows_that_read_at_different_depths_share_a_batch() -> None:
    backbone = shared("bert")
    readouts = {"low": LOW, "high": {**LOW, "layers": 3}, "whole": {"name": "linear", "position": "cls"}}
    parts = {name: loud(make("bert", "v2-low", readout, backbone=backbone)) for name, readout in readouts.items()}
    bank = bank_of(parts)
    mixed = [item for name, part in parts.items() for item in items(part, owner=name)[:2]]
    alone = [score for item in mixed for score in scores(bank, [item])]
    close(scores(bank, mixed), alone)


@pytest.mark.parametrize("method", ["linear-probe", "v2-low", "prompt-random"])
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_the_route_changes_nothing(family: str, method: str) -> None:
    assembly = loud(make(family, method, LOW, backbone=shared(family)))
    rows = items(assembly)
    route = route_of(assembly, {"train": rows})
    routed = follow(route, assembly, {"train": rows})["train"]
    slow = Loop(assembly, rows, []).backward(rows)
    expected = gradients(assembly) if all(p.grad is not None for p in assembly.trained().values()) else None
    for parameter in assembly.trained().values():
        parameter.grad = None
    assert Loop(assembly, routed, [], route=route).backward(routed) == pytest.approx(slow, rel=1e-4)
    if expected is not None:
        near(gradients(assembly), expected)


def test_it_costs_less() -> None:
    low, whole = (
        make("bert", "prompt-random", {"name": "linear", "position": "mean", "layers": layers}, backbone=shared("bert"))
        for layers in (2, None)
    )
    ratio = cost_of(low, WHOLE, items(low), []).step / cost_of(whole, WHOLE, items(whole), []).step
    assert ratio == pytest.approx(2 / LAYERS, rel=0.05)


def test_more_layers_than_there_are_and_none_are_refused() -> None:
    with pytest.raises(ConfigError, match="readout.layers is 9"):
        make("bert", "linear-probe", {**LOW, "layers": 9}, backbone=shared("bert"))
    with pytest.raises(Unsupported, match="passage"):
        make("albert", "linear-probe", {**LOW, "position": "cls"}, backbone=shared("albert"))


@pytest.mark.parametrize("method", ["v2-random", "v2-top", "full"])
def test_what_would_be_trained_above_is_refused(method: str) -> None:
    with pytest.raises(ConfigError, match="trains more than those"):
        make("bert", method, LOW, backbone=shared("bert"))


def test_all_layers_of_an_encoder_are_what_it_reads_by_default() -> None:
    readout = {"name": "linear", "position": "cls"}
    default, all_ = (
        loud(make("bert", "v2-random", {**readout, "layers": layers}, backbone=shared("bert"))) for layers in (None, 3)
    )
    rows = items(default)
    close(scores(bank_of({OWNER: default}), rows), scores(bank_of({OWNER: all_}), rows))
    assert collate(rows, 0).states is None
    same({"a": default.readout.weight.detach()}, {"a": all_.readout.weight.detach()})
