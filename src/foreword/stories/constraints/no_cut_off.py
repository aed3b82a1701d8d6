"""Whether it stops where it should."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from foreword.stories.constraints.base import Constraint, Finding
from foreword.stories.language import Prose
from foreword.stories.spec import StorySpec
from foreword.stories.story import Span

_WHOLE = re.compile(r"(?:[.!?…。！？][\"'”’»)*_]*|[\U0001F300-\U0001FAFF♥])\s*$")
_FRAGMENT = re.compile(r"\b(?:and|but|or|the|a|an|to|of|with|in|Mr|Mrs|Dr)\.?\s*$")


@dataclass(frozen=True)
class NoCutOff(Constraint):
    """The last sentence is whole: it ends with a full stop or the like, with no quotation mark left open behind it.

    Leniently, an open quotation mark is forgiven. Straight quotation marks are counted, curly ones are paired.
    """

    name = "no-cut-off"

    @classmethod
    def of(cls, spec: StorySpec) -> Self:
        """For every story."""
        return cls()

    def clause(self) -> str:
        """Nothing: no model means to be cut off."""
        return ""

    def check(self, prose: Prose, *, lenient: bool = False) -> Finding:
        """The last sentence is the evidence where it fails."""
        if not prose.sentences:
            return Finding(False, 0.0, "there is no sentence")
        last = prose.sentences[-1]
        evidence = (Span(last.start, last.end, last.text, "last sentence"),)
        text = prose.text.rstrip()
        if not _WHOLE.search(text) or _FRAGMENT.search(text.rstrip(".")):
            return Finding(False, 0.0, "the last sentence is cut off", evidence)
        paragraph = prose.paragraphs[-1].text
        opened = paragraph.count('"') % 2 == 1 or paragraph.count("“") > paragraph.count("”")
        if opened and not lenient:
            return Finding(False, 0.5, "a quotation is not closed", evidence)
        return Finding(True, 1.0, "the last sentence is whole")
