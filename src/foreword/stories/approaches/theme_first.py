"""What the story is about comes before what happens in it."""

from __future__ import annotations

from dataclasses import replace

from foreword.stories.approaches.base import Brief, Step, Turn, cover
from foreword.stories.resources import table
from foreword.stories.spec import StorySpec


class ThemeFirst(Step):
    """Begins with the theme: the spec's moral, or one of a list, covered before it is repeated."""

    name = "theme-first"

    def apply(self, brief: Brief, spec: StorySpec, turn: Turn) -> Brief:
        """Put the theme in front."""
        theme = spec.moral or cover(table("attributes")["themes"], turn.number, turn.seed, "theme")
        first = f"Think of this: {theme}. Everything in the story grows out of it."
        return replace(brief, first=(first, *brief.first))
