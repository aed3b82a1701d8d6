"""Measures that anybody sees at once: how many stories begin alike, and how many have a hero of the same name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from foreword.stories.diversity.base import Measure, share
from foreword.stories.diversity.corpus import Sample
from foreword.stories.language import Prose
from foreword.stories.language.reading import names

OPENING = 3
"""Words of an opening: "once upon a"."""


def openings(words: Sequence[Sequence[str]]) -> list[tuple[str, int]]:
    """The first words of stories and how many begin with them, the most frequent first."""
    return _ranked(Counter(" ".join(one[:OPENING]) for one in words))


def named(texts: Sequence[str]) -> list[tuple[str, int]]:
    """What is taken for a name, in small letters, and in how many stories it occurs, the most frequent first."""
    return _ranked(Counter(name for text in texts for name in names(Prose(text))))


def _ranked(found: Counter[str]) -> list[tuple[str, int]]:
    return sorted(found.items(), key=lambda one: (-one[1], one[0]))


def _top_opening(sample: Sample) -> float:
    return openings(sample.words)[0][1] / len(sample)


def _top_name(sample: Sample) -> float:
    ranked = named(sample.texts)
    return ranked[0][1] / len(sample) if ranked else 0.0


MEASURES = (
    Measure(
        name="top_opening",
        title="share of the commonest opening",
        varied="lower",
        bounds=lambda n: (1 / n, 1.0),
        source="the count behind Finke et al. 2025, SimpleStories: how many stories begin with one phrase",
        defect=f"the first {OPENING} words alone; 'one day, a' and 'one day the' are two",
        value=_top_opening,
    ),
    Measure(
        name="top_name",
        title="share of the commonest name",
        varied="lower",
        bounds=share,
        source="as above, of names; a name is a word that is capital inside a sentence and never small",
        defect="a name that the spec gave belongs in every story; places and days count as names",
        value=_top_name,
    ),
)
