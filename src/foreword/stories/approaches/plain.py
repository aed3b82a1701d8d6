"""The spec and nothing else."""

from __future__ import annotations

from foreword.stories.approaches.base import Brief, Step, Turn
from foreword.stories.spec import StorySpec


class Plain(Step):
    """The spec in plain sentences: what the others are compared with."""

    name = "plain"

    def apply(self, brief: Brief, spec: StorySpec, turn: Turn) -> Brief:
        """Nothing is added."""
        return brief
