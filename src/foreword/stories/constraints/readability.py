"""How hard it is to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from foreword.stories.constraints.base import Constraint, Finding
from foreword.stories.language import Prose
from foreword.stories.language.reading import grade
from foreword.stories.spec import StorySpec


@dataclass(frozen=True)
class Readability(Constraint):
    """The Flesch-Kincaid grade is at most so high; leniently, one grade higher.

    Without a number in the spec it is the age less two (3 at five), for a story that is read aloud: a choice, not a
    measurement. Below about a hundred words the grade is unreliable.
    """

    name = "readability"
    hard = False
    most: float

    @classmethod
    def of(cls, spec: StorySpec) -> Self | None:
        """The spec's grade, or one by age; English only."""
        if not spec.english:
            return None
        return cls(float(spec.age - 2) if spec.grade is None else spec.grade)

    def clause(self) -> str:
        """In words: a grade in the prompt is hardly followed (Imperial and Tayyar Madabushi 2023, Flesch or Fumble)."""
        return "Keep the sentences short and simple."

    def check(self, prose: Prose, *, lenient: bool = False) -> Finding:
        """The score falls by a tenth for each grade too high."""
        if not prose.words:
            return Finding(False, 0.0, "there is no text")
        found = grade(prose)
        over = max(0.0, found - self.most - lenient)
        note = f"Flesch-Kincaid grade {found:.1f} of at most {self.most:g}"
        return Finding(over == 0, max(0.0, 1 - over / 10), note)
