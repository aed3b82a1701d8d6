"""Tell a different one."""

from __future__ import annotations

from dataclasses import replace

from foreword.stories.approaches.base import Brief, Step, Turn
from foreword.stories.spec import StorySpec

SEEN = 5


class Different(Step):
    """Shows how the last stories began, and asks for another one.

    After Zhang et al. 2025, NoveltyBench, where it recovers much of human variety with strong models; a small one is
    apt to copy what it sees.
    """

    name = "different"
    sequential = True

    def apply(self, brief: Brief, spec: StorySpec, turn: Turn) -> Brief:
        """Add the openings of the last five."""
        if not turn.openings:
            return brief
        told = "\n".join(f"- {opening}" for opening in turn.openings[-SEEN:])
        last = f"These stories have been told already. They began so:\n{told}\nTell a really different one."
        return replace(brief, last=(*brief.last, last))
