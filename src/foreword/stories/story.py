"""What a story is once it is written: its text, how it came to be, and what was found in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

_WORD = re.compile(r"\w+(?:['’-]\w+)*")


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of evidence: the characters `start` to `end` of the text, what they say, and what they are."""

    start: int
    end: int
    text: str
    what: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one constraint says of one text.

    `passed` is the strict reading: the text as it is. `lenient` is the one that forgives what surrounds a story (a
    preface, marks of emphasis) and a tenth of a number. `score`: from 0 to 1, of the strict reading. `evidence`: where
    in the text. `note`: one sentence. `hard`: whether a story that fails is not what was asked for.
    """

    constraint: str
    hard: bool
    passed: bool
    lenient: bool
    score: float
    note: str
    evidence: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Edit:
    """One repair: its name, what was taken out, and what was put in."""

    name: str
    removed: str = ""
    added: str = ""


@dataclass(frozen=True, slots=True)
class Story:
    """One story.

    `approach` and `prompt`: how it was asked for, word by word. `seed`: its own; the same seed, prompt and writer give
    the same text (endpoints may not hold to it). `checks`: one verdict a constraint. `edits`: what was repaired, in
    order. `seconds`: how long it took, its share of a batch's time; `tokens`: how many were generated for it. `given`:
    first words that the program gave and the writer went on from.
    """

    text: str
    title: str
    approach: str
    seed: int
    prompt: str
    checks: tuple[Verdict, ...] = ()
    edits: tuple[Edit, ...] = ()
    seconds: float = 0.0
    tokens: int = 0
    given: tuple[str, ...] = ()

    @property
    def given_share(self) -> float:
        """The share of the text's words that the program gave, as far as they still stand in it; 0 of no text."""
        given = sum(len(_WORD.findall(words)) for words in self.given if words in self.text)
        return given / max(1, len(_WORD.findall(self.text)))

    @property
    def passed(self) -> bool:
        """Whether every hard constraint holds, strictly read."""
        return all(one.passed for one in self.checks if one.hard)

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of the constraints that do not hold, strictly read; hard ones first."""
        return tuple(one.constraint for one in sorted(self.checks, key=lambda one: not one.hard) if not one.passed)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Story:
        """The story that `to_dict` gave."""
        checks = tuple(
            Verdict(**{**one, "evidence": tuple(Span(**span) for span in one["evidence"])}) for one in values["checks"]
        )
        edits, given = tuple(Edit(**one) for one in values["edits"]), tuple(values.get("given", ()))
        return cls(**{**values, "checks": checks, "edits": edits, "given": given})
