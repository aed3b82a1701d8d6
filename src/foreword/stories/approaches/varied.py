"""Something else every time, chosen by a seed."""

from __future__ import annotations

from dataclasses import replace

from foreword.stories.approaches.base import Brief, Step, Turn, cover
from foreword.stories.resources import table
from foreword.stories.spec import StorySpec


class Varied(Step):
    """Theme, setting, opening, narrator, culture and genre are drawn for each story; all values come before any again.

    After Finke et al. 2025, Parameterized Synthetic Text Generation with SimpleStories. The spec goes first: its own
    setting and moral stay. The opening also gives the story's first words, which a small model is made to begin with.
    """

    name = "varied"

    def apply(self, brief: Brief, spec: StorySpec, turn: Turn) -> Brief:
        """Add what was drawn."""
        lists = table("attributes")

        def draw(name: str) -> str:
            return cover(lists[name], turn.number, turn.seed, name)

        more = [f"It is {draw('genres')}.", f"{draw('narrators')}", f"It has a touch of {draw('cultures')}."]
        if not spec.setting:
            more.append(f"It takes place {draw('settings')}.")
        if not spec.moral:
            more.append(f"It shows that {draw('themes')}.")
        kind, _, lead = draw("openings").partition(" > ")
        return replace(brief, details=(*brief.details, *more, f"It begins with {kind}."), lead=lead)
