"""A plan first, and the story from it, part by part."""

from __future__ import annotations

from dataclasses import replace

from foreword.stories.approaches.base import Brief, Step, Turn
from foreword.stories.spec import StorySpec


class Plan(Step):
    """The writer makes a plan of a few sentences, and writes the story in parts along it (see `parts.py`).

    After Yao et al. 2019, Plan-and-Write; Yang et al. 2022, Re3. It is also how a story becomes longer than a context.
    """

    name = "plan"

    def apply(self, brief: Brief, spec: StorySpec, turn: Turn) -> Brief:
        """Mark the brief as planned."""
        return replace(brief, planned=True)
