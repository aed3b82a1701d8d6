"""Who has to be named."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from foreword.stories.constraints.base import Constraint, Finding, listed
from foreword.stories.language import Prose
from foreword.stories.spec import Character, StorySpec
from foreword.stories.story import Span


@dataclass(frozen=True)
class Characters(Constraint):
    """Every character is called by name: as it is written in the spec; leniently, in capitals or small letters."""

    name = "characters"
    characters: tuple[Character, ...]

    @classmethod
    def of(cls, spec: StorySpec) -> Self | None:
        """Only where the spec names somebody."""
        return cls(spec.characters) if spec.characters else None

    def clause(self) -> str:
        """Names and roles."""
        called = [f"{who.name}, {who.role}" if who.role else who.name for who in self.characters]
        return f"In the story {'is' if len(called) == 1 else 'are'} {listed(called)}."

    def check(self, prose: Prose, *, lenient: bool = False) -> Finding:
        """The first place of each name is the evidence."""
        evidence, missing = [], []
        for who in self.characters:
            name = r"\s+".join(re.escape(part).replace("'", "['’]") for part in who.name.replace("’", "'").split())
            pattern = rf"(?<!\w){name}(?!\w)"
            match = re.search(pattern, prose.text, re.IGNORECASE if lenient else 0)
            if match is None:
                missing.append(who.name)
            else:
                evidence.append(Span(*match.span(), match.group(), who.name))
        note = f"not named: {listed(missing)}" if missing else f"named: {listed([w.name for w in self.characters])}"
        return Finding(not missing, len(evidence) / len(self.characters), note, tuple(evidence))
