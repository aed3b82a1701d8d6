"""Likeness and ensembles."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from foreword.bank import Bank
from foreword.errors import ArtifactError, DataError, Unsupported
from foreword.evaluation.scoring import score_items
from foreword.injections import Injection, KeyValues, LowRank, Sites, SoftTokens
from foreword.inspection.ensemble import ensemble
from foreword.inspection.likeness import likeness
from foreword.inspection.subject import Subject
from support.backbones import tiny
from support.inspected import subject

BACKBONE = tiny("bert")


def moved(by: torch.Tensor, **changes) -> Subject:
    """A prompt that training moved so."""
    one = subject("bert", "prompt-vocabulary", backbone=BACKBONE, name=changes.pop("name", "toy"), **changes)
    soft = SoftTokens(one.injection.soft.vectors + by)
    one.foreword.bank.put(one.foreword.name, Injection(soft=soft), one.readout)
    return one


def test_task_vectors_see_past_a_common_start():
    way = torch.randn(4, 32, generator=torch.Generator().manual_seed(0)) * 0.01
    found = likeness([moved(way, name="a"), moved(-way, name="b"), moved(2 * way, name="c")])
    assert found.values[0][1] > 0.99, "what they are is nearly the start"
    assert found.moved[0][1] == pytest.approx(-1, abs=1e-3)
    assert found.moved[0][2] == pytest.approx(1, abs=1e-3)
    assert found.nearest(0) == (2, found.moved[0][2])
    assert found.beyond_chance(0, *found.nearest(0)) and not found.beyond_chance(0, 1, 2 / 32**0.5)
    assert found.chance[0][1] == pytest.approx(1 / 32**0.5)


def test_the_order_of_key_values_is_no_difference():
    one = subject("bert", "v2-random", backbone=BACKBONE, name="a")
    table = one.injection.key_values
    turned = Injection(key_values=KeyValues(table.layers, table.tensor.flip(3)))
    other = subject("bert", "v2-random", backbone=BACKBONE, injection=turned, name="b")
    assert likeness([one, other]).values[0][1] == pytest.approx(1, abs=1e-6)


def test_the_inner_order_of_lora_is_no_difference():
    one = subject("bert", "lora", backbone=BACKBONE, name="a")
    at = {
        place: LowRank(operation.a.flip(0), operation.b.flip(1), operation.scale)
        for place, operation in one.injection.sites.at.items()
    }
    other = subject("bert", "lora", backbone=BACKBONE, injection=Injection(sites=Sites(at)), name="b")
    assert likeness([one, other]).values[0][1] == pytest.approx(1, abs=1e-6)


def test_what_has_nothing_in_common_is_not_compared():
    one, other = (subject("bert", method, backbone=BACKBONE, name=method) for method in ("v2-random", "lora"))
    found = likeness([one, other])
    assert found.values[0][1] is None and found.nearest(0) is None


def test_other_backbones_are_refused():
    strange = tiny("bert")
    with torch.no_grad():
        strange.embedding.weight += 1
    with pytest.raises(ArtifactError, match="made for"):
        likeness([moved(torch.ones(4, 32)), subject("bert", "prompt-vocabulary", backbone=strange)])
    with pytest.raises(DataError, match="two forewords"):
        likeness([moved(torch.ones(4, 32))])


def test_an_ensemble_is_the_mean_of_probabilities_in_one_pass():
    members = [
        subject("bert", method, backbone=BACKBONE, name=method) for method in ("v2-random", "prompt-middle", "lora")
    ]
    rows = members[0].rows
    found = ensemble(members, rows)
    by_hand = []
    for one in members:
        bank = Bank(BACKBONE)
        bank.put(one.foreword.name, one.injection, one.readout)
        by_hand.append(torch.stack(score_items(bank, one.items, 4096)).softmax(-1))
    labels = torch.tensor([row["label"] for row in rows])
    right = [(one.argmax(-1) == labels).float().mean().item() for one in by_hand]
    assert found.members == pytest.approx(right)
    together = (sum(by_hand).argmax(-1) == labels).float().mean().item()
    assert found.accuracy == pytest.approx(together)
    assert found.over_mean.difference == pytest.approx(together - sum(right) / 3)
    assert found.over_best.difference == pytest.approx(together - max(right))


def test_an_ensemble_of_the_same_gains_nothing():
    one = subject("bert", "v2-random", backbone=BACKBONE)
    found = ensemble([one, one, one], one.rows)
    assert (found.over_mean.difference, found.agree) == (0, 1)
    assert len(set(found.names)) == 3


def test_an_ensemble_needs_classes_and_the_same_labels():
    one = subject("bert", "v2-random", backbone=BACKBONE)
    reader = replace(one.foreword.reader, labels=("no", "yes"))
    other = Subject(replace(one.foreword, reader=reader), one.rows)
    with pytest.raises(DataError, match="labels"):
        ensemble([one, other], one.rows)
    with pytest.raises(DataError, match="two forewords"):
        ensemble([one], one.rows)
    reader = replace(one.foreword.reader, task=replace(one.foreword.reader.task, answer="text"))
    with pytest.raises(Unsupported, match="no classes"):
        ensemble([one, Subject(replace(one.foreword, reader=reader), one.rows)], one.rows)
