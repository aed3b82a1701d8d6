"""How many sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from foreword.stories.constraints.base import Constraint, Finding, within
from foreword.stories.language import Prose
from foreword.stories.spec import Range, StorySpec


@dataclass(frozen=True)
class SentenceRange(Constraint):
    """The story has so many sentences."""

    name = "sentence-range"
    sentences: Range

    @classmethod
    def of(cls, spec: StorySpec) -> Self | None:
        """Only where the spec gives a number."""
        return None if spec.sentences is None else cls(spec.sentences)

    def clause(self) -> str:
        """The number."""
        return f"The story has {self.sentences.min} to {self.sentences.max} sentences."

    def check(self, prose: Prose, *, lenient: bool = False) -> Finding:
        """Count sentences."""
        count = len(prose.sentences)
        passed, score = within(count, self.sentences.min, self.sentences.max, lenient)
        return Finding(passed, score, f"{count} sentences of {self.sentences.min} to {self.sentences.max}")
