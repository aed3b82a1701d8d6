"""Whether it is a story, and nothing about a story."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from foreword.stories.constraints.base import Constraint, Finding, listed
from foreword.stories.language import Prose
from foreword.stories.readings import PREFACE
from foreword.stories.spec import StorySpec
from foreword.stories.story import Span

TALK = "talk about the story"
_SIGNS = {
    "a list": re.compile(r"^[ \t]*(?:[-*•][ \t]+|\d{1,2}[.)][ \t]+)\S.*$", re.MULTILINE),
    "a heading": re.compile(
        r"^[ \t]*(?:#{1,6}[ \t].*|\*\*[^*\n]+\*\*:?[ \t]*|(?:Title|Chapter \w+|Part \w+):.*)$", re.MULTILINE
    ),
    "markup": re.compile(r"\*\*|```|</?[a-z]+[^>\n]{0,40}>|<\|"),
    "a preface": PREFACE,
    TALK: re.compile(
        r"\b(?:this (?:story|tale) (?:is|has|teaches|shows|includes|was)|i hope (?:you|this)|word count|in this story|"
        r"the (?:story|tale) (?:ends|begins|starts|has|is|should|teaches|includes)\b|"
        r"(?<!had )\b\d+[ -](?:to[ -]\d+[ -])?words|(?:happy|quiet) ending|the moral of (?:the|this) story|as an ai|"
        r"let me know if|feel free to|"
        r"(?:write|writing|tell you|telling you) (?:you )?(?:a|this) (?:\w+ ){0,3}(?:story|tale) (?:about|of|with)|"
        r"the reader|the author|\d+-year-old children)\b[^.!?\n]*[.!?]?",
        re.IGNORECASE,
    ),
}


def signs(text: str) -> tuple[Span, ...]:
    """What is no part of a story: headings, lists, markup, a preface, and talk about it that nobody in it says."""
    said = [(one.start, one.end) for one in Prose(text).quoted]
    found = (Span(*m.span(), m.group(), what) for what, pattern in _SIGNS.items() for m in pattern.finditer(text))
    return tuple(
        span for span in found if span.what != TALK or not any(start <= span.start < end for start, end in said)
    )


@dataclass(frozen=True)
class StoryOnly(Constraint):
    """Nothing stands there but the story: no preface, heading, list or markup, and no talk about it.

    The lenient reading forgives what `readings.unwrapped` takes away, which is done before this is asked.
    """

    name = "story-only"

    @classmethod
    def of(cls, spec: StorySpec) -> Self:
        """For every story."""
        return cls()

    def clause(self) -> str:
        """Asked for at the end of every prompt."""
        return "Write only the story itself, without a title."

    def check(self, prose: Prose, *, lenient: bool = False) -> Finding:
        """What does not belong is the evidence."""
        found = signs(prose.text)
        if not prose.words:
            return Finding(False, 0.0, "there is no text")
        kinds = list(dict.fromkeys(span.what for span in found))
        note = f"found {listed(kinds)}" if found else "nothing but the story"
        return Finding(not found, 1 / (1 + len(found)), note, found)
