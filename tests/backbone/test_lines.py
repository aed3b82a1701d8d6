"""Rows that lie end to end give what rows with padding give: states and gradients, also under key/values."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from foreword.backbone.attention import LayerPrefix, Prefix
from foreword.backbone.lines import Lines
from foreword.bank import Bank
from foreword.batch import Item, collate
from foreword.errors import Unsupported
from foreword.text.rows import Row
from support.backbones import HEADS, HIDDEN, LAYERS, ONE_STACK, REFUSING, TWO_STACKS, shared, tiny

LENGTHS, WIDTH, PREFIX = (9, 2, 5, 1), 9, 4


def _mask(side: str = "right") -> Tensor:
    mask = torch.zeros(len(LENGTHS), WIDTH, dtype=torch.long)
    for row, length in enumerate(LENGTHS):
        mask[row, slice(0, length) if side == "right" else slice(WIDTH - length, WIDTH)] = 1
    return mask


def _inputs(side: str = "right") -> tuple[Tensor, Tensor, Tensor]:
    ids = torch.randint(5, 60, (len(LENGTHS), WIDTH), generator=torch.Generator().manual_seed(1))
    mask = _mask(side)
    return ids, mask, (mask.cumsum(1) - 1).clamp(min=0)


def _prefix(backbone: Any, leaves: list[Tensor]) -> Prefix:
    generator = torch.Generator().manual_seed(2)
    visible = torch.ones(len(LENGTHS), PREFIX, dtype=torch.bool)
    visible[1, 2:] = False
    shape = (len(LENGTHS), backbone.geometry.kv_heads, PREFIX, HIDDEN // HEADS)
    layers = {}
    for layer in range(LAYERS):
        pair = [torch.randn(shape, generator=generator).requires_grad_() for _ in range(2)]
        leaves += pair
        layers[layer] = LayerPrefix(pair[0], pair[1], visible if layer else None)
    return backbone.prefix(layers)


def lined(family: str) -> Any:
    """The tiny backbone, if it runs without padding."""
    backbone = shared(family)
    if "lines" in backbone.refusals:
        pytest.skip(backbone.refusals["lines"])
    return backbone


def test_most_families_of_one_stack_run_without_padding_and_the_others_say_why_not():
    able = [family for family in ONE_STACK if "lines" not in shared(family).refusals]
    assert {"bert", "roberta", "gpt2", "llama"} <= set(able)
    for family in (*TWO_STACKS, *REFUSING):
        backbone = shared(family)
        assert backbone.lines(_mask()) is None
        with pytest.raises(Unsupported, match="lines"):
            backbone.require("lines")


@given(st.lists(st.integers(0, 6), min_size=1, max_size=6).filter(any), st.booleans())
def test_rows_are_laid_and_stand_again(lengths, left):
    mask = torch.zeros(len(lengths), 7)
    for row, length in enumerate(lengths):
        mask[row, slice(7 - length, 7) if left else slice(0, length)] = 1
    lines = Lines.of(mask)
    assert lines is not None
    rows = torch.arange(mask.numel() * 2.0).view(*mask.shape, 2)
    line = lines.lay(rows)
    assert line.shape == (1, sum(lengths), 2)
    assert torch.equal(line[0], rows[mask == 1])
    assert torch.equal(lines.stand(line)[mask == 1], rows[mask == 1])
    seen = lines.mask(causal=True)
    for row in range(len(lengths)):
        for place in mask[row].nonzero()[:, 0].tolist():
            expected = [column <= place and bool(mask[row, column]) for column in range(7)]
            assert seen[row, 0, place].tolist() == expected


def test_rows_with_little_padding_stay_as_they_are():
    mask = torch.ones(10, 10)
    assert Lines.of(mask) is None
    mask[0, 1:] = 0
    assert Lines.of(mask) is None
    mask[1, 1:] = 0
    assert Lines.of(mask) is not None
    assert Lines.of(torch.zeros(2, 3)) is None


@pytest.mark.parametrize("family", ONE_STACK)
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("places", [0, 1, 2])
def test_states_and_gradients_are_those_with_padding(family, side, ahead, places):
    backbone = lined(family)
    ids, mask, positions = _inputs(side)
    first = mask.argmax(1)
    read = torch.stack([first, first + torch.tensor([8, 1, 4, 0])], 1)[:, :places] if places else None
    if places == 2:
        read[3, 1] = -1
    given, leaves = [], []
    for lines in (None, backbone.lines(mask)):
        own: list[Tensor] = []
        prefix = _prefix(backbone, own) if ahead else None
        embeds = backbone.embed(ids).detach().requires_grad_()
        hidden = backbone.forward(embeds, mask, positions, prefix=prefix, read=read, lines=lines)
        assert hidden.shape == (*mask.shape, backbone.geometry.hidden)
        if read is None:
            picked = hidden[mask == 1]
        else:
            rows, at = (read >= 0).nonzero(as_tuple=True)
            picked = hidden[rows, read[rows, at]]
        given.append(picked)
        leaves.append([embeds, *own])
    torch.testing.assert_close(given[1], given[0], rtol=1e-5, atol=1e-5)
    weights = torch.randn(given[0].shape, generator=torch.Generator().manual_seed(3))
    slow, fast = (torch.autograd.grad((one.tanh() * weights).sum(), of) for one, of in zip(given, leaves, strict=True))
    assert slow[0].abs().max() > 0
    for one, other in zip(slow, fast, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_a_bank_computes_tokens_and_no_padding(family, monkeypatch):
    backbone = lined(family)
    items = [Item((Row(tuple(range(5, 5 + n)), (-1,) * n, (0,) * n, None, ()),), None) for n in LENGTHS]
    batch = collate(items, backbone.pad_id)
    widths: list[tuple[int, ...]] = []
    hook = backbone.layers[0].register_forward_pre_hook(lambda _, given: widths.append(tuple(given[0].shape[:2])))
    try:
        bank = Bank(backbone)
        with torch.no_grad():
            found = bank.hidden(batch)
        trained = bank.hidden(batch)
        bank.whole = True
        with torch.no_grad():
            whole = bank.hidden(batch)
    finally:
        hook.remove()
    assert widths == [(1, sum(LENGTHS)), (len(LENGTHS), WIDTH), (len(LENGTHS), WIDTH)]
    kept = batch.mask == 1
    torch.testing.assert_close(found[kept], whole[kept], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(trained[kept], whole[kept], rtol=1e-5, atol=1e-5)


def test_a_family_that_looks_at_its_neighbours_is_found_out(monkeypatch):
    """Rows end to end touch one another in a layer that mixes places outside of attention."""
    from foreword.backbone import probing

    backbone = tiny("bert")
    layer = backbone.layers[0]
    plain = layer.forward
    monkeypatch.setattr(layer, "forward", lambda hidden, *args, **kwargs: plain(hidden.roll(1, 1), *args, **kwargs))
    backbone.refusals.pop("lines", None)
    probing._probe_lines(backbone, probing.sample_of(backbone))
    assert "not give the same" in backbone.refusals["lines"]


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_place_of_padding_that_is_read_spoils_no_other(side):
    backbone = lined("bert")
    ids, mask, positions = _inputs(side)
    everywhere = torch.arange(WIDTH).expand(len(LENGTHS), -1)
    embeds = backbone.embed(ids)
    found, expected = (
        backbone.forward(embeds, mask, positions, read=everywhere, lines=lines) for lines in (Lines.of(mask), None)
    )
    torch.testing.assert_close(found[mask == 1], expected[mask == 1], rtol=1e-5, atol=1e-5)
