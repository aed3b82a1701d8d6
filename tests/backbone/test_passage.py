"""A run in parts gives what the whole run gives, in states and in gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from foreword.backbone.attention import LayerPrefix, Prefix
from foreword.errors import Unsupported
from support.backbones import HEADS, HIDDEN, LAYERS, ONE_STACK, REFUSING, TWO_STACKS, shared, tiny

ROWS, LENGTH, PREFIX = 3, 7, 4


def _inputs(side: str) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask and positions of rows of 7, 5 and 3 tokens."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 60, (ROWS, LENGTH), generator=generator)
    mask = torch.ones(ROWS, LENGTH, dtype=torch.long)
    for row, empty in enumerate((0, 2, 4)):
        place = slice(0, empty) if side == "left" else slice(LENGTH - empty, LENGTH)
        mask[row, place] = 0
    return ids, mask, (mask.cumsum(1) - 1).clamp(min=0)


def _prefix(backbone: Any, leaves: list[Tensor]) -> Prefix:
    """Key/values in all layers, the second row seeing half of them; their leaves are appended."""
    generator = torch.Generator().manual_seed(2)
    visible = torch.tensor([[True] * PREFIX, [True, True, False, False], [True] * PREFIX])
    layers = {}
    for layer in range(LAYERS):
        shape = (1, backbone.geometry.kv_heads, PREFIX, HIDDEN // HEADS)
        pair = [torch.randn(shape, generator=generator).requires_grad_() for _ in range(2)]
        leaves += pair
        layers[layer] = LayerPrefix(pair[0], pair[1], visible)
    return backbone.prefix(layers)


def _places(mask: Tensor, count: int) -> Tensor:
    """The last `count` tokens of every row, the third row's first of them left out where there are two."""
    last = (mask * torch.arange(mask.shape[1])).amax(1)
    places = torch.stack([last - i for i in range(count)], dim=1)
    if count > 1:
        places[2, 1] = -1
    return places


def _compare(whole: Tensor, part: Tensor, places: Tensor, leaves: list[Tensor]) -> None:
    """The states at the places, and the gradients of a function of them."""
    chosen = (places >= 0).nonzero(as_tuple=True)
    states = [hidden[chosen[0], places[chosen]] for hidden in (whole, part)]
    torch.testing.assert_close(states[1], states[0], rtol=1e-5, atol=1e-5)
    weights = torch.randn(states[0].shape, generator=torch.Generator().manual_seed(3))
    slow, fast = (torch.autograd.grad((s.tanh() * weights).sum(), leaves, allow_unused=True) for s in states)
    assert any(g is not None and g.abs().max() > 0 for g in slow)
    for one, other in zip(slow, fast, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", ["left", "right", "none"])
@pytest.mark.parametrize("prefixed", [False, True])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("family", ONE_STACK)
def test_reading_a_few_places_equals_reading_all(family: str, count: int, prefixed: bool, side: str) -> None:
    backbone = tiny(family)
    ids, mask, positions = _inputs("right" if side == "none" else side)
    if side == "none":
        mask, positions = torch.ones_like(mask), torch.arange(LENGTH).expand(ROWS, -1)
    leaves = [backbone.embed(ids).detach().requires_grad_()]
    prefix = _prefix(backbone, leaves) if prefixed else None
    places = _places(mask, count)
    whole = backbone.forward(leaves[0], mask, positions, None, prefix)
    part = backbone.forward(leaves[0], mask, positions, None, prefix, read=places)
    _compare(whole, part, places, leaves)


@pytest.mark.parametrize("read", [False, True])
@pytest.mark.parametrize("start", [1, 2, 3])
@pytest.mark.parametrize("family", ONE_STACK)
def test_going_on_from_a_layer_equals_a_whole_run(family: str, start: int, read: bool) -> None:
    backbone = tiny(family)
    ids, mask, positions = _inputs("right")
    leaves: list[Tensor] = []
    prefix = _prefix(backbone, leaves)
    own = {layer: part for layer, part in prefix.layers.items() if layer >= start}
    if own:
        leaves = [tensor for part in own.values() for tensor in (part.keys, part.values)]
    prefix = backbone.prefix(own)
    embeds = backbone.embed(ids)
    with torch.no_grad():
        below = backbone.states(embeds, mask, positions, stop=start)
    if not own:
        below = below.requires_grad_()
        leaves = [below]
    places = _places(mask, 2)
    part = backbone.forward(
        embeds, mask, positions, None, prefix, start=start, states=below, read=places if read else None
    )
    if own:
        _compare(backbone.forward(embeds, mask, positions, None, prefix), part, places, leaves)
    else:
        whole = backbone.forward(embeds, mask, positions)
        chosen = (places >= 0).nonzero(as_tuple=True)
        torch.testing.assert_close(part[chosen[0], places[chosen]], whole[chosen[0], places[chosen]])


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_a_place_that_is_read_twice_counts_once(family: str) -> None:
    backbone = tiny(family)
    ids, mask, positions = _inputs("right")
    leaves = [backbone.embed(ids).detach().requires_grad_()]
    once = _places(mask, 1)
    whole = backbone.forward(leaves[0], mask, positions)
    part = backbone.forward(leaves[0], mask, positions, read=once.expand(-1, 2))
    _compare(whole, part, once, leaves)


@pytest.mark.parametrize("family", ONE_STACK)
def test_parts_leave_the_trunk_as_it_is(family: str) -> None:
    backbone = tiny(family)
    ids, mask, positions = _inputs("right")
    modules, before = [id(m) for m in backbone.trunk.modules()], backbone.forward(backbone.embed(ids), mask, positions)
    backbone.forward(backbone.embed(ids), mask, positions, read=_places(mask, 1))
    backbone.states(backbone.embed(ids), mask, positions, stop=2)
    assert [id(m) for m in backbone.trunk.modules()] == modules
    torch.testing.assert_close(backbone.forward(backbone.embed(ids), mask, positions), before, rtol=0, atol=0)


@pytest.mark.parametrize("family", REFUSING)
def test_a_family_that_is_not_routed_refuses_parts_and_reads_all(family: str) -> None:
    backbone = tiny(family)
    ids, mask, positions = _inputs("right")
    with pytest.raises(Unsupported, match="passage"):
        backbone.states(backbone.embed(ids), mask, positions, stop=1)
    whole = backbone.forward(backbone.embed(ids), mask, positions)
    read = backbone.forward(backbone.embed(ids), mask, positions, read=_places(mask, 1))
    torch.testing.assert_close(read, whole, rtol=0, atol=0)


@pytest.mark.parametrize("family", TWO_STACKS)
def test_two_stacks_are_not_run_in_part(family: str) -> None:
    backbone = shared(family)
    backbone.require("parts")
    embeds, mask = backbone.embed(torch.tensor([[5, 6, 7]])), torch.ones(1, 3, dtype=torch.long)
    with pytest.raises(Unsupported, match=rf"{family}.*passage: a row runs through two stacks"):
        backbone.states(embeds, mask, mask, stop=1)
