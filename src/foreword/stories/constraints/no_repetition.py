"""Whether it goes round in circles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from foreword.stories.constraints.base import SLACK, Constraint, Finding
from foreword.stories.language import Prose, Word
from foreword.stories.spec import StorySpec
from foreword.stories.story import Span

WORDS = 4
"""Shorter sentences ("Knock, knock!") may come again: children like a refrain."""
WINDOW = 400
MOST = 0.3
"""A choice: of the first 400 words of 229 public-domain tales, 99 in 100 have less than 0.20 (docs/stories.md)."""


def repeated(prose: Prose) -> tuple[Span, ...]:
    """The sentences of `WORDS` words or more that stood there before, word for word."""
    seen: set[tuple[str, ...]] = set()
    found = []
    for sentence in prose.sentences:
        words = tuple(word.folded for word in prose.words_of(sentence))
        if len(words) >= WORDS and words in seen:
            found.append(Span(sentence.start, sentence.end, sentence.text, "stood there before"))
        seen.add(words)
    return tuple(found)


def circling(words: tuple[Word, ...]) -> float:
    """The share of two-word runs that stood there before, in the worst passage of `WINDOW` words; 0 below two words.

    Welleck et al. 2020, Neural Text Generation with Unlikelihood Training, section 6 (seq-rep-n, with n = 2).
    """
    worst = 0.0
    for first in range(0, max(1, len(words) - WINDOW // 2), WINDOW // 2):
        passage = [word.folded for word in words[first : first + WINDOW]]
        pairs = list(zip(passage, passage[1:], strict=False))
        worst = max(worst, 1 - len(set(pairs)) / len(pairs) if pairs else 0.0)
    return worst


def before_circling(prose: Prose) -> str:
    """The sentences from the beginning until the text goes round in circles; all of it where it never does."""
    end = 0
    for sentence in prose.sentences:
        words = tuple(word for word in prose.words if word.end <= sentence.end)
        if circling(words) > MOST / 2:  # a passage that ends in circles has begun to turn before it is all circles
            return prose.text[:end].rstrip()
        end = sentence.end
    return prose.text


@dataclass(frozen=True)
class NoRepetition(Constraint):
    """No sentence of four words or more comes twice (leniently, one in ten may), and the words do not go in circles.

    They do where more than three in ten pairs of neighbouring words stood there before.
    """

    name = "no-repetition"

    @classmethod
    def of(cls, spec: StorySpec) -> Self:
        """For every story."""
        return cls()

    def clause(self) -> str:
        """Nothing: no model means to repeat itself."""
        return ""

    def check(self, prose: Prose, *, lenient: bool = False) -> Finding:
        """The repeated sentences are the evidence."""
        again, count, circles = repeated(prose), len(prose.sentences), circling(prose.words)
        often = len(again) * 10 > count if lenient else bool(again)
        turns = circles > MOST * (1 + SLACK * lenient)
        score = (1 - len(again) / max(1, count)) * (1 if circles <= MOST else 1 - circles)
        notes = [f"{len(again)} of {count} sentences stood there before"] if again else []
        if circles > MOST:
            notes.append(f"it goes in circles: {circles:.0%} of the word pairs stood there before")
        return Finding(not often and not turns, score, "; ".join(notes) or "no sentence comes twice", again)
