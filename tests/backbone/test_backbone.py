"""The frozen model: sizes, refusals, replaced weights, the head, fingerprints."""

from __future__ import annotations

import copy

import pytest
import torch

from foreword.backbone.backbone import Backbone, fingerprint
from foreword.batch import Item, collate
from foreword.errors import BackboneError, ConfigError, Unsupported
from foreword.text.rows import as_row
from support import tokenizers
from support.backbones import (
    FAMILIES,
    HEADS,
    HIDDEN,
    LAYERS,
    MASKED,
    ONE_STACK,
    POSITIONS,
    REFUSING,
    TWO_STACKS,
    bare,
    kind,
    shared,
    states_of,
    tiny,
)  # fmt: skip
from support.forewords import close, make


def plain_batch(family):
    """One row of eight words, for either stack where there are two."""
    ids = tuple(range(6, 14))
    return collate([Item((as_row(ids, ids if family in TWO_STACKS else None),))], 0)


def words_of(batch):
    """What the plain model takes."""
    border = batch.border
    more = {} if border is None else {"decoder_input_ids": batch.ids[:, border:]}
    return {"input_ids": batch.ids[:, :border], **more}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_sizes_are_those_of_the_model(family):
    geometry = shared(family).geometry
    narrow = 16 if family == "opt-projected" else HIDDEN
    assert (geometry.hidden, geometry.embedding) == (narrow, narrow)
    size = 6 if family == "t5" else HIDDEN // HEADS
    assert (geometry.layers, geometry.heads, geometry.head_size) == (LAYERS, HEADS, size)
    assert geometry.encoder_layers == {"t5": 2, "bart": 1}.get(family, 0)
    assert list(geometry.cross_layers) == {"t5": [2], "bart": [1, 2]}.get(family, [])
    assert geometry.kv_heads == (2 if family == "llama" else HEADS)
    assert geometry.positions == POSITIONS
    assert geometry.position_base == (2 if family == "roberta" else 0)
    assert geometry.vocabulary == bare(family).config.vocab_size
    assert geometry.parameters == sum(p.numel() for p in bare(family).parameters())
    assert geometry.to_dict()["kv_heads"] == geometry.kv_heads
    assert set(shared(family).refusals) == ({"passage", "lines"} if family in TWO_STACKS else set())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_position_can_be_used_and_the_next_is_refused(family):
    from foreword.bank import Bank

    def batch(length):
        return collate([Item((as_row((7,) * length, (7,) * length if family in TWO_STACKS else None),))], 0)

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
    batch = plain_batch(family)
    words = torch.tensor([9, 3, 50])
    with torch.no_grad():
        expected = model(**words_of(batch)).logits
        hidden = states_of(model, batch)[:, batch.border :]
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
    given = words_of(plain_batch(family))
    with torch.no_grad():
        first = backbone.model(**given).logits
        with backbone.weights(replaced):
            close([backbone.model(**given).logits], [other(**given).logits], 1e-5)
        assert torch.equal(backbone.model(**given).logits, first)
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
    batch = plain_batch(family)
    given = (backbone.embed(batch.ids), batch.mask, batch.positions)
    with torch.no_grad():
        twice = [backbone.forward(*given, border=batch.border) for _ in range(2)]
    assert torch.equal(*twice)


@pytest.mark.parametrize("family", ONE_STACK)
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
