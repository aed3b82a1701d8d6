"""Law 8: every fast path equals the slow path, in loss and in gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import DynamicCache
from transformers.masking_utils import AttentionMaskInterface, eager_mask
from transformers.modeling_utils import AttentionInterface

from foreword.bank import Bank, _stack
from foreword.batch import collate, pieces
from foreword.injections import Injection, KeyValues
from foreword.training.loop import OWNER, Loop
from support.backbones import CAUSAL, FAMILIES, ONE_STACK, bare, shared
from support.forewords import TRAINED, close, gradients, grid, idle, items, loud, make, near, refused, same, short_words

KEY_VALUES = ("v2-random", "v2-layers", "v2-projection", "v2-text")


@pytest.mark.parametrize(("family", "method"), grid(TRAINED))
def test_gradients_in_pieces_equal_those_of_one_piece(family, method, law):
    for readout in ("last", "long-words"):
        if refused(family, method, readout):
            continue
        found = []
        for max_tokens in (100_000, 64):
            assembly = loud(make(family, method, readout, backbone=shared(family), max_tokens=max_tokens))
            assembly.method.eval()
            rows = items(assembly)
            assert (len(pieces(rows, max_tokens)) > 1) == (max_tokens == 64)
            found.append((Loop(assembly, rows, []).backward(rows), gradients(assembly)))
        assert found[1][0] == pytest.approx(found[0][0], rel=1e-4, abs=1e-6)
        near(found[1][1], {name: value for name, value in found[0][1].items() if not idle(assembly, name)})
        law(8)


@pytest.mark.parametrize("method", ["full", "prompt-text", "v2-random", "p-tuning-lstm"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_head_on_label_words_alone_equals_the_head_on_all_words(family, method, law):
    assembly = make(family, method, "words", backbone=shared(family))
    backbone, readout = assembly.backbone, assembly.readout
    words = [placed.ids[0] for placed in readout.placement]
    assert [placed.label for placed in readout.placement] == [0, 1] and len(short_words(family)) == 2
    bank = Bank(backbone)
    found = []
    for slow in (False, True):
        bank.put(OWNER, assembly.method.compiled(), readout)
        batch = collate(items(assembly), backbone.pad_id)
        if slow:
            logits = bank.logits(batch, batch.answers)[:, 0]
            assert logits.shape[-1] == backbone.geometry.vocabulary
            scores = logits.log_softmax(-1)[:, words]
        else:
            [(_, scores)] = bank.scores(batch)
        loss = cross_entropy(scores, batch.labels)
        grads = torch.autograd.grad(loss, list(assembly.trained().values()), allow_unused=True)
        named = {n: g for n, g in zip(assembly.trained(), grads, strict=True) if g is not None}
        found.append((loss, scores.softmax(-1), named))
    close([found[0][0], found[0][1]], [found[1][0], found[1][1]])
    near(found[0][2], {name: found[1][2][name] for name in found[0][2]})
    law(8)


def run_with(backbone, table: Tensor, layers, batch, how: str) -> Tensor:
    injection = Injection(key_values=KeyValues(layers, table))
    bank = Bank(backbone)
    bank.put(OWNER, injection)
    owners = batch.owners
    prefix = bank.prefix(owners) if how == "shared" else backbone.prefix(_stack(owners, {OWNER: injection.key_values}))
    where = batch.mask, batch.positions, batch.types
    return backbone.forward(bank.embeds(batch), *where, prefix, border=batch.border)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("family", "method"), grid(KEY_VALUES))
def test_shared_key_values_equal_those_stacked_by_row(family, method, side, law):
    assembly = make(family, method, "last", backbone=shared(family))
    compiled = assembly.method.compiled().key_values
    for rows in (items(assembly), items(assembly)[:1]):
        batch = collate(rows, assembly.backbone.pad_id, side)
        found = []
        for how in ("shared", "stacked"):
            table = compiled.tensor.detach().clone().requires_grad_()
            out = run_with(assembly.backbone, table, compiled.layers, batch, how)
            weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)) * batch.mask[..., None]
            (out * weight).sum().backward()
            found.append((out[batch.mask.bool()].detach(), table.grad))
        close([found[0][0]], [found[1][0]])
        near({"table": found[0][1]}, {"table": found[1][1]})
    law(8)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", CAUSAL)
def test_key_values_equal_a_cache_that_holds_them(family, side, law):
    """transformers' own route for prefixes, in outputs and gradients, padded and not."""
    assembly = make(family, "v2-random", "last", backbone=shared(family))
    backbone, compiled, model = assembly.backbone, assembly.method.compiled().key_values, bare(family)
    for rows in (items(assembly), items(assembly)[:1]):
        batch = collate(rows, backbone.pad_id, side)
        real = batch.mask.bool()
        ours = compiled.tensor.detach().clone().requires_grad_()
        theirs = compiled.tensor.detach().clone().requires_grad_()
        found = run_with(backbone, ours, compiled.layers, batch, "shared")
        cache = DynamicCache()
        for layer, (keys, values) in enumerate(theirs):
            count = len(batch.owners)
            cache.update(keys.expand(count, -1, -1, -1), values.expand(count, -1, -1, -1), layer)
        mask = torch.cat([torch.ones(len(batch.owners), compiled.length, dtype=torch.long), batch.mask], 1)
        expected = model.base_model(
            input_ids=batch.ids, attention_mask=mask, position_ids=batch.positions, past_key_values=cache
        ).last_hidden_state
        close([found[real].detach()], [expected[real].detach()])
        weight = torch.randn(expected[real].shape, generator=torch.Generator().manual_seed(1))
        (found[real] * weight).sum().backward()
        (expected[real] * weight).sum().backward()
        near({"table": ours.grad}, {"table": theirs.grad})
    law(8)


