"""How it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from foreword.stories.constraints.base import Constraint, Finding
from foreword.stories.language import Prose
from foreword.stories.language.phrases import Phrase
from foreword.stories.resources import table
from foreword.stories.spec import StorySpec

LAST = 3
"""How many sentences are looked at."""


@dataclass(frozen=True)
class Ending(Constraint):
    """The last three sentences (leniently, five) hold a word of coming to rest, and the very last asks nothing.

    Such words, in any form, stand in `data/endings.yaml`: home, sleep, smile, together, learned, happily … It is a
    sign, not an understanding: it says "no ending word", never that a story is unfinished.
    """

    name = "ending"
    hard = False

    @classmethod
    def of(cls, spec: StorySpec) -> Self | None:
        """For every English story."""
        return cls() if spec.english else None

    def clause(self) -> str:
        """What an ending is."""
        return "It has a happy, quiet ending."

    def check(self, prose: Prose, *, lenient: bool = False) -> Finding:
        """The ending words are the evidence."""
        tail = prose.sentences[-(LAST + 2 * lenient) :]
        if not tail:
            return Finding(False, 0.0, "there is no last sentence")
        words = [Phrase.of(str(word)) for word in table("endings")["words"]]
        found = tuple(span for word in words for span in word.places(prose) if span.start >= tail[0].start)
        open_end = prose.sentences[-1].text.rstrip("\"”’'").endswith(("?", "…", "..."))
        if open_end:
            return Finding(False, 0.5 if found else 0.0, "it ends with a question or trails off", found)
        note = "the end comes to rest" if found else "no ending word in the last sentences"
        return Finding(bool(found), float(bool(found)), note, found)
