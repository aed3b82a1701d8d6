"""One batch under way: its steps, and dropping, repeating and reordering its rows."""

import pytest
import torch

from foreword.generation.session import Session


@pytest.fixture
def items(world):
    return [world.items[owner] for owner in (None, "middle", "deep", "subset")]


@pytest.mark.parametrize("use_cache", [True, False])
@torch.no_grad()
def test_rows_can_be_dropped_repeated_and_reordered(world, items, use_cache):
    session = Session(world.bank, items, use_cache)
    session.step([11, 12, 13, 14])
    session.select([2, 0, 0, 3])
    session.step([21, 22, 23, 24])
    for place, (row, tokens) in enumerate([(2, (13, 21)), (0, (11, 22)), (0, (11, 23)), (3, (14, 24))]):
        alone = Session(world.bank, [items[row]], use_cache)
        for token in tokens:
            alone.step([token])
        torch.testing.assert_close(session.logits[place], alone.logits[0], rtol=1e-4, atol=1e-4)
    assert (session.logits[1] - session.logits[2]).abs().max() > 1e-2


@torch.no_grad()
def test_padding_is_finite_and_unseen(world, items):
    session = Session(world.bank, items)
    assert session.logits.isfinite().all() and session.logits.dtype == torch.float32
    alone = Session(world.bank, items[:1])
    torch.testing.assert_close(session.logits[:1], alone.logits, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_selecting_all_rows_in_order_is_free(gpt2):
    session = Session(gpt2.bank, gpt2.bare_items(2))
    before = session.logits
    session.select([0, 1])
    assert session.logits is before
