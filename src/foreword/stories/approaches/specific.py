"""Somebody and somewhere, where the spec leaves them open."""

from __future__ import annotations

from foreword.stories.approaches.base import Brief, Step, Turn, added, cover
from foreword.stories.resources import table
from foreword.stories.spec import StorySpec


class Specific(Step):
    """A named main character with a trait, and a place with something to see, hear or smell.

    What the spec gives is kept; the rest is drawn from `data/attributes.yaml`, covered before it is repeated.
    """

    name = "specific"

    def apply(self, brief: Brief, spec: StorySpec, turn: Turn) -> Brief:
        """Add character and setting."""
        lists = table("attributes")
        more = []
        if not spec.characters:
            name = cover(lists["names"], turn.number, turn.seed, "name")
            trait = cover(lists["traits"], turn.number, turn.seed, "trait")
            more.append(f"The main character is {name}, a child {trait}.")
        if not spec.setting:
            more.append(f"There is {cover(lists['details'], turn.number, turn.seed, 'detail')}.")
        return added(brief, *more)
