"""Whether somebody speaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from foreword.stories.constraints.base import Constraint, Finding
from foreword.stories.language import Prose
from foreword.stories.spec import StorySpec


@dataclass(frozen=True)
class Dialogue(Constraint):
    """Somebody speaks: at least two passages of two words or more stand in quotation marks; leniently, one."""

    name = "dialogue"

    @classmethod
    def of(cls, spec: StorySpec) -> Self | None:
        """Only where the spec asks for it."""
        return cls() if spec.dialogue else None

    def clause(self) -> str:
        """What the quotation marks are for."""
        return "The characters talk to each other, in quotation marks."

    def check(self, prose: Prose, *, lenient: bool = False) -> Finding:
        """What is said is the evidence."""
        said = tuple(span for span in prose.quoted if len(prose.words_of(span)) >= 2)
        needed = 1 if lenient else 2
        return Finding(len(said) >= needed, min(1.0, len(said) / needed), f"{len(said)} passages are spoken", said)
