"""What a measure of variety is: one number of a sample, where it comes from, and where it misleads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from foreword.stories.diversity.corpus import Sample


@dataclass(frozen=True)
class Measure:
    """One measure.

    `varied`: whether more variety is a higher or a lower number. `bounds`: the least and the most that it can be for n
    stories. `source`: who proposed it. `defect`: what is known to mislead. `value`: its number for a sample, which has
    at least two stories. `needs`: a kernel of the sample, without which it cannot be had.
    """

    name: str
    title: str
    varied: Literal["higher", "lower"]
    bounds: Callable[[int], tuple[float, float]]
    source: str
    defect: str
    value: Callable[[Sample], float]
    needs: str = ""


def share(n: int) -> tuple[float, float]:
    """The bounds of a share."""
    return 0.0, 1.0


def count(n: int) -> tuple[float, float]:
    """The bounds of a number of stories."""
    return 1.0, float(n)
