"""A story in planned parts: how many, with which clues, and what the writer is told for each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from foreword.errors import ConfigError
from foreword.stories.language import Prose
from foreword.stories.language.phrases import Phrase
from foreword.stories.resources import table
from foreword.stories.spec import Range, StorySpec

SHORTEST = 40
"""A part of fewer words than this is none."""
LONGEST = 400
"""What a part has at the most, and what of the text before it a writer sees at the most, in words."""
MOST = 200


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its number from 1, of how many, what happens (empty where nobody planned it), its clues and words."""

    number: int
    count: int
    beat: str
    clues: tuple[str, ...]
    words: Range

    @property
    def last(self) -> bool:
        """Whether the story ends with it."""
        return self.number == self.count

    def instruction(self) -> str:
        """What is added to the prompt for this part."""
        place = "the beginning" if self.number == 1 else "the end" if self.last else f"part {self.number}"
        lines = [f"Write {place} now, of {self.count} parts, in about {self.words.min} to {self.words.max} words."]
        lines += [f"In this part: {self.beat}"] if self.beat else []
        lines += [f"It includes {' and '.join(self.clues)}."] if self.clues else []
        lines.append("Bring the story to its end." if self.last else "Do not end the story yet.")
        return " ".join(lines)


def require_room(spec: StorySpec, room: int | None, *, planned: bool) -> None:
    """**Raises** `ConfigError` where the length asked for does not fit, with what can be done."""
    if room is None:
        return
    if planned:
        if room < 2 * SHORTEST:
            raise ConfigError(f"only about {room} words fit behind the prompt", do="use a model with a longer context")
        count = _needed(spec, room)
        if count > MOST:
            do = f"ask for at most {MOST * _largest(room):,} words"
            raise ConfigError(f"the story would need {count} parts", do=do)
    elif spec.length.max > room:
        parts = _needed(spec, room)
        fits = f"ask for at most {room:,} words"
        can = room >= 2 * SHORTEST
        raise ConfigError(
            f"a story of {spec.length.max:,} words is longer than the about {room:,} that fit behind the prompt",
            do=f"write it in planned parts (approach plan: {parts} parts), or {fits}" if can else fits,
        )


def divide(spec: StorySpec, room: int | None, beats: Sequence[str] = ()) -> tuple[Part, ...]:
    """The parts of a story: one for each clue, where they are long enough, and as many as the room needs.

    The first and the last part take no clue where there are parts enough; clues keep their order.
    """
    fewest = _needed(spec, room)
    wanted = min(len(spec.clues) + 2, max(1, spec.length.min // SHORTEST))
    count = max(fewest, wanted, min(3, spec.length.min // SHORTEST), 1)
    groups = _spread(spec.clues, count)
    least, most = _shares(spec.length.min, count), _shares(spec.length.max, count)
    return tuple(
        Part(
            number=i + 1,
            count=count,
            beat=_beat(beats, i, count),
            clues=groups[i],
            words=Range(min=max(1, min(least[i], most[i])), max=max(1, most[i])),  # their rounding may cross
        )
        for i in range(count)
    )


def bridge(clue: str, number: int, *, many: bool = False) -> str:
    """First words of a part that bring a clue in, in English, for a writer that goes on from given words.

    `many`: it is more than one thing, which also shows by the ending of its head.
    """
    forms = table("bridges")["arrivals"]
    head = Phrase.of(clue).head
    was = "were" if many or (head.endswith("s") and not head.endswith(("ss", "us", "is"))) else "was"
    return str(forms[number % len(forms)]).format(clue=clue, Clue=clue[0].upper() + clue[1:], was=was)


def tail(text: str, words: int) -> str:
    """The last whole sentences of a text, of so many words together at the most."""
    prose = Prose(text)
    start = len(text)
    for sentence in reversed(prose.sentences):
        if len(Prose(text[sentence.start :]).words) > words:
            break
        start = sentence.start
    return text[start:]


def beats_of(plan: str) -> tuple[str, ...]:
    """The lines of a plan, without their numbers."""
    lines = (line.strip().lstrip("-*•0123456789.) ").strip() for line in plan.splitlines())
    return tuple(line for line in lines if len(Prose(line).words) >= 2)


def _largest(room: int) -> int:
    """Half of the room at most is new text: the other half is what came before."""
    return max(SHORTEST, min(LONGEST, room // 2))


def _needed(spec: StorySpec, room: int | None) -> int:
    return math.ceil(spec.length.max / (LONGEST if room is None else _largest(room)))


def _spread(clues: Sequence[str], count: int) -> list[tuple[str, ...]]:
    """Clues over parts, evenly and in order; over the middle ones, where they are enough."""
    groups: list[tuple[str, ...]] = [()] * count
    first = 1 if count >= len(clues) + 2 else 0
    usable = count - 2 * first
    for place, clue in enumerate(clues):
        at = first + place * usable // len(clues)
        groups[at] = (*groups[at], clue)
    return groups


def _shares(total: int, count: int) -> list[int]:
    return [total * (i + 1) // count - total * i // count for i in range(count)]


def _beat(beats: Sequence[str], place: int, count: int) -> str:
    if not beats:
        return ""
    first, last = place * len(beats) // count, max(place * len(beats) // count + 1, (place + 1) * len(beats) // count)
    return " ".join(beats[first:last])
