"""Repairs that need a writer: going on from what is good, or a targeted rewrite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from foreword.stories.constraints.clues import Clues
from foreword.stories.constraints.no_repetition import before_circling
from foreword.stories.language import Prose
from foreword.stories.parts import bridge, tail
from foreword.stories.resources import table
from foreword.stories.spec import StorySpec
from foreword.stories.story import Edit, Story
from foreword.stories.writers import Request
from foreword.stories.writers.base import joined

AT_ONCE = 2
"""So many clues are brought in at once; more of them in one sentence would be a list."""
PER_CLUE = 40
"""Words that a clue that is brought in late needs to be told."""
CLOSING = (15, 60)
"""Words that an ending has."""


@dataclass(frozen=True, slots=True)
class Revision:
    """What a writer is asked for, and how its answer becomes the text.

    `kept`: the part of the old text that stays; `words`: what is put behind it, and the answer comes behind both. The
    writer sees of them what `fitted` lets it see. `removed`: the part of the old text that goes.
    """

    request: Request
    kept: str
    words: str
    name: str
    removed: str = ""

    def applied(self, answer: str) -> tuple[str, Edit]:
        """The new text, and the edit that made it."""
        text = joined(_behind(self.kept, self.words), answer).strip()
        return text, Edit(self.name, self.removed, joined(self.words, answer).strip())

    def fitted(self, room: int | None) -> Revision:
        """The same, with only so much of the old text in the lead as there is room for, in words (None: no limit)."""
        if room is None or not self.request.lead:
            return self
        seen = tail(self.kept, max(0, room - 2 * self.request.most))
        return replace(self, request=replace(self.request, lead=_behind(seen, self.words)))


def continuation(story: Story, spec: StorySpec, seed: int) -> Revision | None:
    """How a writer that goes on from given words may mend a story, or None where going on does not help.

    What goes in circles is cut off. Missing clues are brought in behind the part that is kept; a story that is too
    short goes on; one without an end, or one that is too long, is cut back, and ended.
    """
    failed = set(story.failed)
    whole, number = Prose(story.text), seed
    prose = Prose(before_circling(whole)) if "no-repetition" in failed else whole
    count = len(prose.words)
    clues = Clues.of(spec)
    missing = clues.missing(prose) if clues is not None and "clues" in failed else ()
    if missing and spec.english:
        missing = missing[:AT_ONCE]
        needed = PER_CLUE * len(missing) + CLOSING[0]
        kept = _cut_to(prose, max(0, spec.length.max - needed))
        brought = " and ".join(missing)
        words = bridge(brought, number, many=len(missing) > 1)
        return _going_on(story, spec, kept, words, seed, "clue brought in", needed)
    if count < spec.length.min:
        words = _one_of("onwards", number) if spec.english else ""
        return _going_on(story, spec, prose.text, words, seed, "longer", spec.length.min - count)
    if "ending" in failed or count > spec.length.max:
        kept = _cut_to(prose, min(count, spec.length.max - CLOSING[1]))
        return _going_on(story, spec, kept, _one_of("endings", number), seed, "ending", CLOSING[0])
    return None


def rewrite(story: Story, spec: StorySpec, seed: int) -> Revision:
    """How a writer that follows instructions may mend a story: told what fails, and to leave the rest."""
    notes = [f"- {one.constraint}: {one.note}" for one in story.checks if not one.passed]
    prompt = (
        f"{story.prompt}\n\nThis is a draft:\n\n{story.text}\n\nWhat is wrong with it:\n"
        + "\n".join(notes)
        + "\n\nWrite the story again so that this is right. Change nothing else, and write only the story itself."
    )
    request = Request(prompt, seed, spec.length.min, spec.length.max)
    return Revision(request, "", "", "rewrite", story.text)


def _going_on(story: Story, spec: StorySpec, kept: str, words: str, seed: int, name: str, least: int) -> Revision:
    before = len(Prose(f"{kept} {words}").words)
    room = max(CLOSING[0], spec.length.max - before)
    least = min(max(least, spec.length.min - before), room)
    request = Request(story.prompt, seed, max(0, least), room, _behind(kept, words))
    return Revision(request, kept, words, name, story.text[len(kept) :].strip())


def _behind(kept: str, words: str) -> str:
    """Words as a new paragraph."""
    return f"{kept}\n\n{words}" if kept and words else kept + words


def _cut_to(prose: Prose, words: int) -> str:
    """The sentences from the beginning that have so many words at the most together."""
    end = 0
    for sentence in prose.sentences:
        if sum(word.end <= sentence.end for word in prose.words) > words:
            break
        end = sentence.end
    return prose.text[:end]


def _one_of(name: str, number: int) -> str:
    forms: Sequence[str] = table("bridges")[name]
    return str(forms[number % len(forms)])
