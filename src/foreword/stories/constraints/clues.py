"""What has to occur."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from foreword.stories.constraints.base import Constraint, Finding, listed
from foreword.stories.language import Prose
from foreword.stories.language.phrases import Phrase
from foreword.stories.spec import StorySpec
from foreword.stories.story import Span

MANY = 3


@dataclass(frozen=True)
class Clues(Constraint):
    """Every clue occurs.

    Strictly: all its words that carry meaning, in any form, stand in one sentence. Leniently: its head does (the
    dragon of "a friendly dragon"), anywhere. The score is the mean over the clues of the share of their words that
    stand anywhere, at most 0.9 for a clue whose words never stand together. Three clues or more that all stand in one
    single sentence are a list, not a story, and fail strictly.
    """

    name = "clues"
    clues: tuple[Phrase, ...]

    @classmethod
    def of(cls, spec: StorySpec) -> Self | None:
        """Only where the spec has clues."""
        return cls(tuple(Phrase.of(clue, spec.english) for clue in spec.clues)) if spec.clues else None

    def clause(self) -> str:
        """All of them in one sentence."""
        return f"The story includes {listed([clue.text for clue in self.clues])}."

    def check(self, prose: Prose, *, lenient: bool = False) -> Finding:
        """Where each clue stands is the evidence."""
        evidence: list[Span] = []
        missing, scores = [], []
        holding: list[set[int]] = []
        for clue in self.clues:
            together, singly = clue.together(prose), clue.singly(prose)
            found = sum(bool(spans) for spans in singly.values()) / len(clue.content)
            evidence += together or [span for spans in singly.values() for span in spans[:1]]
            holding.append({self._sentence(prose, span) for span in together})
            scores.append(1.0 if together else 0.9 * found)
            if not (together or (lenient and singly[clue.head])):
                lost = [word for word, spans in singly.items() if not spans]
                missing.append(f"{clue.text} (without {listed(lost)})" if lost else f"{clue.text} (words apart)")
        if not missing and not lenient and len(self.clues) >= MANY and len(set().union(*holding)) == 1:
            return Finding(False, 0.5, "all clues stand in one sentence, as in a list", tuple(evidence))
        note = f"missing: {'; '.join(missing)}" if missing else f"all {len(self.clues)} clues occur"
        score = 1.0 if not missing else sum(scores) / len(scores)
        return Finding(not missing, score, note, tuple(evidence))

    @staticmethod
    def _sentence(prose: Prose, span: Span) -> int:
        return sum(sentence.start <= span.start for sentence in prose.sentences)

    def missing(self, prose: Prose) -> tuple[str, ...]:
        """The clues that do not occur, strictly read."""
        return tuple(clue.text for clue in self.clues if not clue.together(prose))
