"""Which configurations are tried, in which order, and which go on: all of it follows from the spec and the scores.

Successive halving (Jamieson and Talwalkar 2016): all trials are run a little, the best 1/eta of them eta times as long,
and so on to the end. A trial that is dropped was trained under its whole schedule so far, so that one which goes on is
the very run that it would have been alone.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from foreword.config import Settings
from foreword.errors import ConfigError
from foreword.sweep.space import Space, label

if TYPE_CHECKING:
    from foreword.training.loop import Schedule

MOST = 100_000
"""Points of a grid, or trials, that are still counted out."""
TRIES = 1_000
"""Draws in a row that give nothing new before a random search takes the space for exhausted."""


class HalvingConfig(Settings):
    """Successive halving: rungs at `min_steps` (or `min_epochs`) times 1, `eta`, `eta`^2 …, and the end of the run.

    Rungs are moved up to the next evaluation on the validation rows.
    """

    eta: int = Field(3, ge=2)
    min_epochs: float | None = Field(None, gt=0)
    min_steps: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.min_epochs is None) == (self.min_steps is None):
            raise ConfigError("halving needs to know where its first rung is", do="give min_epochs, or min_steps")
        return self


class SearchConfig(Settings):
    """How a space is searched.

    `trials`: how many configurations; a grid takes all of its own by default, and after those begins anew with the next
    seed. `seed`: of the order of the grid, or of what is drawn. `together`: configurations in one pass. `max_minutes`:
    of one command; no pass is begun after that.
    """

    kind: Literal["grid", "random"] = "random"
    trials: int | None = Field(None, ge=1, le=MOST)
    seed: int = Field(0, ge=0)
    halving: HalvingConfig | None = None
    together: int = Field(1, ge=1)
    max_minutes: float | None = Field(None, gt=0)


@dataclass(frozen=True)
class Point:
    """The values of one trial. `repeat`: how many times a grid was through before; it is added to the run's seed."""

    values: dict[str, Any]
    repeat: int = 0


def points(space: Space, search: SearchConfig) -> list[Point]:
    """The points that are tried, in their order; with more `trials`, the first ones stay the same.

    A random search takes no point twice, and fewer than asked where the space has no more. **Raises** `ConfigError` for
    a random search without a number of trials, and for a grid that is too large.
    """
    rng = random.Random(f"sweep:{search.seed}")
    if search.kind == "random":
        if search.trials is None:
            raise ConfigError("a random search needs a number of trials", do="give search.trials, or --trials")
        return [Point(values) for values in itertools.islice(_drawn(space, rng), search.trials)]
    columns = space.grid()
    size = math.prod(map(len, columns))
    if size > MOST:
        raise ConfigError(
            f"the grid has {size:,} points", do=f"lower points, or draw some: kind: random ({MOST:,} most)"
        )
    if search.trials is not None and search.trials > size and "seed" in space.fields:
        raise ConfigError(
            f"{search.trials} trials of a grid of {size} repeat it with other seeds, and seed is in the space",
            do=f"lower trials to {size}, or take seed out of the space",
        )
    order = list(range(size))
    rng.shuffle(order)
    found = []
    for number in range(search.trials or size):
        repeat, at = divmod(number, size)
        found.append(Point(_cell(space, columns, order[at]), repeat))
    return found


def _drawn(space: Space, rng: random.Random) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    missed = 0
    while missed < TRIES:
        values = space.draw(rng)
        key = label(values)
        missed = missed + 1 if key in seen else 0
        if key not in seen:
            seen.add(key)
            yield values


def _cell(space: Space, columns: Sequence[Sequence[Any]], index: int) -> dict[str, Any]:
    """The grid's point with that number, the last field changing fastest."""
    values = {}
    for name, column in reversed(list(zip(space.fields, columns, strict=True))):
        index, at = divmod(index, len(column))
        values[name] = column[at]
    return dict(reversed(values.items()))


@dataclass(frozen=True)
class Outcome:
    """What one trial gave on one rung.

    `score`: the best on validation so far, at `best_step`. `done`: it has no more steps. `parameters`: that it trains.
    `seconds`: of its training so far, of the whole pass where several share one. `failure`: why it cannot go on.
    """

    score: float | None
    step: int = 0
    best_step: int = 0
    parameters: int = 0
    seconds: float = 0.0
    done: bool = False
    degenerate: bool = False
    failure: str | None = None
    diverged: bool = False

    @property
    def healthy(self) -> bool:
        """Whether it may win: it went on, and does not give one answer everywhere."""
        return self.failure is None and not self.degenerate and self.score is not None


Outcomes = Mapping[int, Sequence[Outcome]]
"""By the trial's number: what it gave on each of its rungs, the first rung first."""


def rungs_of(schedule: Schedule, halving: HalvingConfig | None) -> list[int]:
    """The steps at which a run of that length is compared; the last is its end."""
    if halving is None:
        return [schedule.steps]
    asked = halving.min_steps or math.ceil((halving.min_epochs or 0) * schedule.steps_per_epoch)
    step = math.ceil(asked / schedule.evaluate_every) * schedule.evaluate_every
    found = []
    while step < schedule.steps:
        found.append(step)
        step *= halving.eta
    return [*found, schedule.steps]


def order(numbers: Sequence[int], outcomes: Outcomes, rung: int, *, higher: bool) -> list[int]:
    """Those of `numbers` that can go on after `rung`, best first: healthy, by score, fewer parameters, number."""
    held = {number: outcomes[number][rung] for number in numbers if len(outcomes.get(number, ())) > rung}
    able = [number for number, one in held.items() if one.failure is None and one.score is not None]
    return sorted(able, key=lambda number: _key(number, held[number], higher))


def _key(number: int, one: Outcome, higher: bool) -> tuple[bool, float, int, int]:
    score = one.score if one.score is not None else 0.0
    return (not one.healthy, -score if higher else score, one.parameters, number)


def candidates(count: int, rung: int, outcomes: Outcomes, eta: int, *, higher: bool) -> list[int]:
    """The trials that are run on `rung`: all of them on the first, then the best 1/`eta` of the rung before."""
    numbers = list(range(count))
    for below in range(rung):
        numbers = order(numbers, outcomes, below, higher=higher)[: max(1, count // eta ** (below + 1))]
    return numbers


def leader(outcomes: Outcomes, *, higher: bool) -> int | None:
    """The best trial that is healthy: of those that came furthest, by score, fewer parameters, number."""
    last = {number: found[-1] for number, found in outcomes.items() if found and found[-1].healthy}
    if not last:
        return None
    return min(last, key=lambda number: (-len(outcomes[number]), *_key(number, last[number], higher)))
