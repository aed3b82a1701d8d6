"""How long a sentence may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from foreword.stories.constraints.base import Constraint, Finding, share, within
from foreword.stories.language import Prose
from foreword.stories.spec import StorySpec


@dataclass(frozen=True)
class LongestSentence(Constraint):
    """No sentence has more than so many words.

    Without a number in the spec it is 10 words and 3 for each year of age (25 at five): a choice, not a measurement.
    """

    name = "longest-sentence"
    hard = False
    most: int

    @classmethod
    def of(cls, spec: StorySpec) -> Self:
        """The spec's number, or one by age."""
        return cls(spec.longest_sentence or 10 + 3 * spec.age)

    def clause(self) -> str:
        """The number."""
        return f"No sentence is longer than {self.most} words."

    def check(self, prose: Prose, *, lenient: bool = False) -> Finding:
        """The sentences that are too long are the evidence; the score is the share of the others."""
        lengths = [len(prose.words_of(sentence)) for sentence in prose.sentences]
        long = [
            span
            for span, length in zip(prose.sentences, lengths, strict=True)
            if not within(length, 0, self.most, lenient)[0]
        ]
        note = f"the longest sentence has {max(lengths, default=0)} words of at most {self.most}"
        return Finding(not long, 1 - share(len(long), len(lengths)) if long else 1.0, note, tuple(long))
