"""Rows into tensors."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.batch import Item, collate, pieces
from foreword.text.rows import Row


def row(length: int, answers: tuple[int, ...] = (), cls: int | None = 0) -> Row:
    ids = tuple(range(10, 10 + length))
    return Row(ids, (-1,) * (length - 1) + (0,), tuple(i % 2 for i in range(length)), cls, answers)


rows = st.integers(1, 9).flatmap(
    lambda n: st.builds(
        row, st.just(n), st.lists(st.integers(0, n - 1), max_size=3).map(tuple), st.sampled_from([None, 0])
    )
)
item_lists = st.lists(
    st.builds(
        Item, st.lists(rows, min_size=1, max_size=3).map(tuple), st.sampled_from([None, "a", "b"]), st.integers(0, 3)
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(item_lists, st.sampled_from(["left", "right"]))
def test_every_row_comes_out_as_it_went_in(items, side):
    batch = collate(items, 99, side)
    given_rows = [(number, item, one) for number, item in enumerate(items) for one in item.rows]
    assert len(given_rows) == len(batch.owners) == len(batch.items)
    for index, (number, item, one) in enumerate(given_rows):
        real = batch.mask[index].bool()
        start = int(real.nonzero()[0])
        assert batch.ids[index][real].tolist() == list(one.ids)
        assert batch.soft[index][real].tolist() == list(one.soft)
        assert batch.types[index][real].tolist() == list(one.types)
        assert batch.positions[index][real].tolist() == list(range(len(one)))
        assert (batch.ids[index][~real] == 99).all() and (batch.soft[index][~real] == -1).all()
        assert int(batch.positions[index].max()) < len(one) and int(batch.positions[index].min()) >= 0
        assert int(batch.last[index]) == int(real.nonzero().max())
        assert int(batch.cls[index]) == (-1 if one.cls is None else start + one.cls)
        answers = [place - start for place in batch.answers[index].tolist() if place >= 0]
        assert answers == list(one.answers)
        assert (batch.owners[index], batch.items[index]) == (item.owner, number)
    assert batch.labels.tolist() == [item.label for item in items]
    owned = batch.rows_of
    assert sorted(i for group in owned.values() for i in group) == list(range(len(given_rows)))


@settings(max_examples=40, deadline=None)
@given(item_lists, st.randoms(use_true_random=False))
def test_select_takes_rows_in_the_order_asked_for(items, random):
    batch = collate(items, 0)
    chosen = random.sample(range(len(batch.owners)), random.randint(1, len(batch.owners)))
    part = batch.select(chosen)
    assert torch.equal(part.ids, batch.ids[chosen]) and torch.equal(part.answers, batch.answers[chosen])
    assert torch.equal(part.last, batch.last[chosen]) and torch.equal(part.positions, batch.positions[chosen])
    assert part.owners == tuple(batch.owners[i] for i in chosen)
    assert part.items == tuple(batch.items[i] for i in chosen)
    assert torch.equal(part.labels, batch.labels)


@settings(max_examples=80, deadline=None)
@given(item_lists, st.integers(1, 60))
def test_pieces_hold_every_item_once_and_respect_the_budget(items, budget):
    groups = pieces(items, budget)
    assert sorted(i for group in groups for i in group) == list(range(len(items)))
    for group in groups:
        chosen = [items[i] for i in group]
        padded = collate(chosen, 0).ids.numel()
        assert padded <= budget or len(group) == 1
        assert padded == sum(len(one.rows) for one in chosen) * max(one.tokens for one in chosen)


def test_pieces_are_as_few_as_the_budget_allows_for_equal_rows():
    items = [Item((row(4),)) for _ in range(10)]
    assert [len(group) for group in pieces(items, 12)] == [3, 3, 3, 1]
    assert pieces([], 10) == []


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(1, 8))
def test_pieces_hold_no_more_items_than_asked(lengths, most):
    items = [Item((Row((0,) * n, (-1,) * n, (0,) * n, None, ()),)) for n in lengths]
    groups = pieces(items, 10_000, most)
    assert sorted(index for group in groups for index in group) == list(range(len(items)))
    assert max(len(group) for group in groups) <= most
    assert len(groups) == -(-len(items) // most)
