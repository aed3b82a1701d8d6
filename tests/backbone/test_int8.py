"""Layers in 8 bits: near the exact ones, and never trained through."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from foreword import api
from foreword.backbone.int8 import Int8Linear
from foreword.bank import Bank
from foreword.errors import ConfigError, Unsupported
from support.backbones import FAMILIES, tiny
from support.folders import settings
from support.forewords import bank_of, items, loud, make, scores


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_a_layer_is_near_the_exact_one(rows: int) -> None:
    torch.manual_seed(0)
    exact = nn.Linear(48, 20)
    inputs = torch.randn(2, rows, 48)
    found = Int8Linear(exact.weight.detach(), exact.bias)(inputs)
    expected = exact(inputs).detach()
    assert found.shape == expected.shape
    assert float((found - expected).norm() / expected.norm()) < 0.02
    assert not torch.equal(found, expected)


def test_a_row_of_zeros_gives_the_bias() -> None:
    exact = nn.Linear(8, 4)
    torch.testing.assert_close(Int8Linear(exact.weight.detach(), exact.bias)(torch.zeros(1, 8))[0], exact.bias.detach())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_backbone_gives_nearly_the_same_under_a_prefix(family: str) -> None:
    backbone = tiny(family)
    assembly = loud(make(family, "v2-random", "last", backbone=backbone))
    rows, bank = items(assembly, owner="own"), bank_of({"own": assembly})
    exact, fingerprint, identity = torch.stack(scores(bank, rows)), backbone.fingerprint, backbone.identity
    backbone.round_to_int8()
    backbone.round_to_int8()  # twice is once
    found = torch.stack(scores(bank, rows))
    assert 0 < float((found - exact).norm() / exact.norm()) < 0.1
    assert (backbone.fingerprint, backbone.identity) == (fingerprint, identity)


def test_nothing_is_trained_through_it() -> None:
    backbone = tiny("bert")
    backbone.round_to_int8()
    with pytest.raises(Unsupported, match="int8"):
        make("bert", "v2-random", "cls", backbone=backbone)
    with pytest.raises(ConfigError, match="weights of its own"):
        Bank(backbone).put("own", make("bert", "full", "cls").method.at_rest())


def test_an_artifact_is_used_in_int8(bert_folder, data_file, tmp_path) -> None:
    api.train(settings(bert_folder, data_file), folder=tmp_path / "run")
    exact, rounded = (api.load(tmp_path / "run" / "artifact", int8=int8) for int8 in (False, True))
    texts = ["a fine story", "we hate the grey rain"]
    for one, other in zip(exact.predict(texts), rounded.predict(texts), strict=True):
        assert other.probability == pytest.approx(one.probability, abs=0.1)
    assert rounded.bank.backbone.rounded and not exact.bank.backbone.rounded
