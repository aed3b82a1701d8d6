"""The frozen model: sizes, refusals, replaced weights, the head, fingerprints."""

from __future__ import annotations

import copy

import pytest
import torch

from foreword.backbone.backbone import Backbone, fingerprint
from foreword.errors import BackboneError, ConfigError, Unsupported
from support import tokenizers
from support.backbones import FAMILIES, HEADS, HIDDEN, LAYERS, MASKED, POSITIONS, REFUSING, bare, kind, shared, tiny
from support.forewords import close, make


@pytest.mark.parametrize("family", FAMILIES)
def test_the_sizes_are_those_of_the_model(family):
    geometry = shared(family).geometry
    narrow = 16 if family == "opt-projected" else HIDDEN
    assert (geometry.hidden, geometry.embedding) == (narrow, narrow)
    assert (geometry.layers, geometry.heads, geometry.head_size) == (LAYERS, HEADS, HIDDEN // HEADS)
    assert geometry.kv_heads == (2 if family == "llama" else HEADS)
    assert geometry.positions == POSITIONS
    assert geometry.position_base == (2 if family == "roberta" else 0)
    assert geometry.vocabulary == bare(family).config.vocab_size
    assert geometry.parameters == sum(p.numel() for p in bare(family).parameters())
    assert geometry.to_dict()["kv_heads"] == geometry.kv_heads
    assert not shared(family).refusals


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_position_can_be_used_and_the_next_is_refused(family):
    from foreword.bank import Bank
    from foreword.batch import Item, collate
    from foreword.text.rows import Row

    def batch(length):
        return collate([Item((Row((7,) * length, (-1,) * length, (0,) * length, None, ()),))], 0)

    backbone = shared(family)
    with torch.no_grad():
        assert torch.isfinite(Bank(backbone).hidden(batch(POSITIONS))).all()
        with pytest.raises(ConfigError, match="positions"):
            Bank(backbone).hidden(batch(POSITIONS + 1))


@pytest.mark.parametrize("family", REFUSING)
def test_what_a_family_cannot_do_is_refused_with_its_name(family):
    backbone = shared(family)
    with pytest.raises(Unsupported, match=rf"{family}.*key_values"):
        backbone.require("key_values")
    with pytest.raises(Unsupported, match=rf"{family}.*head"):
        backbone.logits(torch.zeros(1, HIDDEN))
    with pytest.raises(Unsupported, match=family):
        backbone.key_values(torch.zeros(2, backbone.geometry.embedding))
    with pytest.raises(Unsupported, match="head"):
        make(family, "prompt-text", "words", backbone=backbone)
    backbone.require("soft_tokens")


def test_an_absent_head_is_refused_and_the_trunk_works():
    backbone = Backbone(bare("bert"), tokenizers.bert_tokenizer(), "masked", "headless", head=False)
    with pytest.raises(Unsupported, match="headless.*no language-model head"):
        make("bert", "hard", "words", backbone=backbone)
    make("bert", "v2-random", "cls", backbone=backbone)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_head_on_chosen_words_is_the_head(family):
    backbone, model = shared(family), bare(family)
    ids = torch.arange(6, 14)[None]
    words = torch.tensor([9, 3, 50])
    with torch.no_grad():
        expected = model(input_ids=ids).logits
        hidden = model.base_model(input_ids=ids).last_hidden_state
        close([backbone.logits(hidden), backbone.logits(hidden, words)], [expected, expected[..., words]])


@pytest.mark.parametrize("family", FAMILIES)
def test_replaced_weights_are_used_and_given_back(family):
    backbone = tiny(family)
    other = copy.deepcopy(bare(family))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)) * 0.1)
    replaced = {name: value.detach() for name, value in other.named_parameters()}
    before = dict(backbone.model.named_parameters())
    ids = torch.arange(6, 14)[None]
    with torch.no_grad():
        first = backbone.model(input_ids=ids).logits
        with backbone.weights(replaced):
            close([backbone.model(input_ids=ids).logits], [other(input_ids=ids).logits], 1e-5)
        assert torch.equal(backbone.model(input_ids=ids).logits, first)
    after = dict(backbone.model.named_parameters())
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)


def test_replaced_weights_are_given_back_after_an_error():
    backbone = tiny("gpt2")  # whose head and word embeddings are one matrix
    model, weight = backbone.model, backbone.embedding.weight
    assert model.lm_head.weight is weight
    with pytest.raises(RuntimeError, match="broken"), backbone.weights({"transformer.wte.weight": weight * 2}):
        assert model.lm_head.weight is backbone.embedding.weight
        assert torch.equal(model.lm_head.weight, weight * 2)
        raise RuntimeError("broken")
    assert model.lm_head.weight is weight and backbone.embedding.weight is weight


def test_an_unknown_parameter_is_refused_and_nothing_is_replaced():
    backbone = tiny("bert")
    known = next(iter(dict(backbone.model.named_parameters())))
    before = fingerprint(backbone.model)
    with pytest.raises(BackboneError, match="no parameter 'nonsense'|no parameter nonsense"):
        with backbone.weights({known: torch.zeros(1), "nonsense": torch.zeros(1)}):
            pass
    assert fingerprint(backbone.model) == before


def test_the_fingerprint_sees_every_number_name_and_type():
    backbone = tiny("bert")
    assert backbone.fingerprint == fingerprint(tiny("bert").trunk)
    assert backbone.fingerprint != tiny("distilbert").fingerprint
    found = {backbone.fingerprint}
    changed = bare("bert").base_model
    with torch.no_grad():
        changed.encoder.layer[2].output.dense.bias[-1] += 1e-6
    found.add(fingerprint(changed))
    found.add(fingerprint(bare("bert").base_model.half()))
    assert len(found) == 3


@pytest.mark.parametrize("family", FAMILIES)
def test_a_backbone_is_frozen_and_in_eval_mode(family):
    backbone = Backbone(bare(family).train(), shared(family).tokenizer, kind(family), family)
    assert not backbone.model.training
    assert not any(p.requires_grad for p in backbone.model.parameters())
    ids = torch.arange(6, 14)[None]
    where = torch.arange(8)[None]
    with torch.no_grad():
        twice = [backbone.forward(backbone.embed(ids), torch.ones_like(ids), where) for _ in range(2)]
    assert torch.equal(*twice)


@pytest.mark.parametrize("family", FAMILIES)
def test_recorded_key_values_can_be_differentiated(family):
    backbone = shared(family)
    embeds = backbone.embed(torch.arange(6, 10)).detach().requires_grad_()
    table = backbone.key_values(embeds)
    geometry = backbone.geometry
    assert table.shape == (LAYERS, 2, geometry.kv_heads, 4, geometry.head_size)
    table[-1, 1].square().sum().backward()
    assert (embeds.grad.abs().amax(-1) > 0).all()


@pytest.mark.parametrize("family", MASKED)
def test_positions_and_segments_reach_the_model(family):
    backbone = shared(family)
    ids, ones = torch.arange(6, 12)[None], torch.ones(1, 6, dtype=torch.long)
    with torch.no_grad():
        here, moved = (backbone.forward(backbone.embed(ids), ones, torch.arange(6)[None] + by) for by in (0, 5))
    assert (here - moved).abs().max() > 1e-3
