"""What an approach is: steps, each of which changes the brief that the writer is given."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from foreword.errors import ConfigError
from foreword.registry import Registry
from foreword.stories.checking import constraints_of
from foreword.stories.spec import StorySpec


@dataclass(frozen=True, slots=True)
class Turn:
    """Which story of a run is asked for: its number from 0, of how many, its seed, and how those before it open.

    `seed` is the run's, the same for all of its stories. `openings`: first sentences, the latest last.
    """

    number: int
    count: int
    seed: int
    openings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Brief:
    """A request on its way to a writer. Steps change it; `render` makes the prompt.

    `first`: sentences before the task; `task`: what is to be written; `details`: what is known of the story;
    `rules`: the constraints' clauses; `last`: sentences after them. `lead`: words that the story begins with;
    `events`: words that sentences further on begin with, where it is written a sentence at a time. `planned`: it is
    written in parts, from a plan. `stepwise`: a sentence at a time, each checked as soon as it ends. `several`: so many
    stories in one answer.
    """

    task: str
    details: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    lead: str = ""
    events: tuple[str, ...] = ()
    planned: bool = False
    stepwise: bool = False
    several: int = 1

    def render(self) -> str:
        """The prompt, word by word."""
        blocks = (" ".join((*self.first, self.task)), " ".join(self.details), " ".join(self.rules), " ".join(self.last))
        return "\n".join(block for block in blocks if block)


class Step(ABC):
    """One named step of an approach. Immutable; the same brief and turn give the same brief.

    `name` is that of its file. `strong`: it needs a model that follows instructions well, and is refused elsewhere.
    `sequential`: a story needs those before it, so none are written side by side.
    """

    name: ClassVar[str]
    strong: ClassVar[bool] = False
    sequential: ClassVar[bool] = False

    @abstractmethod
    def apply(self, brief: Brief, spec: StorySpec, turn: Turn) -> Brief:
        """The brief with this step."""


@dataclass(frozen=True)
class Approach:
    """Steps by name, in order."""

    name: str
    steps: tuple[Step, ...]

    @classmethod
    def parse(cls, text: str, known: Registry[Step]) -> Approach:
        """The approach of a name, or of several with `+` between. **Raises** `ConfigError`."""
        names = [name.strip() for name in text.split("+")]
        if len(set(names)) < len(names):
            raise ConfigError(f"the approach '{text}' names a step twice")
        return cls("+".join(names), tuple(known.get(name)() for name in names))

    @property
    def strong(self) -> bool:
        """Whether a step needs a strong model."""
        return any(step.strong for step in self.steps)

    @property
    def sequential(self) -> bool:
        """Whether stories are written one by one."""
        return any(step.sequential for step in self.steps)

    def brief(self, spec: StorySpec, turn: Turn) -> Brief:
        """What the writer is given for one story."""
        brief = opening_brief(spec)
        for step in self.steps:
            brief = step.apply(brief, spec, turn)
        return brief


def opening_brief(spec: StorySpec) -> Brief:
    """The spec in plain sentences: what every approach begins with."""
    style = f"{_article(spec.style)} " if spec.style else "a "
    language = "" if spec.english else f" in the language with the code '{spec.language}'"
    task = f"Write {style}story for a {spec.age}-year-old child{language}. The topic: {spec.topic}."
    details = [
        f"The setting: {spec.setting}." if spec.setting else "",
        f"The tone is {spec.tone}." if spec.tone else "",
        f"It shows that {spec.moral}." if spec.moral else "",
    ]
    rules = [one.clause() for one in constraints_of(spec)]
    return Brief(task, tuple(d for d in details if d), tuple(rule for rule in rules if rule))


def _article(words: str) -> str:
    return f"{'an' if words[0].lower() in 'aeiou' else 'a'} {words}"


def added(brief: Brief, *details: str) -> Brief:
    """The brief with more details."""
    return replace(brief, details=(*brief.details, *details))


def cover(values: Sequence[str], number: int, seed: int, salt: str) -> str:
    """The value of the turn `number`: seeded orders one behind the other, so that all come before any comes again."""
    round_, place = divmod(number, len(values))
    order = list(values)
    random.Random(f"{seed}/{salt}/{round_}").shuffle(order)  # the hash of a text is the same everywhere
    return order[place]
