"""Weights that are laid out for few rows: the same products, and the model as it was afterwards."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import linear

from foreword.config import GenerationOptions
from foreword.serving import packing
from foreword.serving.packing import ROWS, Packed, packed
from foreword.serving.prompts import row_of_text
from foreword.serving.writing import Writing
from support.backbones import tiny

from .conftest import SOURCES
from .hearing import Answer, started

pytestmark = pytest.mark.skipif(not packing.available(), reason="this build of torch has no laid-out products")


@settings(max_examples=40, deadline=None)
@given(st.integers(1, ROWS + 3), st.integers(1, 40), st.integers(1, 40), st.booleans(), st.booleans())
def test_a_product_is_the_one_of_linear(rows, wide, out, deep, biased):
    generator = torch.Generator().manual_seed(rows * wide + out)
    shape = (rows, 1, wide) if deep else (rows, wide)
    given_, weight = torch.randn(shape, generator=generator), torch.randn(out, wide, generator=generator)
    bias = torch.randn(out, generator=generator) if biased else None
    made = Packed()
    made.add(weight)
    found = made.product(given_, weight, bias)
    assert found.shape == (*shape[:-1], out)
    torch.testing.assert_close(found, linear(given_, weight, bias), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_it_holds_in_the_block_alone_and_not_for_weights_that_are_replaced():
    backbone = tiny("llama")
    layer = next(one for one in backbone.model.modules() if type(one) is torch.nn.Linear)
    given_, before = torch.randn(5, layer.in_features), layer.weight
    right = layer(given_)
    with packed(backbone, entries=1) as count:
        assert count > 10 and "forward" in vars(layer)
        torch.testing.assert_close(layer(given_), right, atol=1e-5, rtol=1e-4)
        layer._parameters["weight"] = torch.nn.Parameter(before * 2, requires_grad=False)
        torch.testing.assert_close(layer(given_), linear(given_, before * 2, layer.bias), atol=1e-5, rtol=1e-4)
        layer._parameters["weight"] = before
    assert "forward" not in vars(layer) and backbone.product is linear


def test_small_matrices_and_other_precisions_are_left_as_they_are():
    backbone = tiny("llama")
    with packed(backbone) as count:
        assert count == 0
    backbone.model.to(torch.bfloat16)
    try:
        with packed(backbone, entries=1) as count:
            assert count == 0
    finally:
        backbone.model.to(torch.float32)


def test_texts_are_the_same_with_it(served, monkeypatch):
    bank, known = served
    packs, calls, product = packing.packed, [], Packed.product
    monkeypatch.setattr(Packed, "product", lambda self, *a: calls.append(1) or product(self, *a))
    monkeypatch.setattr(packing, "packed", lambda backbone: packs(backbone, entries=1))
    told = []
    for wanted in (True, False):
        engine, answers = started(bank, packed_weights=wanted), []
        try:
            for text in SOURCES:
                for resident in (None, known["v2-random"], known["full"]):
                    if resident is None:
                        row = row_of_text(bank.backbone, text)
                    else:
                        row = resident.foreword.reader.item(resident.foreword.example(text), resident.key).rows[0]
                    answers.append(Answer())
                    options = GenerationOptions(max_new_tokens=6, eos_token_ids=())
                    engine.submit([Writing(row, resident, options, answers[-1].tell)])
            told.append([answer.wait().ids() for answer in answers])
        finally:
            engine.stop()
        assert bool(calls) is wanted
        calls.clear()
    assert told[0] == told[1]
