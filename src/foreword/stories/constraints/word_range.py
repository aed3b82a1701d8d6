"""How many words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from foreword.stories.constraints.base import Constraint, Finding, within
from foreword.stories.language import Prose
from foreword.stories.spec import Range, StorySpec


@dataclass(frozen=True)
class WordRange(Constraint):
    """The story has so many words."""

    name = "word-range"
    words: Range

    @classmethod
    def of(cls, spec: StorySpec) -> Self:
        """Every spec has a length."""
        return cls(spec.length)

    def clause(self) -> str:
        """In words, since no model counts its tokens."""
        return f"The story has {self.words.min} to {self.words.max} words."

    def check(self, prose: Prose, *, lenient: bool = False) -> Finding:
        """Count words."""
        count = len(prose.words)
        passed, score = within(count, self.words.min, self.words.max, lenient)
        return Finding(passed, score, f"{count} words of {self.words.min} to {self.words.max}")
