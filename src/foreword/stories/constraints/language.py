"""Whether it is English at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from foreword.stories.constraints.base import Constraint, Finding, within
from foreword.stories.language import Prose
from foreword.stories.spec import StorySpec

_COMMON = frozenset(
    "the a an and or but to of in on at with for from by as so if then when he she it they we i you his her their "
    "my your its our him them me us this that these those there was were is are be been had has have did do not "
    "no all one said into out up down over who what".split()
)
LEAST = 0.3
"""Among 313 public-domain English stories for children half the words are such (least: 0.38; most: 0.6)."""


FEWEST = 20


@dataclass(frozen=True)
class Language(Constraint):
    """At least three in ten words are among the most common small words of English; below 20 words nothing is said."""

    name = "language"

    @classmethod
    def of(cls, spec: StorySpec) -> Self | None:
        """English only: no other language can be recognised here."""
        return cls() if spec.english else None

    def clause(self) -> str:
        """Nothing: the prompt is English."""
        return ""

    def check(self, prose: Prose, *, lenient: bool = False) -> Finding:
        """The share of small words."""
        if not prose.words:
            return Finding(False, 0.0, "there is no text")
        if len(prose.words) < FEWEST:
            return Finding(True, 1.0, "too short to tell")
        found = sum(word.folded in _COMMON for word in prose.words) / len(prose.words)
        passed, score = within(found, LEAST, 1.0, lenient)
        return Finding(passed, score, f"{found:.0%} of the words are small words of English")
