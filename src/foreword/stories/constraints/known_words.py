"""Whether a child knows the words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from foreword.stories.constraints.base import SLACK, Constraint, Finding, listed
from foreword.stories.language import Prose, bases, reading
from foreword.stories.spec import StorySpec
from foreword.stories.story import Span

LEAST = 0.9
OLDEST = 8


@dataclass(frozen=True)
class KnownWords(Constraint):
    """At least such a share of the words is known to a child, by a list; leniently, a tenth less.

    Forms of a listed word, names, numbers, and the words of the spec itself count as known. The package's list is
    written by hand for a child of about five (see its head); where the spec gives no share, 0.9 is asked for up to
    the age of eight, and nothing of older ones.
    """

    name = "known-words"
    hard = False
    least: float
    age: int
    known: frozenset[str]

    @classmethod
    def of(cls, spec: StorySpec) -> Self | None:
        """English only. **Raises** `ConfigError` for a word list that cannot be read."""
        wanted = spec.known_words is not None or spec.word_list is not None
        if not spec.english or not (wanted or spec.age <= OLDEST):
            return None
        own = " ".join((spec.topic, spec.setting, *spec.clues, *(f"{c.name} {c.role}" for c in spec.characters)))
        words = frozenset(base for word in Prose(own).words for base in bases(word.folded))
        least = LEAST if spec.known_words is None else spec.known_words
        return cls(least, spec.age, reading.known_words(spec.word_list) | words)

    def clause(self) -> str:
        """The age."""
        return f"Use words that a {self.age}-year-old knows."

    def check(self, prose: Prose, *, lenient: bool = False) -> Finding:
        """The unknown words are the evidence."""
        if not prose.words:
            return Finding(False, 0.0, "there is no text")
        lost = reading.unknown(prose, self.known)
        found = 1 - len(lost) / len(prose.words)
        least = self.least * (1 - SLACK) if lenient else self.least
        words = list(dict.fromkeys(word.folded for word in lost))
        note = f"{found:.0%} of the words are known, of at least {self.least:.0%}"
        note += f"; not in the list: {listed(words[:8])}" if words else ""
        evidence = tuple(Span(word.start, word.end, word.text, "not in the list") for word in lost)
        return Finding(found >= least, 1.0 if found >= least else found / least, note, evidence)
