"""The page: complete, self-contained, safe with anybody's text, and written in one stroke."""

from __future__ import annotations

import dataclasses
import os
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.errors import ForewordError
from foreword.evaluation import report
from support.pages import Page

MAJORITY = report.RunSummary("Majority class", "majority", "", 0.6, 0.375, 0, None, 200, True)
TUNED = report.RunSummary("Tuned", "p-tuning-v2", "minilm-l6", 0.87, 0.86, 74498, 83.2, 200, False, "foreword train x")
STUCK = report.RunSummary("Stuck", "prompt-tuning", "minilm-l6", 0.6, 0.375, 7680, 131.0, 200, True)
CURVE = report.Curve("Tuned", [(0, 0.7), (10, 0.4), (20, 0.3)], [(10, 0.8), (20, 0.87)])


def render(**changes) -> str:
    values = {"title": "A page", "table": [MAJORITY, TUNED, STUCK], "curves": [CURVE]} | changes
    return report.render_report(**values)


def test_what_was_measured_is_on_the_page():
    page = Page(
        render(
            examples=[
                report.Prediction("Lovely.", "positive", 0.987, "positive"),
                report.Prediction("Hm.", "negative"),
            ],
            notes=["Two texts were cut."],
            provenance={"seed": 3, "versions": {"torch": "2.13.0"}, "labels": ["bad", "good"]},
        )
    )
    for text in ("87.0 %", "60.0 %", "74,498", "83 s", "2 min 11 s", "Lovely.", "98.7 %", "Two texts were cut."):
        assert text in page.words
    for text in ("torch 2.13.0", "bad, good", "foreword train x"):
        assert text in page.words
    assert page.words.count("degenerate") == 1, "the stuck run, and not the majority baseline"


def test_it_asks_for_nothing_from_outside():
    text = render(examples=[report.Prediction("see https://example.org/a.png", "x")])
    for tag, attributes in Page(text).seen:
        assert tag not in {"script", "img", "iframe", "object", "embed"}
        for name in ("src", "href", "xlink:href", "srcset", "data"):
            assert (attributes.get(name) or "data:,") == "data:,"
    assert not re.search(r"@import|url\(", text)
    assert "default-src 'none'" in text


@settings(max_examples=20, deadline=None)
@given(st.text(min_size=1))
def test_any_text_is_shown_and_never_becomes_markup(text):
    hostile = "</blockquote><script>x</script>" + text
    run = dataclasses.replace(TUNED, name=hostile, command=hostile)
    page = Page(render(table=[run], title=hostile, notes=[hostile], examples=[report.Prediction(hostile, hostile)]))
    assert "script" not in {tag for tag, _ in page.seen}
    assert "<script>x</script>" in page.words


def test_bars_and_majority_line_have_the_right_lengths():
    seen = Page(render()).seen
    widths = [a["width"] for tag, a in seen if tag == "rect" and "value" in (a.get("class") or "")]
    assert widths == ["60.00%", "87.00%", "60.00%"]
    lines = [a["x1"] for tag, a in seen if tag == "line" and a.get("class") == "majority" and a["x1"] != "0"]
    assert lines == ["60.00%"] * 3


def test_without_a_baseline_there_is_no_line():
    assert "majority class" not in Page(render(table=[TUNED])).words
    assert "majority class everywhere: 55.0 %" in Page(render(table=[TUNED], majority=0.55)).words
    assert "nan" not in render(table=[TUNED], majority=float("nan")).lower()


def test_the_best_run_is_neither_degenerate_nor_the_baseline():
    assert report._best([MAJORITY, STUCK]) is None
    assert report._best([MAJORITY, STUCK, TUNED]) is TUNED
    assert report._best([dataclasses.replace(TUNED, accuracy=None)]) is None


points = st.lists(
    st.tuples(st.integers(0, 10**6), st.floats(allow_nan=True, allow_infinity=True, width=32)), max_size=8
)


@settings(max_examples=60, deadline=None)
@given(points, points)
def test_every_point_of_a_curve_lies_in_the_drawing(losses, validation):
    page = Page(render(curves=[report.Curve("a", sorted(losses), sorted(validation)), CURVE]))
    lines = [a for tag, a in page.seen if tag == "polyline"]
    assert 2 <= len(lines) <= 4
    for attributes in lines:
        for pair in (attributes["points"] or "").split():
            assert all(-0.01 <= float(number) <= 100.01 for number in pair.split(","))


def test_an_empty_report_is_still_a_page():
    assert "Nothing yet" in Page(render(title="Nothing yet", table=[], curves=[])).words


def test_it_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = report.write_report(tmp_path / "new" / "report.html", title="First", table=[TUNED])
    before = path.read_text(encoding="utf-8")
    assert "First" in before

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ForewordError, match="No space left on device") as caught:
        report.write_report(path, title="Second", table=[TUNED])
    assert caught.value.where == str(path)
    assert path.read_text(encoding="utf-8") == before
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ForewordError, match="cannot write the page"):
        report.write_report(tmp_path / "file" / "report.html", title="x", table=[])


def test_half_a_character_does_not_lose_the_page(tmp_path):
    path = report.write_report(tmp_path / "r.html", title="broken \ud83d", table=[TUNED])
    assert "broken ?" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("seconds", "told"), [(119.7, "2 min 0 s"), (99.6, "1 min 40 s"), (99.4, "99 s"), (3.04, "3.0 s")]
)
def test_no_minute_has_sixty_seconds(seconds, told):
    assert report._duration(seconds) == told
