"""A sentence at a time."""

from __future__ import annotations

from dataclasses import replace

from foreword.stories.approaches.base import Brief, Step, Turn
from foreword.stories.spec import StorySpec


class Stepwise(Step):
    """Each sentence is checked as soon as it ends, and taken back where it breaks a rule (see `sentence_guide.py`).

    Missing clues are begun by a few given words at their turn, and the text ends at the end of a sentence. A search
    that keeps to constraints while it decodes, in the manner of Lu et al. 2021, NeuroLogic Decoding, by rejection. Only
    for writers of this machine: it changes what is decoded, and nothing of the prompt.
    """

    name = "stepwise"

    def apply(self, brief: Brief, spec: StorySpec, turn: Turn) -> Brief:
        """Mark the brief as written in steps."""
        return replace(brief, stepwise=True)
