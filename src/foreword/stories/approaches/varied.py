"""Something else every time, chosen by a seed."""

from __future__ import annotations

from dataclasses import replace

from foreword.stories.approaches.base import Brief, Step, Turn, cover
from foreword.stories.resources import table
from foreword.stories.spec import StorySpec

EVENTS = 2
"""So many things happen in a story."""


class Varied(Step):
    """Who, what happens, when, where, theme, opening, narrator, culture and genre are drawn for each story.

    All values of a list come before any comes again. After Finke et al. 2025, Parameterized Synthetic Text Generation
    with SimpleStories. The spec goes first: its own characters, setting and moral stay. The opening also gives the
    story's first words, with the hero in them, which a small model is made to begin with, and beside `stepwise` when it
    happens and the two things that happen begin sentences of it, since a small model does not make them happen when it
    is told to. All these words are counted as given (`Story.given`).
    """

    name = "varied"

    def apply(self, brief: Brief, spec: StorySpec, turn: Turn) -> Brief:
        """Add what was drawn."""
        lists = table("attributes")

        def draw(name: str, number: int = turn.number) -> str:
            return cover(lists[name], number, turn.seed, name)

        hero, more = spec.characters[0].name if spec.characters else "", []
        if not hero:
            name, what = draw("names"), draw("heroes")
            hero = f"{name} the {what}"
            more.append(f"The main character is {hero}.")
        more += [f"It is {draw('genres')}.", f"{draw('narrators')}", f"It has a touch of {draw('cultures')}."]
        events = [draw("events", EVENTS * turn.number + i).partition(" > ") for i in range(EVENTS)]
        when = draw("times")
        more.append(f"It happens {when}. In it, {' and '.join(what for what, _, _ in events)}.")
        if not spec.setting:
            more.append(f"It takes place {draw('settings')}.")
        if not spec.moral:
            more.append(f"It shows that {draw('themes')}.")
        kind, _, lead = draw("openings").partition(" > ")
        details = (*brief.details, *more, f"It begins with {kind}.")
        begun = (f"{when[0].upper()}{when[1:]},", *(words for _, _, words in events))
        return replace(brief, details=details, lead=lead.format(hero=hero), events=begun)
