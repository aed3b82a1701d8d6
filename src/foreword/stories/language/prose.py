"""A text as words, sentences, paragraphs and quoted passages, each with its place."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cached_property

from foreword.stories.language.lemmas import INVISIBLE, bases, fold
from foreword.stories.story import Span

_MARKS = (
    "\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u065f\u0670\u0900-\u0903\u093a-\u093c"
    "\u093e-\u094f\u0951-\u0957\u0962\u0963\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
)
"""Accents, vowel signs and points that follow their letter."""
_LETTERS = rf"[^\W_][{_MARKS}{INVISIBLE}]*"
_WORD = re.compile(rf"(?:{_LETTERS})+(?:['’-](?:{_LETTERS})+)*")
_ENDS = ".!?…。！？"
_CLOSERS = "\"'”’»)]*_"
_BREAK = re.compile(rf"(?:[{re.escape(_ENDS)}]+[{re.escape(_CLOSERS)}]*(?=\s|$))|\n[ \t]*\n")
_ABBREVIATIONS = frozenset(("mr", "mrs", "ms", "dr", "st", "jr", "sr", "prof"))
_QUOTED = re.compile(r"“([^”\n]+)”|\"([^\"\n]+)\"|«([^»\n]+)»|(?<!\w)‘([^‘’\n]+(?:’\w[^‘’\n]*)*)’(?!\w)")


@dataclass(frozen=True, slots=True)
class Word:
    """A run of letters or digits, with apostrophes and hyphens inside; `folded` is what is compared."""

    text: str
    folded: str
    start: int
    end: int


class Prose:
    """A text taken apart once. All places are characters of the text as it was given.

    A sentence ends at one of `. ! ? …` (and quotation marks behind it) before white space, unless a small letter
    follows ("Hello!" said the fox) or an abbreviation such as Mr. or an initial stands before; and at an empty line.
    What has no word in it is no sentence. Words are counted as white space and punctuation part them: scripts without
    spaces are not counted rightly.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def words(self) -> tuple[Word, ...]:
        """All words, in order."""
        return tuple(Word(m.group(), fold(m.group()), *m.span()) for m in _WORD.finditer(self.text))

    @cached_property
    def parts(self) -> tuple[Word, ...]:
        """As `words`, but a word with hyphens is several: what a phrase is looked for among."""
        found = []
        for word in self.words:
            start = word.start
            for piece in word.text.split("-"):
                found.append(Word(piece, fold(piece), start, start + len(piece)))
                start += len(piece) + 1
        return tuple(found)

    @cached_property
    def sentences(self) -> tuple[Span, ...]:
        """All sentences, without the white space around them."""
        found, begin = [], 0
        for match in _BREAK.finditer(self.text):
            if match.group().strip() and not self._ends(begin, match):
                continue
            found.append((begin, match.end()))
            begin = match.end()
        found.append((begin, len(self.text)))
        spans = [self._span(start, end) for start, end in found]
        return tuple(span for span in spans if _WORD.search(span.text))

    @cached_property
    def paragraphs(self) -> tuple[Span, ...]:
        """What empty lines part."""
        cuts = [m.span() for m in re.finditer(r"\n[ \t]*\n\s*", self.text)]
        starts, ends = [0, *(end for _, end in cuts)], [*(start for start, _ in cuts), len(self.text)]
        spans = (self._span(start, end) for start, end in zip(starts, ends, strict=True))
        return tuple(span for span in spans if span.text)

    @cached_property
    def quoted(self) -> tuple[Span, ...]:
        """What stands between quotation marks on one line, with the marks."""
        return tuple(Span(*m.span(), m.group()) for m in _QUOTED.finditer(self.text))

    @cached_property
    def by_base(self) -> dict[str, tuple[int, ...]]:
        """The numbers of the parts that may be forms of each base form."""
        found: dict[str, list[int]] = {}
        for number, word in enumerate(self.parts):
            for base in bases(word.folded):
                found.setdefault(base, []).append(number)
        return {base: tuple(numbers) for base, numbers in found.items()}

    def find(self, word: str, *, english: bool = True, own: bool = False) -> tuple[Word, ...]:
        """Where a folded word without hyphens stands: in any form, in English; else letter by letter.

        `own`: its own forms alone, as "wounds" is one of "wound", and "wind" is not, though both may come from "wind".
        """
        if not english:
            return tuple(one for one in self.parts if one.folded == word)
        wanted = {word} if own else bases(word)
        numbers = {number for base in wanted for number in self.by_base.get(base, ())}
        return tuple(self.parts[number] for number in sorted(numbers))

    def words_of(self, span: Span) -> tuple[Word, ...]:
        """The words inside a span."""
        first = bisect_left(self.words, span.start, key=lambda word: word.start)
        last = bisect_right(self.words, span.end, key=lambda word: word.end)
        return self.words[first:last]

    def _ends(self, begin: int, match: re.Match[str]) -> bool:
        behind = self.text[match.end() :].lstrip()[:1]
        if behind.islower():
            return False
        before = _WORD.findall(self.text[begin : match.start()][-12:])
        if match.group() != "." or not before:
            return True
        initial = len(before[-1]) == 1 and before[-1].isupper() and before[-1] != "I"
        return not (initial or before[-1].casefold() in _ABBREVIATIONS)

    def _span(self, start: int, end: int) -> Span:
        piece = self.text[start:end]
        start += len(piece) - len(piece.lstrip())
        end -= len(piece) - len(piece.rstrip())
        return Span(start, max(start, end), self.text[start : max(start, end)])