def by_hand(module, query, key, value, attention_mask, scaling=None, **kwargs: Any):
    """Attention as the paper writes it, over the module's prefix and the text."""
    keys, values = module.prefix
    groups = query.shape[1] // key.shape[1]
    key = torch.cat([keys.expand(key.shape[0], -1, -1, -1), key], 2).repeat_interleave(groups, 1)
    value = torch.cat([values.expand(value.shape[0], -1, -1, -1), value], 2).repeat_interleave(groups, 1)
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = query @ key.transpose(-1, -2) * scaling
    if attention_mask is not None:
        scores[..., keys.shape[2] :] += attention_mask
    return (scores.softmax(-1) @ value).transpose(1, 2), None


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", ONE_STACK)
def test_key_values_equal_attention_written_out_by_hand(family, side, law):
    AttentionInterface.register("by_hand", by_hand)
    AttentionMaskInterface.register("by_hand", eager_mask)
    assembly = make(family, "v2-random", "last", backbone=shared(family))
    backbone, compiled, model = assembly.backbone, assembly.method.compiled().key_values, bare(family)
    model.set_attn_implementation("by_hand")
    paths = {id(module): name for name, module in backbone.model.named_modules()}
    for module, layer in backbone.slots.items():
        model.get_submodule(paths[id(module)]).prefix = compiled.tensor.detach()[layer][:, None]
    for rows in (items(assembly), items(assembly)[:1]):
        batch = collate(rows, backbone.pad_id, side)
        inputs = {"position_ids": batch.positions + backbone.geometry.position_base, "attention_mask": batch.mask}
        with torch.no_grad():
            expected = model.base_model(input_ids=batch.ids, **inputs).last_hidden_state
            found = run_with(backbone, compiled.tensor, compiled.layers, batch, "shared")
        real = batch.mask.bool()
        close([found[real]], [expected[real]])
    law(8)


def test_pieces_of_one_step_compile_the_method_once(monkeypatch):
    assembly = make("bert", "p-tuning-lstm", "last", max_tokens=16)
    calls = []
    original = type(assembly.method).compiled
    monkeypatch.setattr(type(assembly.method), "compiled", lambda self: calls.append(1) or original(self))
    Loop(assembly, items(assembly), []).backward(items(assembly))
    assert len(calls) == 1


def test_the_same_step_twice_gives_the_same_gradient():
    assembly = make("llama", "v2-projection", "last", max_tokens=64)
    found = []
    for _ in range(2):
        loop = Loop(assembly, items(assembly), [])
        loop.optimizer.zero_grad()
        loop.backward(items(assembly))
        found.append(gradients(assembly))
    same(found[0], found[1])
