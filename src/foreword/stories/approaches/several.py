"""Several in one answer, each with how likely it is."""

from __future__ import annotations

import re
from dataclasses import replace

from foreword.stories.approaches.base import Brief, Step, Turn
from foreword.stories.spec import StorySpec

MOST = 5
_STORY = re.compile(r"<story\b([^>]*)>(.*?)</story>", re.DOTALL | re.IGNORECASE)
_CHANCE = re.compile(r"probability\s*=\s*[\"']?\s*([\d.]+)\s*(%?)")


class Several(Step):
    """Asks for up to five stories at once, with their probabilities, from the rarer ones.

    After Zhang et al. 2025, Verbalized Sampling; the gain grows with the model, and a small one cannot do it at all.
    """

    name = "several"
    strong = True

    def apply(self, brief: Brief, spec: StorySpec, turn: Turn) -> Brief:
        """Ask for as many as are still to be written, five at the most."""
        many = min(MOST, turn.count - turn.number)
        last = (
            f"Write {many} stories of this kind that differ as much as they can, each complete. Think of how probable "
            "each would be as your answer, and choose less probable ones. Give each as "
            '<story probability="0.08">...</story>, and nothing else.'
        )
        return replace(brief, last=(*brief.last, last), several=many)


def parted(answer: str) -> list[tuple[str, float | None]]:
    """The stories of one answer with their probabilities (None where none is told); none where it holds no story."""
    found = []
    for match in _STORY.finditer(answer):
        said = _CHANCE.search(match[1])
        chance = None
        if said and re.fullmatch(r"\d*\.?\d+|\d+\.", said[1]):
            chance = float(said[1]) / (100 if said[2] else 1)
        if match[2].strip():
            found.append((match[2].strip(), chance if chance is not None and 0 <= chance <= 1 else None))
    return found
