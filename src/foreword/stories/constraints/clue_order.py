"""In which order the clues occur."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from foreword.stories.constraints.base import Constraint, Finding, listed
from foreword.stories.language import Prose
from foreword.stories.language.phrases import Phrase
from foreword.stories.spec import StorySpec
from foreword.stories.story import Span


@dataclass(frozen=True)
class ClueOrder(Constraint):
    """The clues occur for the first time in the order of the spec.

    The place of a clue is where its words first stand together; leniently, where its head first stands. The score is
    the share of neighbouring clues that both occur, in order.
    """

    name = "clue-order"
    clues: tuple[Phrase, ...]

    @classmethod
    def of(cls, spec: StorySpec) -> Self | None:
        """Only where the spec says that they are ordered."""
        if not spec.ordered or len(spec.clues) < 2:
            return None
        return cls(tuple(Phrase.of(clue, spec.english) for clue in spec.clues))

    def clause(self) -> str:
        """The order once more."""
        return f"They come in this order: {listed([clue.text for clue in self.clues], 'then')}."

    def check(self, prose: Prose, *, lenient: bool = False) -> Finding:
        """The first place of each clue is the evidence."""
        places = [self._first(clue, prose, lenient) for clue in self.clues]
        pairs = list(zip(places, places[1:], strict=False))
        good = sum(a is not None and b is not None and a.start < b.start for a, b in pairs)
        order = sorted((span for span in places if span), key=lambda span: span.start)
        note = f"in this order: {', '.join(span.what for span in order) or 'none'}"
        return Finding(good == len(pairs), good / len(pairs), note, tuple(order))

    def _first(self, clue: Phrase, prose: Prose, lenient: bool) -> Span | None:
        if lenient:
            heads = clue.singly(prose)[clue.head]
            return Span(heads[0].start, heads[0].end, heads[0].text, clue.text) if heads else None
        return next(iter(clue.together(prose)), None)
