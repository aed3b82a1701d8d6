"""What a page has beside drawings: tables, notes, facts, commands, quoted texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from foreword.page.markup import Content, tag
from foreword.page.scales import percent


@dataclass(frozen=True, slots=True)
class Cell:
    """A table's cell: `text`, with a small `note` below it and a `tag` behind it; `href` leads on.

    `warn` colours the tag as a warning, `strong` prints the text bold.
    """

    text: str
    note: str = ""
    tag: str = ""
    href: str | None = None
    warn: bool = False
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under named columns; all columns but the first `texts` hold numbers and stand to the right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    texts: int = 1
    caption: str = ""

    def __html__(self) -> str:
        head = (tag("th", name, scope="col", class_=self._class(j)) for j, name in enumerate(self.columns))
        body = (tag("tr", *(self._cell(j, cell) for j, cell in enumerate(row))) for row in self.rows)
        caption = tag("caption", self.caption) if self.caption else ""
        table = tag("table", caption, tag("thead", tag("tr", *head)), tag("tbody", *body))
        return tag("div", table, class_="wide")

    def _class(self, column: int) -> str | None:
        return "number" if column >= self.texts else None

    def _cell(self, column: int, given: Cell | str) -> Markup:
        cell = given if isinstance(given, Cell) else Cell(given)
        text: Content = tag("strong", cell.text) if cell.strong else cell.text
        if cell.href:
            text = tag("a", text, href=cell.href)
        label = tag("span", cell.tag, class_=f"tag {'warn' if cell.warn else 'best'}") if cell.tag else ""
        note = tag("small", cell.note) if cell.note else ""
        inside = tag("span", text, " " if label else "", label, note)
        return tag("td", inside, class_=self._class(column), data_label=self.columns[column] if column else None)


@dataclass(frozen=True, slots=True)
class Quote:
    """A text with what was `answered`, how sure that was (0 … 1), and what is right, where that is known."""

    text: str
    answered: str
    probability: float | None = None
    target: str | None = None


def notes(items: Sequence[str]) -> Markup:
    """A list of sentences."""
    return tag("ul", *(tag("li", item) for item in items), class_="notes")


def facts(values: Mapping[str, object]) -> Markup:
    """Names and values. A mapping or a list is written in one line."""
    pairs = (part for name, value in values.items() for part in (tag("dt", name), tag("dd", _plain(value))))
    return tag("dl", *pairs, class_="facts")


def commands(values: Mapping[str, str]) -> Markup:
    """What to type, under what it does."""
    pairs = (part for name, line in values.items() for part in (tag("dt", name), tag("dd", tag("code", line))))
    return tag("dl", *pairs, class_="commands")


def folded(summary: str, *inside: Content) -> Markup:
    """Something long that is shown when its summary is clicked, and printed whole."""
    return tag("details", tag("summary", summary), *inside)


def quotes(items: Sequence[Quote]) -> Markup:
    """Texts with their answers."""
    return tag("ul", *(_quote(item) for item in items), class_="examples")


def grid(*figures: Content) -> Markup:
    """Drawings side by side, below each other where the page is narrow; empty ones are left out."""
    return tag("div", *(figure for figure in figures if figure), class_="charts")


def _quote(item: Quote) -> Markup:
    sure = "" if item.probability is None else tag("span", f"{100 * item.probability:.1f} %")
    gauge: Content = ""
    if item.probability is not None:
        track = tag("rect", width="100%", height=4, rx=2)
        value = tag("rect", class_="value", width=percent(item.probability), height=4, rx=2)
        gauge = tag("svg", track, value, class_="gauge", aria_hidden="true")
    verdict: Content = ""
    if item.target is not None:
        right = item.target == item.answered
        said = "✓ right" if right else f"✗ wrong: it is {item.target}"
        verdict = tag("p", said, class_=f"verdict {'right' if right else 'wrong'}")
    answer = tag("div", item.answered, " " if sure else "", sure, class_="answer")
    return tag("li", tag("blockquote", item.text), tag("div", answer, gauge, verdict))


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value))
    return str(value)
