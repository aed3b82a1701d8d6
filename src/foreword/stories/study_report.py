"""What a study shows: pass rates, variety against the baseline, given words, cost; as data and as tables."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foreword.errors import DataError
from foreword.evaluation.statistics import mean_interval, wilson
from foreword.stories.diversity import corpus, intervals, measures
from foreword.stories.diversity.corpus import Embed
from foreword.stories.language import Prose
from foreword.stories.language.reading import grade, known_words, unknown
from foreword.stories.ranking import ranked
from foreword.stories.story import Story
from foreword.stories.study import Made

BASELINE = "plain"
VARIETY = ("vendi", "vendi_words", "groups", "self_bleu", "distinct_2", "top_opening")
Floats = dict[str, float]


@dataclass(frozen=True)
class Cell:
    """The stories of one approach for one spec."""

    stories: tuple[Made, ...]

    @property
    def raw(self) -> float:
        """The share that held all hard constraints as first written: a single shot."""
        return _mean([one.raw_passed for one in self.stories])

    @property
    def mended(self) -> float:
        """The share that holds them now, repaired."""
        return _mean([one.story.passed for one in self.stories])

    @property
    def best(self) -> Made:
        """The story that the program ranks first."""
        first = ranked([one.story for one in self.stories])[0]
        return next(one for one in self.stories if one.story is first)


def summary(made: Sequence[Made], embed: Embed | None, *, baseline: str = BASELINE, n: int | None = None,
            advance: Callable[[int], None] = lambda done: None) -> dict[str, Any]:  # fmt: skip
    """Everything by approach, of the first `n` stories of each spec (default: as many as all have).

    Only specs that all approaches have stories of count. Texts of one spec are cut to the same words for all
    approaches; differences and ratios are paired by spec, with Student's intervals over specs; shares of specs have
    Wilson's. "vendi" is by meaning (embeddings), "vendi_words" by n-grams, "vendi_own" by meaning without the words
    that the program gave.

    **Raises** `DataError` where no spec has stories of all approaches.
    """
    labels = list(dict.fromkeys(one.label for one in made))
    by: dict[tuple[str, str], list[Made]] = {}
    for one in made:
        by.setdefault((one.label, one.name), []).append(one)
    names = [name for name in dict.fromkeys(one.name for one in made) if all((label, name) in by for label in labels)]
    if not names:
        raise DataError("no spec has stories of all approaches", do="let the study go on, or leave an approach out")
    least = min(len(by[label, name]) for label in labels for name in names)
    n = least if n is None else min(n, least)
    cells = {key: Cell(tuple(stories[:n])) for key, stories in by.items()}
    values: dict[str, dict[str, list[float]]] = {label: {} for label in labels}
    compared = 0
    for name in names:
        found = _variety({label: cells[label, name] for label in labels}, n, embed)
        compared += bool(found)
        for label, numbers in found.items():
            for measure, value in numbers.items():
                values[label].setdefault(measure, []).append(value)
        advance(1)
    first = baseline if baseline in labels else labels[0]
    sides = {
        label: _side([cells[label, name] for name in names], values[label], values[first], label == first)
        for label in labels
    }
    return {
        "specs": len(names),
        "specs_compared": compared,
        "n": n,
        "baseline": first,
        "names": names,
        "approaches": sides,
    }


def shown(made: Sequence[Made], names: Sequence[str]) -> str:
    """The first and the last in rank of each approach for some specs, whole, as Markdown; given words are bold."""
    parts = []
    for name in names:
        for label in dict.fromkeys(one.label for one in made):
            stories = [one for one in made if (one.label, one.name) == (label, name)]
            if stories:
                order = ranked([one.story for one in stories])
                parts.append(_told(f"{name}, `{label}`, first of {len(order)}", order[0]))
                parts.append(_told(f"{name}, `{label}`, last of {len(order)}", order[-1]))
    return "\n\n".join(parts)


def table(found: Mapping[str, Any]) -> str:
    """The summary as two Markdown tables."""
    n, specs, sides = found["n"], found["specs"], found["approaches"]
    heads = (f"approach ({specs} specs)", "stories", "single shot", "after repair", "best, unrepaired",
             "best with repair", "given words", "tokens a story", "s a story")  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for label, one in sides.items():
        lines.append(
            f"| `{label}` | {one['stories']} | {_percent(one['single_shot'])} | {_percent(one['repaired'])} | "
            f"{_percent(one['best_raw'])} | **{_percent(one['best'])}** | {one['given_share']:.0%} | "
            f"{one['tokens']:.0f} | {one['seconds']:.1f} |"
        )
    heads = (f"approach (n = {n} a spec, {found['specs_compared']} specs)", "Vendi, by meaning",
             f"times {found['baseline']}", "own words alone, times", "by n-grams", "groups", "commonest opening",
             "near to the request", "grade")  # fmt: skip
    lines += ["", "| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for label, one in sides.items():
        ratios = one.get("ratio", {})
        lines.append(
            f"| `{label}` | {_number(one['variety'].get('vendi'))} | {_number(ratios.get('vendi'))} | "
            f"{_number(ratios.get('vendi_own'))} | {_number(one['variety'].get('vendi_words'))} | "
            f"{_number(one['variety'].get('groups'), 1)} | {_number(one['variety'].get('top_opening'))} | "
            f"{_number(one['variety'].get('topic'))} | {one['grade']:.1f} |"
        )
    return "\n".join(lines)


def failures(found: Mapping[str, Any]) -> str:
    """How many stories fail each hard constraint, as first written and as they are now, as a Markdown table."""
    sides = found["approaches"]
    names = sorted({name for one in sides.values() for part in ("raw_fails", "fails") for name in one[part]})
    lines = ["| fails, first written → now | " + " | ".join(f"`{label}`" for label in sides) + " |"]
    lines.append("|---" * (len(sides) + 1) + "|")
    for name in names:
        cells = (f"{one['raw_fails'].get(name, 0)} → {one['fails'].get(name, 0)}" for one in sides.values())
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _variety(cells: Mapping[str, Cell], n: int, embed: Embed | None) -> dict[str, Floats]:
    """The measures of each approach's stories of one spec, as many of each and all cut to the same words.

    Empty where an approach has fewer than two stories that are long enough to be compared.
    """
    words = corpus.common_length([one.story.text for cell in cells.values() for one in cell.stories])
    kept = {
        label: [one for one in cell.stories if corpus.long_enough(one.story.text, words)]
        for label, cell in cells.items()
    }
    m = min(n, *map(len, kept.values()))
    if m < 2:
        return {}
    return {label: _measured(stories, words, m, embed) for label, stories in kept.items()}


def _measured(stories: Sequence[Made], words: int, n: int, embed: Embed | None) -> Floats:
    texts = [one.story.text for one in stories]
    found = corpus.sample(texts, words, embed)
    made = {
        one.name: intervals.estimate(one, found, n).value for one in measures.for_sample(found) if one.name in VARIETY
    }
    if embed is not None:
        own = [_own(one) for one in stories]
        least = min(len(Prose(text).words) for text in own)
        made["vendi_own"] = intervals.estimate(measures.get("vendi"), corpus.sample(own, least, embed), n).value
        vectors = embed([_request(stories[0]), *texts])
        made["topic"] = float((vectors[1:] @ vectors[0]).mean())
    return made


def _told(title: str, story: Story) -> str:
    text = story.text
    for words in story.given:
        if re.search(r"\w", words):
            text = text.replace(words.strip(), f"**{words.strip()}**", 1)
    quoted = "\n".join(f"> {line}".rstrip() for line in text.splitlines())
    hard = [one for one in story.checks if one.hard and not one.passed]
    told = "; ".join(f"{one.constraint}: {one.note}" for one in hard) or "every hard constraint holds"
    share = f"; {story.given_share:.0%} of the words given" if story.given else ""
    edits = ", ".join(dict.fromkeys(one.name for one in story.edits))
    return f"**{title}** ({told}{share}{'; repairs: ' + edits if edits else ''}):\n\n{quoted}"


def _own(made: Made) -> str:
    """The text without the words that the program gave."""
    text = made.story.text
    for words in made.story.given:
        text = text.replace(words, "", 1)
    return text


def _request(made: Made) -> str:
    spec = made.spec
    return ". ".join((spec.topic, ", ".join(spec.clues)))


def _side(
    cells: Sequence[Cell], values: Mapping[str, list[float]], base: Mapping[str, list[float]], first: bool
) -> dict[str, Any]:
    every = [one for cell in cells for one in cell.stories]
    proses, known = [Prose(one.story.text) for one in every], known_words()
    seconds, tokens = sum(one.story.seconds for one in every), sum(one.story.tokens for one in every)
    side: dict[str, Any] = {
        "stories": len(every),
        "single_shot": _over([cell.raw for cell in cells]),
        "repaired": _over([cell.mended for cell in cells]),
        "best_raw": _wilson(sum(any(one.raw_passed for one in cell.stories) for cell in cells), len(cells)),
        "best": _wilson(sum(cell.best.story.passed for cell in cells), len(cells)),
        "by_spec": {cell.stories[0].name: [sum(one.raw_passed for one in cell.stories),
                                           sum(one.story.passed for one in cell.stories)] for cell in cells},
        "raw_fails": _fails(one.raw_failed for one in every if not one.raw_passed),
        "fails": _fails(one.story.failed for one in every if not one.story.passed),
        "given_share": _mean([one.story.given_share for one in every]),
        "words": _mean([len(prose.words) for prose in proses]),
        "grade": _mean([grade(prose) for prose in proses]),
        "known_words": _mean([1 - len(unknown(prose, known)) / max(1, len(prose.words)) for prose in proses]),
        "tokens": tokens / len(every),
        "seconds": seconds / len(every),
        "tokens_per_second": tokens / seconds if seconds else 0.0,
        "variety": {name: _over(found) for name, found in values.items()},
    }  # fmt: skip
    if not first:
        side["ratio"] = {name: _ratio(found, base[name]) for name, found in values.items() if name.startswith("vendi")}
        side["difference"] = {name: _over(list(np.subtract(found, base[name]))) for name, found in values.items()}
    return side


def _fails(failed: Any) -> dict[str, int]:
    from foreword.stories.constraints import constraints

    hard = {name for name in constraints.names if constraints.get(name).hard}
    return dict(Counter(name for one in failed for name in one if name in hard))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.0


def _over(values: Sequence[float]) -> Floats:
    """The mean over specs, with Student's interval."""
    mean = _mean(values)
    if len(values) < 2:
        return {"value": mean}
    found = mean_interval(values)
    return {"value": mean, "low": found.low, "high": found.high}


def _ratio(values: Sequence[float], base: Sequence[float]) -> Floats:
    """The geometric mean of the specs' ratios, with Student's interval of their logarithms."""
    found = _over([math.log(a / b) for a, b in zip(values, base, strict=True)])
    return {name: math.exp(value) for name, value in found.items()}


def _wilson(held: int, total: int) -> Floats:
    """A share of specs with its interval."""
    found = wilson(held, total)
    return {"value": held / total, "low": found.low, "high": found.high}


def _percent(one: Floats) -> str:
    return f"{one['value']:.0%}" + (f" [{max(0, one['low']):.0%}, {min(1, one['high']):.0%}]" if "low" in one else "")


def _number(one: Floats | None, digits: int = 2) -> str:
    if one is None:
        return ""
    between = f" [{one['low']:.{digits}f}, {one['high']:.{digits}f}]" if "low" in one else ""
    return f"{one['value']:.{digits}f}{between}"
