"""Approaches against each other: variety at equal number and length, constraints held, readability, speed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from foreword.errors import DataError
from foreword.evaluation.statistics import wilson
from foreword.stories.diversity import corpus, intervals, likeness, measures, surface
from foreword.stories.diversity.corpus import Embed, Sample
from foreword.stories.diversity.intervals import Difference, Estimate
from foreword.stories.language import Prose
from foreword.stories.language.reading import grade, known_words, unknown
from foreword.stories.story import Story

BASELINE = "plain"
Grouped = Mapping[str, Mapping[str, Sequence[Story]]]
"""Stories by approach and spec."""


@dataclass(frozen=True)
class Side:
    """One approach.

    `stories`, and of them `short`, which were left out of the measures of variety. `variety`: by measure. `passed`: the
    share of stories of which every hard constraint holds; None where nothing was checked. `constraints`: for each, how
    many stories it holds of, and how many were checked. `openings`, `names`: how many stories share them. `groups`: for
    each spec, the sizes of the groups of stories that are the same. `reading`: means over stories. `seconds` a story.
    """

    name: str
    stories: int
    short: int
    variety: dict[str, Estimate]
    passed: Estimate | None
    constraints: dict[str, tuple[int, int]]
    openings: list[tuple[str, int]]
    names: list[tuple[str, int]]
    groups: list[list[int]]
    reading: dict[str, float]
    tokens_per_second: float | None
    seconds: float | None


@dataclass(frozen=True)
class Comparison:
    """All approaches, the baseline first.

    `n` stories of `words` words for each of `specs` specs were compared. `kernel`: what likeness goes by.
    `differences`: of each other approach from the baseline, by measure; "passed" is the share of stories that pass.
    """

    sides: tuple[Side, ...]
    n: int
    words: int
    specs: int
    kernel: str
    differences: dict[str, dict[str, Difference]]

    @property
    def baseline(self) -> str:
        """What the others are compared with."""
        return self.sides[0].name

    @property
    def headline(self) -> str:
        """The measure that is told first."""
        return "vendi" if self.kernel == "meaning" else "vendi_words"

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        found = asdict(self)
        for name, by_measure in self.differences.items():
            for measure, one in by_measure.items():
                found["differences"][name][measure]["clear"] = one.clear
        found["measures"] = {
            one.name: {"title": one.title, "varied": one.varied, "source": one.source, "defect": one.defect}
            for one in measures.MEASURES
            if one.name in self.sides[0].variety
        }
        return {"baseline": self.baseline, "headline": self.headline, **found}


def compare(
    grouped: Grouped,
    *,
    words: int | None = None,
    embed: Embed | None = None,
    baseline: str | None = None,
    seed: int = 0,
    advance: Callable[[int], None] = lambda n: None,
) -> Comparison:
    """Measure all approaches alike.

    **Arguments:** `words`, to which all stories are cut (default: see `corpus.common_length`); shorter ones are left
    out of the measures of variety, and counted. `embed`: texts to vectors, for likeness by meaning. `baseline`: the
    approach that others are compared with (default: "plain" where there is one, else the first). `seed` draws subsets.
    `advance` is told of approaches done.

    **Raises** `DataError`: no stories, empty ones, approaches that were asked for different specs, fewer than two
    stories of an approach for a spec; an unknown baseline.
    """
    names = _ordered(grouped, baseline)
    specs = _common_specs(grouped)
    cut = corpus.common_length([one.text for name in names for spec in specs for one in grouped[name][spec]], words)
    kept = {name: {spec: _long(grouped[name][spec], cut) for spec in specs} for name in names}
    n = _common_number(kept, cut)
    sides, found = [], dict[str, dict[str, list[Estimate]]]()
    for name in names:
        samples = [corpus.sample([one.text for one in kept[name][spec]], cut, embed) for spec in specs]
        found[name] = {
            one.name: [intervals.estimate(one, sample, n, seed) for sample in samples]
            for one in measures.for_sample(samples[0])
        } | _passed([grouped[name][spec] for spec in specs])
        sides.append(_side(name, [list(grouped[name][spec]) for spec in specs], samples, found[name], n))
        advance(1)
    differences = {
        name: {
            measure: intervals.difference(values, found[names[0]][measure])
            for measure, values in found[name].items()
            if measure in found[names[0]]
        }
        for name in names[1:]
    }
    kernel = "meaning" if embed is not None else "words"
    return Comparison(tuple(sides), n, cut, len(specs), kernel, differences)


def _ordered(grouped: Grouped, baseline: str | None) -> list[str]:
    if not grouped:
        raise DataError("there are no stories to compare")
    first = baseline or (BASELINE if BASELINE in grouped else next(iter(grouped)))
    if first not in grouped:
        raise DataError(f"there are no stories of '{first}'", do=f"there are some of {', '.join(grouped)}")
    return [first, *(name for name in grouped if name != first)]


def _common_specs(grouped: Grouped) -> list[str]:
    """The specs, which all approaches share."""
    sets = {name: frozenset(by_spec) for name, by_spec in grouped.items()}
    if len(set(sets.values())) > 1:
        listed = ", ".join(f"{name}: {len(specs)}" for name, specs in sets.items())
        raise DataError(
            f"the approaches were asked for different specs (how many each: {listed}), and stories about different "
            "things differ whatever the approach",
            do="write stories of every approach for the same specs, and give those runs alone",
        )
    return sorted(next(iter(sets.values())))


def _common_number(kept: Mapping[str, Mapping[str, Sequence[Story]]], words: int) -> int:
    least, name = min((len(stories), name) for name, by_spec in kept.items() for stories in by_spec.values())
    if least < 2:
        raise DataError(
            f"'{name}' has {least} stories of at least {words} words for a spec, and variety takes two",
            do="write more of them (--n), or compare fewer words (--words)",
        )
    return least


def _long(stories: Sequence[Story], words: int) -> list[Story]:
    return [one for one in stories if corpus.long_enough(one.text, words)]


def _side(
    name: str, stories: Sequence[list[Story]], samples: Sequence[Sample], found: Mapping[str, list[Estimate]], n: int
) -> Side:
    every = [one for part in stories for one in part]
    bounds = {one.name: one.bounds(n) for one in measures.MEASURES} | {"passed": (0.0, 1.0)}
    made = {measure: intervals.over_specs(values, bounds[measure]) for measure, values in found.items()}
    seconds, tokens = sum(one.seconds for one in every), sum(one.tokens for one in every)
    texts = [text for sample in samples for text in sample.texts]
    return Side(
        name=name,
        stories=len(every),
        short=len(every) - sum(map(len, samples)),
        variety={measure: one for measure, one in made.items() if measure != "passed"},
        passed=made.get("passed"),
        constraints=_constraints(every),
        openings=surface.openings([words for sample in samples for words in sample.words]),
        names=surface.named(texts),
        groups=[[len(one) for one in likeness.groups(sample.halves[sample.best_kernel])] for sample in samples],
        reading=_reading(every),
        tokens_per_second=tokens / seconds if seconds else None,
        seconds=seconds / len(every) if seconds else None,
    )


def _constraints(stories: Sequence[Story]) -> dict[str, tuple[int, int]]:
    held = Counter(one.constraint for story in stories for one in story.checks if one.passed)
    checked = Counter(one.constraint for story in stories for one in story.checks)
    return {name: (held[name], total) for name, total in sorted(checked.items())}


def _passed(stories: Sequence[Sequence[Story]]) -> dict[str, list[Estimate]]:
    """For each spec the share of stories of which every hard constraint holds; empty where one was not checked."""
    if not all(one.checks for part in stories for one in part):
        return {}
    return {"passed": [_share(sum(one.passed for one in part), len(part)) for part in stories]}


def _share(held: int, total: int) -> Estimate:
    """A share with Wilson's interval (1927), and the error of Agresti and Caffo (2000) for differences."""
    adjusted = (held + 1) / (total + 2)
    error = math.sqrt(adjusted * (1 - adjusted) / (total + 2))
    return Estimate(held / total, total, error, max(1, total - 1), wilson(held, total))


def _reading(stories: Sequence[Story]) -> dict[str, float]:
    """Means over whole stories: words, words a sentence, Flesch-Kincaid grade, share of words a child knows."""
    known, rows = known_words(), []
    for story in stories:
        prose = Prose(story.text)
        count = len(prose.words)
        strange = len(unknown(prose, known))
        rows.append((count, count / max(1, len(prose.sentences)), grade(prose), 1 - strange / max(1, count)))
    titles = ("words", "words_per_sentence", "grade", "known_words")
    return {title: sum(column) / len(rows) for title, column in zip(titles, zip(*rows, strict=True), strict=True)}
