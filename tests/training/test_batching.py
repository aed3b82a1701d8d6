"""Batches of similar length."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.training.batching import epoch_batches

lengths = st.lists(st.integers(1, 50), min_size=1, max_size=200)


@settings(max_examples=60, deadline=None)
@given(lengths, st.integers(1, 20), st.integers(0, 5), st.integers(0, 5))
def test_an_epoch_has_every_index_once_in_batches_of_the_size(lengths, size, seed, epoch):
    batches = epoch_batches(lengths, size, seed, epoch)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // size)
    assert sorted(map(len, batches), reverse=True)[:-1] == [size] * (len(batches) - 1)
    assert epoch_batches(lengths, size, seed, epoch) == batches


def test_the_number_of_batches_is_that_of_the_schedule_for_many_windows():
    batches = epoch_batches([1] * 1001, 4, 0, 0)
    assert len(batches) == 251


def test_seeds_and_epochs_give_other_orders():
    lengths = list(range(40))
    orders = {str(epoch_batches(lengths, 4, seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


def test_a_batch_pads_little():
    lengths = [1 + (i * 37) % 100 for i in range(400)]
    batches = epoch_batches(lengths, 8, 0, 0)
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    assert padded < 1.1 * sum(lengths)


def test_ties_in_length_are_shuffled():
    assert epoch_batches([5] * 16, 4, 0, 0) != [list(range(i, i + 4)) for i in range(0, 16, 4)]
