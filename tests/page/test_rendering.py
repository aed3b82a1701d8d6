"""A page from sections: whole, self-contained, escaped."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.page.parts import Cell, Quote, Table, commands, facts, folded, grid, notes, quotes
from foreword.page.plots import line_chart
from foreword.page.render import Section, render, write
from support.pages import Page


def page(text: str) -> str:
    table = Table(("name", "score"), [(Cell(text, text, text, "#r"), Cell(text, strong=True))], caption=text)
    drawing = line_chart({text: [(0, 1), (1, 2)]}, text, text, text)
    parts = [text, table, grid(drawing), notes([text]), facts({text: {text: [text]}}), commands({text: text})]
    return render(
        text, text, [Section(text, [*parts, quotes([Quote(text, text, 0.5, text)]), folded(text, text)], "r")]
    )


@settings(max_examples=20, deadline=None)
@given(st.text(min_size=1, max_size=20))
def test_any_text_is_shown_everywhere_and_never_becomes_markup(text):
    hostile = "</section><script>x</script>" + text
    read = Page(page(hostile))
    assert "script" not in {tag for tag, _ in read.seen}
    assert read.words.count("<script>x</script>") > 15


def test_it_asks_for_nothing_from_outside():
    text = page("see https://example.org/a.png")
    for tag, attributes in Page(text).seen:
        assert tag not in {"script", "img", "iframe", "object", "embed"}
        for name in ("src", "href", "xlink:href", "srcset", "data"):
            assert (attributes.get(name) or "#").startswith(("#", "data:,"))
    assert not re.search(r"@import|url\(", text)
    assert "default-src 'none'" in text


def test_numbers_stand_to_the_right_and_are_named_on_a_narrow_page():
    seen = Page(str(Table(("name", "kind", "score"), [("a", "b", "1")], texts=2).__html__())).seen
    cells = [a for tag, a in seen if tag == "td"]
    assert [(c.get("class"), c.get("data-label")) for c in cells] == [
        (None, None), (None, "kind"), ("number", "score"),
    ]  # fmt: skip


def test_links_lead_to_the_sections_they_name():
    seen = Page(page("x")).seen
    assert {a["href"] for tag, a in seen if tag == "a"} == {"#r"}
    assert "r" in {a.get("id") for tag, a in seen if tag == "section"}


def test_half_a_character_does_not_lose_the_page(tmp_path):
    path = write(tmp_path / "new" / "r.html", page("broken \ud83d"))
    assert "broken ?" in path.read_text(encoding="utf-8")
