"""Listed themes that do not belong."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Self

from foreword.stories.constraints.base import Constraint, Finding, listed
from foreword.stories.language import Prose
from foreword.stories.language.phrases import Phrase, same
from foreword.stories.resources import table
from foreword.stories.spec import StorySpec
from foreword.stories.story import Span


@dataclass(frozen=True)
class Entry:
    """One word or phrase of a theme; `grave` ones also fail the lenient reading."""

    phrase: Phrase
    theme: str
    grave: bool


@dataclass(frozen=True)
class Themes(Constraint):
    """No word of a listed theme (`data/themes.yaml`) occurs, nor a form of one; leniently, no grave one.

    A list finds words, not meanings: what it says is "no listed theme found", never that a story is safe. Which themes
    count depends on the age; `allow` of the spec takes out themes, or single words.
    """

    name = "themes"
    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, spec: StorySpec) -> Self | None:
        """English only; the themes of the age, less what the spec allows."""
        if not spec.english:
            return None
        allowed = [Phrase.of(one) for one in spec.allow]
        themes = {theme for theme in themes_of(spec.age) if theme not in spec.allow}
        kept = [
            entry
            for entry in _entries()
            if entry.theme in themes and not any(_equal(entry.phrase, one) for one in allowed)
        ]
        return cls(tuple(kept))

    def clause(self) -> str:
        """What is wanted; a list of what is not would put the words into a small model's mouth."""
        return "It is warm and gentle, and nobody comes to harm."

    def check(self, prose: Prose, *, lenient: bool = False) -> Finding:
        """Every listed word is evidence."""
        found = [
            Span(span.start, span.end, span.text, entry.theme)
            for entry in self.entries
            if entry.grave or not lenient
            for span in entry.phrase.places(prose, own=True)
        ]
        if not found:
            return Finding(True, 1.0, "no listed theme found")
        by_theme: dict[str, list[str]] = {}
        for span in found:
            by_theme.setdefault(span.what, []).append(span.text.casefold())
        told = [f"{theme} ({', '.join(dict.fromkeys(words))})" for theme, words in by_theme.items()]
        return Finding(False, 1 / (1 + len(found)), f"listed themes found: {listed(told)}", tuple(found))


def themes_of(age: int) -> tuple[str, ...]:
    """The themes that are looked for at an age."""
    return tuple(name for name, theme in table("themes").items() if age < theme["until"])


@cache
def _entries() -> tuple[Entry, ...]:
    found = []
    for name, theme in table("themes").items():
        found += [Entry(Phrase.of(word), name, True) for word in _split(theme, "grave")]
        found += [Entry(Phrase.of(word), name, False) for word in _split(theme, "mild")]
    return tuple(found)


def _split(theme: dict[str, Any], key: str) -> list[str]:
    return [word.strip() for word in str(theme.get(key) or "").split(",") if word.strip()]


def _equal(one: Phrase, other: Phrase) -> bool:
    return len(one.words) == len(other.words) and all(
        same(a, b, True) for a, b in zip(one.words, other.words, strict=True)
    )
