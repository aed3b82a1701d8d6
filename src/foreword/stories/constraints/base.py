"""What a constraint is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

from foreword.stories.language import Prose
from foreword.stories.spec import StorySpec
from foreword.stories.story import Span

SLACK = 0.1
"""The lenient reading forgives so large a part of a number."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found in a text; `score` from 0 to 1, and 1 only where it passed."""

    passed: bool
    score: float
    note: str
    evidence: tuple[Span, ...] = ()


class Constraint(ABC):
    """One thing that a story has to be. Immutable: describing and checking change nothing.

    `name` is that of its file. `hard`: a story that fails is not what was asked for; else it only counts in ranking.
    """

    name: ClassVar[str]
    hard: ClassVar[bool] = True

    @classmethod
    @abstractmethod
    def of(cls, spec: StorySpec) -> Self | None:
        """The constraint that the spec asks for, or None where it asks for none."""

    @abstractmethod
    def clause(self) -> str:
        """Its sentence of the prompt, or nothing where a prompt is better without it."""

    @abstractmethod
    def check(self, prose: Prose, *, lenient: bool = False) -> Finding:
        """What a text makes of it. `lenient` forgives: a tenth of a number, and what each constraint states."""


def within(count: float, least: float, most: float, lenient: bool) -> tuple[bool, float]:
    """Whether a number lies between two, and how near it is: 1 inside, else the smaller part of the larger."""
    if lenient:
        least, most = least * (1 - SLACK), most * (1 + SLACK)
    if count < least:
        return False, max(0.0, count / least)
    if count > most:
        return False, max(0.0, most / count)
    return True, 1.0


def share(part: int, whole: int) -> float:
    """`part` of `whole`, 1 where there is nothing."""
    return part / whole if whole else 1.0


def listed(values: tuple[str, ...] | list[str], last: str = "and") -> str:
    """`a, b and c`."""
    return values[0] if len(values) == 1 else f"{', '.join(values[:-1])} {last} {values[-1]}" if values else ""
