"""A comparison in words and tables: for a terminal, as Markdown, and as a page with its picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from foreword.page import plots
from foreword.page import render as pages
from foreword.page.parts import Cell, Table, notes
from foreword.page.plots import Dot
from foreword.page.render import Section
from foreword.stories.diversity import measures
from foreword.stories.diversity.compare import Comparison, Side
from foreword.stories.diversity.intervals import Estimate

READING = {
    "words": ("words", "{:.0f}"),
    "words_per_sentence": ("words a sentence", "{:.1f}"),
    "grade": ("grade (Flesch-Kincaid)", "{:.1f}"),
    "known_words": ("known words", "{:.0%}"),
}
PASSED = "pass all hard constraints"
Grid = tuple[list[str], list[list[str]]]


def headline(made: Comparison) -> list[str]:
    """One sentence for each approach: "8 stories, about 5 different"."""
    return [f"{side.name}: {made.n} stories, about {_about(side, made)} different" for side in made.sides]


def basis(made: Comparison) -> str:
    """What was compared, in one sentence."""
    specs = "one spec" if made.specs == 1 else f"each of {made.specs} specs"
    by = "embeddings (meaning) and n-grams (words)" if made.kernel == "meaning" else "n-grams (no model of meaning)"
    return f"{made.n} stories of {specs}, the first {made.words} words of each; likeness by {by}; 95% intervals"


def overview(made: Comparison) -> Grid:
    """For each approach: what passes, how varied, how readable, how fast."""
    columns = ["approach", "stories", PASSED, measures.get(made.headline).title, "groups", "4-grams shared", "grade",
               "tokens/s", "s/story"]  # fmt: skip
    rows = [
        [
            side.name,
            str(side.stories) + (f" ({side.short} too short)" if side.short else ""),
            "not checked" if side.passed is None else _ranged(side.passed, "{:.0%}"),
            _ranged(side.variety[made.headline], "{:.2f}"),
            f"{side.variety['groups'].value:.1f}",
            f"{side.variety['repetition_across'].value:.0%}",
            f"{side.reading['grade']:.1f}",
            "" if side.tokens_per_second is None else f"{side.tokens_per_second:.1f}",
            "" if side.seconds is None else f"{side.seconds:.1f}",
        ]
        for side in made.sides
    ]
    return columns, rows


def all_measures(made: Comparison) -> Grid:
    """Every measure of variety by approach, with its interval."""
    columns = ["measure", "more varied is", *(side.name for side in made.sides)]
    known = [one for one in measures.MEASURES if one.name in made.sides[0].variety]
    rows = [[one.title, one.varied, *(_ranged(side.variety[one.name], _form(one.name)) for side in made.sides)]
            for one in known]  # fmt: skip
    return columns, rows


def differences(made: Comparison) -> Grid:
    """Each approach less the baseline, in what has an interval that leaves out 0, or is told first."""
    columns = ["approach", "measure", f"less {made.baseline}", "95% interval", "how"]
    titles = {one.name: one.title for one in measures.MEASURES} | {"passed": PASSED}
    rows = []
    for name, found in made.differences.items():
        for measure, one in found.items():
            if not one.clear and measure not in (made.headline, "passed"):
                continue
            form = "{:+.0%}" if measure == "passed" else "{:+.3f}"
            between = one.interval
            shown = "" if between is None else f"{form.format(between.low)} … {form.format(between.high)}"
            verdict = "" if one.clear else ", may be none"
            rows.append([name, titles[measure], form.format(one.value), shown, one.how + verdict])
    return columns, rows


def constraint_table(made: Comparison) -> Grid:
    """How many stories of each approach hold each constraint."""
    names = sorted({name for side in made.sides for name in side.constraints})
    rows = [[name, *(_held(side, name) for side in made.sides)] for name in names]
    return ["constraint", *(side.name for side in made.sides)], rows


def reading_table(made: Comparison) -> Grid:
    """Readability by approach, of whole stories."""
    rows = [
        [title, *(form.format(side.reading[name]) for side in made.sides)] for name, (title, form) in READING.items()
    ]
    return ["mean over stories", *(side.name for side in made.sides)], rows


def worn(made: Comparison) -> list[str]:
    """The openings and names that most stories of an approach share, where at least two do."""
    found = []
    for side in made.sides:
        for kind, ranked in (("begin", side.openings), ("name", side.names)):
            text, count = ranked[0] if ranked else ("", 0)
            if count > 1:
                said = f'begin with "{text}"' if kind == "begin" else f"name {text.title()}"
                found.append(f"{side.name}: {count} of {side.stories - side.short} {said}")
    return found


def markdown(made: Comparison) -> str:
    """The whole comparison as Markdown."""
    parts = ["# Approaches to stories, compared", basis(made) + ".", *(f"- {line}" for line in headline(made))]
    for title, grid in _tables(made):
        if grid[1]:
            parts += [f"## {title}", _table(*grid)]
    parts += ["## What the measures do not see", *(f"- {line}" for line in defects(made))]
    return "\n\n".join(parts).replace("\n\n- ", "\n- ") + "\n"


def html(made: Comparison) -> str:
    """The whole comparison as one page, the trade-off first."""
    lines = [*headline(made), *worn(made)]
    picture = trade_off(made)
    sections = [Section("How different the stories are", [basis(made) + ".", notes(lines)])]
    if picture:
        sections.append(Section("Constraints against variety", [picture]))
    for title, (columns, rows) in _tables(made):
        if rows:
            cells: list[list[Cell | str]] = [list(row) for row in rows]
            sections.append(Section(title, [Table(columns, cells)]))
    sections.append(Section("What the measures do not see", [notes(defects(made))]))
    title = f"{len(made.sides)} approaches to stories" if len(made.sides) > 1 else "How varied the stories are"
    return pages.render(title, basis(made), sections)


def trade_off(made: Comparison) -> Markup:
    """The picture: pass rate across, the Vendi score up, with its interval; empty where nothing was checked."""
    dots = []
    for side in made.sides:
        one = side.variety[made.headline]
        if side.passed is not None:
            low, high = (None, None) if one.interval is None else (one.interval.low, one.interval.high)
            dots.append(Dot(side.passed.value, one.value, side.name, side.name, low, high))
    title = f"What is held and how varied it is ({made.n} stories, {made.words} words each)"
    return plots.scatter(dots, "share of stories that pass", measures.get(made.headline).title, title)


def write(path: Path, made: Comparison) -> None:
    """Write the page. **Raises** `ForewordError`."""
    pages.write(path, html(made))


def defects(made: Comparison) -> list[str]:
    """For each measure where it comes from, and what misleads."""
    known = [one for one in measures.MEASURES if one.name in made.sides[0].variety]
    return [f"{one.title} ({one.source}): {one.defect}" for one in known]


def _tables(made: Comparison) -> list[tuple[str, Grid]]:
    return [
        ("Overview", overview(made)),
        (f"Differences from {made.baseline}", differences(made)),
        ("Variety", all_measures(made)),
        ("Constraints held, strictly read", constraint_table(made)),
        ("Readability", reading_table(made)),
    ]


def _about(side: Side, made: Comparison) -> str:
    one = side.variety[made.headline]
    text = f"{one.value:.1f}"
    return text if one.interval is None else f"{text} ({one.interval.low:.1f} to {one.interval.high:.1f})"


def _form(name: str) -> str:
    return "{:.1f}" if name in ("self_bleu", "groups") else "{:.2f}" if name.startswith(("vendi", "comp")) else "{:.3f}"


def _ranged(one: Estimate, form: str) -> str:
    value = form.format(one.value)
    return (
        value
        if one.interval is None
        else f"{value} [{form.format(one.interval.low)}, {form.format(one.interval.high)}]"
    )


def _held(side: Side, name: str) -> str:
    held, total = side.constraints.get(name, (0, 0))
    return f"{held} of {total}" if total else ""


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
