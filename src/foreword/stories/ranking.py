"""Which stories are best, so that the best ones differ."""

from __future__ import annotations

from collections.abc import Sequence

from foreword.stories.language import Prose, bases
from foreword.stories.language.phrases import SMALL
from foreword.stories.story import Story, Verdict

TWINS = 0.6
"""Above this likeness two stories are one story told twice."""
VARIETY = 0.5
"""How much the likeness to a better story counts against a story among its equals."""

Standing = tuple[bool, float, int, float]


def standing(checks: Sequence[Verdict]) -> Standing:
    """How a story stands, more is better: themes (leniently, then by score), hard constraints that hold, and the rest.

    The rest is the mean score of all constraints.
    """
    themes = [one for one in checks if one.constraint == "themes"]
    held = sum(one.passed for one in checks if one.hard)
    score = sum(one.score for one in checks) / len(checks) if checks else 0.0
    return all(one.lenient for one in themes), min((one.score for one in themes), default=1.0), held, score


def likeness(one: str, other: str) -> float:
    """From 0 (no content word in common) to 1 (the same ones): the shared part of all content words' base forms."""
    mine, theirs = _content(one), _content(other)
    return len(mine & theirs) / len(mine | theirs) if mine | theirs else 1.0


def ranked(stories: Sequence[Story]) -> tuple[Story, ...]:
    """All stories, best first, and different ones first among equals.

    The next one is always, among those with the best themes and the most hard constraints held, the one with the
    highest score less `VARIETY` times its likeness to the nearest one before it. A twin of one before it comes after
    all that are none, and one with a grave listed theme last.
    """
    left, order = list(stories), []
    nearest = [0.0] * len(left)
    while left:
        keys = []
        for story, like in zip(left, nearest, strict=True):
            lenient, themes, held, score = standing(story.checks)
            keys.append((lenient, like <= TWINS, themes, held, score - VARIETY * like))
        best = max(range(len(left)), key=lambda place: (keys[place], -place))
        chosen = left.pop(best)
        nearest.pop(best)
        order.append(chosen)
        nearest = [max(like, likeness(story.text, chosen.text)) for story, like in zip(left, nearest, strict=True)]
    return tuple(order)


def _content(text: str) -> frozenset[str]:
    """One base form for each content word."""
    return frozenset(min(bases(word.folded)) for word in Prose(text).words if word.folded not in SMALL)
