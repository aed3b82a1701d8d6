"""Phrases in a text, found by base form: which words of a phrase count, and where they stand."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from foreword.stories.language.lemmas import bases
from foreword.stories.language.prose import Prose, Word
from foreword.stories.story import Span

_BEHIND_THE_HEAD = frozenset(
    "of with in on at by for from to under over near behind beside between inside into without about around like "
    "who that which whose where when and or but called named made".split()
)
SMALL = _BEHIND_THE_HEAD | frozenset(
    "a an the this these those some any no one my your his her its our their it he she they we i you is are was "
    "were be has have had very so too as not".split()
)
"""Words of English that carry no meaning of their own in a clue."""


def same(one: str, other: str, english: bool) -> bool:
    """Whether two folded words are one: by base form in English, else letter by letter."""
    return not bases(one).isdisjoint(bases(other)) if english else one == other


@dataclass(frozen=True, slots=True)
class Phrase:
    """A clue or a word list's entry.

    `words`: all of it, folded, at hyphens apart. `content`: those that count (all, where none does). `head`: the
    last of them before a preposition, a conjunction or a relative: the dog of "a dog with a red ball". For other
    languages than English all words count and the head is the last one.
    """

    text: str
    words: tuple[str, ...]
    content: tuple[str, ...]
    head: str
    english: bool

    @classmethod
    def of(cls, text: str, english: bool = True) -> Phrase:
        """The phrase that `text` is; it needs at least one word."""
        words = tuple(word.folded for word in Prose(text).parts)
        if not english:
            return cls(text, words, words, words[-1], english)
        content = tuple(dict.fromkeys(word for word in words if word not in SMALL)) or words
        head = ""
        for word in words:
            if head and word in _BEHIND_THE_HEAD:
                break
            head = word if word in content else head
        return cls(text, words, content, head, english)

    def places(self, prose: Prose, *, own: bool = False) -> tuple[Span, ...]:
        """Where all its words stand one behind the other, in any form; `own` as in `Prose.find`."""
        found = []
        for first in prose.find(self.words[0], english=self.english, own=own):
            number = bisect_left(prose.parts, first.start, key=lambda word: word.start)
            run = prose.parts[number : number + len(self.words)]
            pairs = zip(self.words, run, strict=False)
            if len(run) == len(self.words) and all(self._is(a, b.folded, own) for a, b in pairs):
                found.append(_span(prose, run, self.text))
        return tuple(found)

    def _is(self, mine: str, other: str, own: bool) -> bool:
        return mine in bases(other) if own and self.english else same(mine, other, self.english)

    def together(self, prose: Prose) -> tuple[Span, ...]:
        """The parts of sentences in which all its content words stand, in any order and form."""
        hits = [prose.find(mine, english=self.english) for mine in self.content]
        if not all(hits):
            return ()
        found = []
        for sentence in prose.sentences:
            inside = [[w for w in words if sentence.start <= w.start and w.end <= sentence.end] for words in hits]
            if all(inside):
                run = sorted((words[0] for words in inside), key=lambda word: word.start)
                found.append(_span(prose, run, self.text))
        return tuple(found)

    def singly(self, prose: Prose) -> dict[str, tuple[Span, ...]]:
        """Where each of its content words stands, in any form."""
        return {
            mine: tuple(_span(prose, [word], mine) for word in prose.find(mine, english=self.english))
            for mine in self.content
        }


def _span(prose: Prose, run: Sequence[Word], what: str) -> Span:
    start, end = run[0].start, run[-1].end
    return Span(start, end, prose.text[start:end], what)
