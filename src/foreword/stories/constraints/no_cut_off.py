"""Whether it stops where it should."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Self

from foreword.stories.constraints.base import Constraint, Finding
from foreword.stories.language import Prose
from foreword.stories.spec import StorySpec
from foreword.stories.story import Span

_WHOLE = re.compile(r"(?:[.!?…。！？][\"'”’»)*_]*|(?:^|[.!?…\"”’]\s+)the end\W*)$", re.IGNORECASE)
_FRAGMENT = re.compile(r"\b(?:and|but|or|the|a|an|Mr|Mrs|Dr)$")
_DRAWN = ("So", "Cf", "Mn")
"""Kinds of characters that a little picture at the end is made of."""


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
        if not _whole(prose.text.rstrip()):
            return Finding(False, 0.0, "the last sentence is cut off", evidence)
        paragraph = prose.paragraphs[-1].text
        opened = paragraph.count('"') % 2 == 1 or paragraph.count("“") > paragraph.count("”")
        if opened and not lenient:
            return Finding(False, 0.5, "a quotation is not closed", evidence)
        return Finding(True, 1.0, "the last sentence is whole")


def _whole(text: str) -> bool:
    """Whether the text ends as a sentence does, or with a little picture behind whatever it is."""
    bare = text
    while bare and unicodedata.category(bare[-1]) in _DRAWN:
        bare = bare[:-1]
    if bare != text and unicodedata.category(text[len(bare)]) == "So":
        return True
    return bool(_WHOLE.search(text)) and not _FRAGMENT.search(text.rstrip(". \n"))
