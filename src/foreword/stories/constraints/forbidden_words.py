"""What may not occur."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from foreword.stories.constraints.base import Constraint, Finding, listed
from foreword.stories.language import Prose
from foreword.stories.language.phrases import Phrase
from foreword.stories.spec import StorySpec


@dataclass(frozen=True)
class ForbiddenWords(Constraint):
    """No word to avoid occurs, in any form; of several words, not one behind the other. Nothing is forgiven."""

    name = "forbidden-words"
    words: tuple[Phrase, ...]

    @classmethod
    def of(cls, spec: StorySpec) -> Self | None:
        """Only where the spec has such words."""
        return cls(tuple(Phrase.of(word, spec.english) for word in spec.avoid)) if spec.avoid else None

    def clause(self) -> str:
        """The words."""
        return f"Do not use these words: {', '.join(word.text for word in self.words)}."

    def check(self, prose: Prose, *, lenient: bool = False) -> Finding:
        """Every occurrence is evidence."""
        found = tuple(span for word in self.words for span in word.places(prose))
        words = list(dict.fromkeys(span.text for span in found))
        note = f"found: {listed(words)}" if found else "no word to avoid was found"
        return Finding(not found, 1 / (1 + len(found)), note, found)
