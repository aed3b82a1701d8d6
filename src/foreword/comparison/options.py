"""What is compared and how."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """A comparison's choices.

    `metric`: the one that is tested (default: the task's first). `shown`: those in the table (default: the first two).
    `resamples`: of the tests, drawn by `seed`. `data`: whether to look for the data, for right answers that the results
    do not hold, and for `texts` of single rows.
    """

    split: str = "test"
    metric: str | None = None
    shown: tuple[str, ...] = ()
    resamples: int = 10_000
    seed: int = 0
    allow_mixed: bool = False
    data: bool = True
    texts: bool = False


DEFAULT = Options()
