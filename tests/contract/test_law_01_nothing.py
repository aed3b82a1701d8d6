"""Law 1: attaching nothing changes nothing."""

from __future__ import annotations

import pytest
import torch

from foreword.bank import Bank
from foreword.batch import collate
from support.backbones import FAMILIES, REFUSING, TWO_STACKS, bare, kind, shared, states_of
from support.forewords import PAIRS, ROWS, anywhere, bank_of, close, grid, hidden, items, make, refused


def readout_for(family: str, method: str) -> str:
    return next(name for name in ("mean", "words", "last") if not refused(family, method, name))


def bare_inputs(family, batch, positions: bool):
    inputs = {}
    if positions and batch.border is None:
        inputs["position_ids"] = batch.positions + shared(family).geometry.position_base
    if family in ("bert", "albert"):
        inputs["token_type_ids"] = batch.types
    return inputs


def logits_of(model, batch, given):
    """Of the places that have any: those of the decoder, where there are two stacks."""
    ids, mask, border = batch.ids, batch.mask, batch.border
    if border is None:
        return model(input_ids=ids, attention_mask=mask, **given).logits
    return model(
        input_ids=ids[:, :border], attention_mask=mask[:, :border],
        decoder_input_ids=ids[:, border:], decoder_attention_mask=mask[:, border:],
    ).logits  # fmt: skip


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", (*FAMILIES, *REFUSING))
def test_rows_without_a_foreword_equal_the_bare_model(family, side, law):
    backbone, model = shared(family), bare(family)
    rows = items(make(family, "linear-probe", anywhere(family), backbone=backbone), owner=None)
    for chosen in (rows, rows[:1], rows[1:2]):
        batch = collate(chosen, backbone.pad_id, side)
        with torch.no_grad():
            given = bare_inputs(family, batch, side == "left")
            trunk = states_of(model, batch, **given)
            found = Bank(backbone).hidden(batch)
            real = batch.mask.bool()
            assert torch.isfinite(found).all()
            close([found[real]], [trunk[real]], 1e-5)
            if "head" not in backbone.refusals:
                everywhere = batch.positions.new_tensor(range(batch.ids.shape[1])).expand_as(batch.ids)
                logits = Bank(backbone).logits(batch, everywhere)[:, batch.border :]
                close([logits[real[:, batch.border :]]], [logits_of(model, batch, given)[real[:, batch.border :]]])
    law(1)


@pytest.mark.parametrize("family", FAMILIES)
def test_pairs_without_a_foreword_equal_the_bare_model(family, law):
    backbone = shared(family)
    readout = anywhere(family)
    assembly = make(family, "linear-probe", readout, backbone=backbone, rows=PAIRS, task="pair-classification")
    batch = collate(items(assembly, PAIRS, None), backbone.pad_id)
    with torch.no_grad():
        expected = states_of(bare(family), batch, **bare_inputs(family, batch, False))
    real = batch.mask.bool()
    close([Bank(backbone).hidden(batch)[real]], [expected[real]], 1e-5)
    law(1)


@pytest.mark.parametrize(("family", "method"), grid())
def test_a_row_without_a_foreword_is_the_same_beside_others(family, method, law):
    backbone = shared(family)
    assembly = make(family, method, readout_for(family, method), backbone=backbone)
    plain = items(make(family, "linear-probe", anywhere(family), backbone=backbone), ROWS[:2], None)
    own = items(assembly, ROWS[2:4], "own")
    bank = bank_of({"own": assembly})
    count = len(own[0].rows)
    for side in ("left", "right"):
        beside = hidden(bank, [plain[0], own[0], plain[1], own[1]], side)
        close([beside[0], beside[1 + count]], [hidden(bank, [one])[0] for one in plain])
    law(1)


@pytest.mark.parametrize("family", (*FAMILIES, *REFUSING))
def test_detaching_restores_the_model_bit_for_bit(family, law):
    model = bare(family)
    ids = torch.arange(5, 12)[None]
    padded = torch.ones_like(ids)
    padded[:, -2:] = 0
    more = {"decoder_input_ids": ids} if family in TWO_STACKS else {}
    with torch.no_grad():
        before = [model(input_ids=ids, **more).logits, model(input_ids=ids, attention_mask=padded, **more).logits]
        implementation = model.config._attn_implementation
        from foreword.backbone.backbone import Backbone

        backbone = Backbone(model, shared(family).tokenizer, kind(family), family)
        if "key_values" not in backbone.refusals:
            assert model.config._attn_implementation == "foreword"
            for method in ("v2-random", "full"):
                assembly = make(family, method, anywhere(family), backbone=backbone)
                hidden(bank_of({"own": assembly}), items_of(backbone, family))
        again = backbone.detach()
        after = [again(input_ids=ids, **more).logits, again(input_ids=ids, attention_mask=padded, **more).logits]
    assert again is model
    assert model.config._attn_implementation == implementation
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    law(1)


def items_of(backbone, family):
    return items(make(family, "linear-probe", anywhere(family), backbone=backbone), ROWS[:3], "own")


def test_detaching_gives_back_modes_and_gradients():
    from foreword.backbone.backbone import Backbone

    model = bare("bert").train()
    frozen = model.bert.embeddings.word_embeddings.weight.requires_grad_(False)
    Backbone(model, shared("bert").tokenizer, "masked", "bert").detach()
    assert model.training
    assert not frozen.requires_grad
    assert all(p.requires_grad for p in model.parameters() if p is not frozen)


@pytest.mark.parametrize(("family", "method"), grid())
def test_the_other_laws_are_not_empty(family, method):
    """A foreword that injects something changes what its rows give, so that equal results mean something."""
    assembly = make(family, method, readout_for(family, method), backbone=shared(family))
    injection = assembly.method.compiled()
    bank = bank_of({"own": assembly})
    bank.put("nothing", make(family, "linear-probe", anywhere(family), backbone=shared(family)).method.compiled())
    if injection.key_values is not None or injection.cross is not None:
        own, none = items(assembly, ROWS[:2], "own"), items(assembly, ROWS[:2], "nothing")
        assert (hidden(bank, own)[0] - hidden(bank, none)[0]).abs().max() > 1e-3
    if injection.soft is not None:
        assert injection.soft.vectors.abs().max() > 1e-3
