"""A text against a spec: every constraint's verdict, strictly and leniently read."""

from __future__ import annotations

from functools import lru_cache

from foreword.stories.constraints import Constraint, constraints
from foreword.stories.language import Prose
from foreword.stories.readings import unwrapped
from foreword.stories.spec import StorySpec
from foreword.stories.story import Verdict


@lru_cache(maxsize=32)
def constraints_of(spec: StorySpec) -> tuple[Constraint, ...]:
    """What a spec asks for, hard constraints first."""
    made = (constraints.get(name).of(spec) for name in constraints.names)
    return tuple(sorted((one for one in made if one is not None), key=lambda one: (not one.hard, one.name)))


def check(text: str, spec: StorySpec) -> tuple[Verdict, ...]:
    """One verdict a constraint of the spec.

    The strict reading looks at the text as it is; the lenient one at the story without what surrounds it (see
    `readings.unwrapped`), and with the slack that each constraint states. What passes strictly passes leniently.
    """
    prose, bare = Prose(text), Prose(unwrapped(text)[0])
    verdicts = []
    for one in constraints_of(spec):
        strict = one.check(prose)
        lenient = strict.passed or one.check(bare, lenient=True).passed
        verdicts.append(Verdict(one.name, one.hard, strict.passed, lenient, strict.score, strict.note, strict.evidence))
    return tuple(verdicts)
