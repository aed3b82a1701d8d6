"""A reason to care, and feelings to go through."""

from __future__ import annotations

from dataclasses import replace

from foreword.stories.approaches.base import Brief, Step, Turn, cover
from foreword.stories.resources import table
from foreword.stories.spec import StorySpec


class EmotionalCue(Step):
    """Says whom the story is for, and which feelings it leads through.

    After Li et al. 2023, Large Language Models Understand and Can Be Enhanced by Emotional Stimuli; its effect on a
    given model is for `foreword story compare` to say.
    """

    name = "emotional-cue"

    def apply(self, brief: Brief, spec: StorySpec, turn: Turn) -> Brief:
        """Add a sentence in front, and one on the feelings."""
        before, after = cover(table("attributes")["feelings"], turn.number, turn.seed, "feeling").split(" > ")
        first = "A child will hear this story tonight and keep it in mind for a long time, so give it all your heart."
        last = f"In the beginning somebody is {before}, and in the end {after}."
        return replace(brief, first=(*brief.first, first), details=(*brief.details, last))
