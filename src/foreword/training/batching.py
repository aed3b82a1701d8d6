"""Seeded batches of similar length."""

from __future__ import annotations

import random
from collections.abc import Sequence

WINDOW = 50


def epoch_batches(lengths: Sequence[int], size: int, seed: int, epoch: int) -> list[list[int]]:
    """Every index once, in batches of `size` rows (the last may be smaller), for one epoch.

    Rows are shuffled, sorted by length inside windows of 50 batches, cut into batches, and the batches shuffled: little
    padding, and yet another order every epoch. The same seed and epoch give the same batches.
    """
    rng = random.Random(f"{seed}:{epoch}")
    order = list(range(len(lengths)))
    rng.shuffle(order)
    batches: list[list[int]] = []
    for start in range(0, len(order), size * WINDOW):
        window = sorted(order[start : start + size * WINDOW], key=lambda i: lengths[i])
        batches += [window[i : i + size] for i in range(0, len(window), size)]
    rng.shuffle(batches)
    return batches
