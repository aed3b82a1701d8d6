"""Numbers as places in a drawing, and as the few round numbers beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps `low` … `high` to 0 … 1; by their logarithms with `log`."""

    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    def share(self, value: float) -> float:
        """Where a number lies, 0 at `low` and 1 at `high`; outside ones stay at the edge."""
        low, high, at = (math.log10(v) for v in (self.low, self.high, value)) if self.log else (
            self.low, self.high, value)  # fmt: skip
        return min(1.0, max(0.0, (at - low) / (high - low))) if high > low else 0.5

    @property
    def labels(self) -> tuple[tuple[float, str], ...]:
        """Each tick's place and how it is written."""
        return tuple((self.share(tick), short(tick)) for tick in self.ticks)


def linear(values: Iterable[float]) -> Scale:
    """From a round number at or below the values to one at or above them."""
    known = [v for v in values if finite(v)] or [0.0, 1.0]
    found = ticks(min(known), max(known))
    return Scale(found[0], found[-1], tuple(found))


def steps(values: Iterable[float]) -> Scale:
    """From the first to the last of whole numbers, with ticks between: for the steps of a run."""
    known = [v for v in values if finite(v)] or [0.0, 1.0]
    low, high = min(known), max(known)
    inside = [t for t in ticks(low, high) if t == int(t) and low <= t <= high]
    return Scale(low, high if high > low else low + 1, tuple(inside))


def logarithmic(values: Iterable[float]) -> Scale:
    """From a power of ten at or below the values to one at or above. Values have to be positive."""
    known = [v for v in values if finite(v) and v > 0] or [1.0, 10.0]
    low, high = (math.floor(math.log10(min(known))), math.ceil(math.log10(max(known))))
    high = max(high, low + 1)
    every = max(1, (high - low + 5) // 6)
    return Scale(10.0**low, 10.0**high, tuple(10.0**k for k in range(low, high + 1, every)), log=True)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers, two to `most` + 2 of them, from at or below `low` to at or above `high`."""
    span = high - low
    if span < max(1e-12, 1e-9 * max(abs(low), abs(high))):  # one value, as far as labels can tell
        span = max(abs(high), 1.0)
    step = 10.0 ** math.floor(math.log10(span / most))
    step *= next(m for m in (1, 2, 5, 10) if span / (step * m) <= most)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(k * step, 15) for k in range(first, max(last, first + 1) + 1)]


def finite(value: float | None) -> bool:
    """Whether there is a number, and neither NaN nor infinite."""
    return value is not None and math.isfinite(value)


def short(value: float) -> str:
    """A number for a tick: 0.05, 1,000, 10k, 2M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):.4g}{letter}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}"


def percent(share: float) -> str:
    """A part of 0 … 1 as a length in a drawing; whatever lies outside stays at the edge."""
    return f"{100 * min(1.0, max(0.0, share)):.2f}%" if math.isfinite(share) else "0%"


def spread(wanted: Sequence[tuple[float, float]], height: float, gap: float = 14.0) -> list[float]:
    """Vertical shifts, in pixels, that keep labels at `wanted` places (shares from the left and top) apart.

    A label is taken to be a quarter of the drawing wide and `gap` pixels high, in a drawing of `height` pixels.
    """
    placed: list[tuple[float, float]] = []
    shifts = []
    for x, y in wanted:
        tries = sorted((k * gap for k in range(-6, 7)), key=lambda shift: (abs(shift), shift))
        clear = (
            shift
            for shift in tries
            if 0 <= y * height + shift <= height
            and all(abs(x - px) > 0.25 or abs(y * height + shift - py) >= gap for px, py in placed)
        )
        shift = next(clear, 0.0)
        placed.append((x, y * height + shift))
        shifts.append(shift)
    return shifts
