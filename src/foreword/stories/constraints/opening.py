"""How it begins."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from foreword.stories.constraints.base import Constraint, Finding
from foreword.stories.language import Prose
from foreword.stories.resources import table
from foreword.stories.spec import StorySpec
from foreword.stories.story import Span


@dataclass(frozen=True)
class Opening(Constraint):
    """The first sentence is not a worn-out one (`data/openings.yaml`), which more than half of generated stories share.

    TinyStories: 59 % hold "once upon a time" (Finke et al. 2025, Parameterized Synthetic Text Generation with
    SimpleStories). Leniently, only the openings that are marked as worn out everywhere fail.
    """

    name = "opening"
    hard = False

    @classmethod
    def of(cls, spec: StorySpec) -> Self | None:
        """For every English story."""
        return cls() if spec.english else None

    def clause(self) -> str:
        """What to do instead: a small model begins with the very words that it is told to leave out."""
        return "Begin in the middle of things, with something that happens or that somebody says."

    def check(self, prose: Prose, *, lenient: bool = False) -> Finding:
        """The worn-out words are the evidence."""
        if not prose.sentences:
            return Finding(False, 0.0, "there is no first sentence")
        lists = table("openings")
        patterns = lists["everywhere"] + ([] if lenient else lists["often"])
        first = prose.sentences[0]
        bare = first.text.lstrip("\"“'‘*_ ").replace("’", "'")
        for pattern in patterns:
            if match := re.match(str(pattern), bare, re.IGNORECASE):
                start = first.start + len(first.text) - len(bare)
                span = Span(start, start + match.end(), match.group(), "worn-out opening")
                return Finding(False, 0.0, f"it opens with “{match.group()}”", (span,))
        return Finding(True, 1.0, "no worn-out opening of the list")
