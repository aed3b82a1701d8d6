"""Drawings: marks lie where their numbers are, nothing lies outside, any name stays text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.page import scales
from foreword.page.plots import Bar, Dot, bars, heatmap, line_chart, scatter
from support.pages import Page

numbers = st.floats(allow_nan=True, allow_infinity=True, width=32)
points = st.lists(st.tuples(st.integers(0, 10**6), numbers), max_size=8)


def marks(drawing: str, name: str) -> list[dict[str, str]]:
    return [{k: v or "" for k, v in a.items()} for tag, a in Page(drawing).seen if tag == name]


def share(text: str) -> float:
    return float(text.removesuffix("%"))


@settings(max_examples=60, deadline=None)
@given(st.lists(points, min_size=1, max_size=4))
def test_every_point_of_a_line_lies_in_the_drawing(series):
    drawing = line_chart({f"s{k}": sorted(one) for k, one in enumerate(series)}, "step", "loss", "t")
    shown = [one for one in series if any(math.isfinite(y) for _, y in one)]
    lines = marks(drawing, "polyline") if drawing else []
    assert len(lines) == len(shown)
    for line in lines:
        for pair in line["points"].split():
            assert all(-0.01 <= float(number) <= 100.01 for number in pair.split(","))


def test_lines_rise_upwards_end_where_they_ended_and_keep_their_colours():
    drawing = line_chart({"silent": [], "one": [(0, 0.2), (10, 0.87)]}, "step", "accuracy", "Validation")
    (line,) = marks(drawing, "polyline")
    first, last = ([float(n) for n in pair.split(",")] for pair in line["points"].split())
    assert line["class"] == "c1", "the second series, though the first is not drawn"
    assert last[0] == 100 and first[1] > last[1], "better is higher, and an SVG counts downwards"
    page = Page(drawing)
    assert "accuracy by step: one ends at 0.870" in page.words
    (svg,) = [a for tag, a in page.seen if tag == "svg" and a.get("role") == "img"]
    assert svg["class"] == "plot"


def test_more_lines_than_colours_are_told_apart():
    drawing = line_chart({str(k): [(0, k), (1, k)] for k in range(8)}, "x", "y", "t")
    assert len({line["class"] for line in marks(drawing, "polyline")}) == 8


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(numbers, numbers), max_size=12), st.booleans())
def test_dots_lie_in_the_drawing_and_what_has_no_place_is_left_out(given_points, log_x):
    dots = [Dot(x, y, f"d{k}", low=y, high=y) for k, (x, y) in enumerate(given_points)]
    drawing = scatter(dots, "x", "y", "t", log_x=log_x)
    kept = [d for d in dots if math.isfinite(d.x) and math.isfinite(d.y) and (d.x > 0 or not log_x)]
    circles = marks(drawing, "circle") if drawing else []
    assert len(circles) == len(kept)
    assert all(0 <= share(c[side]) <= 100 for c in circles for side in ("cx", "cy"))


def test_a_logarithmic_axis_puts_each_factor_at_equal_distance():
    drawing = scatter([Dot(10, 1, "a"), Dot(100, 2, "b"), Dot(1000, 3, "c")], "x", "y", "t", log_x=True)
    assert [share(c["cx"]) for c in marks(drawing, "circle")] == [0, 50, 100]


def test_labels_at_one_place_are_moved_apart():
    shifts = scales.spread([(0.5, 0.5)] * 4, 240)
    assert len(set(shifts)) == 4 and min(abs(a - b) for a in shifts for b in shifts if a != b) >= 14


def test_bars_begin_at_zero_whichever_way_they_go():
    drawing = bars([Bar("up", 0.5), Bar("down", -0.5), Bar("none", math.nan)], "t", line=0.25, line_name="here")
    values = [m for m in marks(drawing, "rect") if m["class"] == "value"]
    assert [(share(v["x"]), share(v["width"])) for v in values] == [(50, 50), (0, 50)]
    assert [m["x1"] for m in marks(drawing, "line") if m["class"] == "majority" and m["x1"] != "0"] == ["75.00%"] * 2
    assert "here" in Page(drawing).words


def test_a_cell_is_the_stronger_the_further_from_zero():
    drawing = heatmap([[0.5, -1.0], [0.0, math.nan]], ["a", "b"], ["x", "y"], "t")
    cells = marks(drawing, "rect")
    assert [c["class"] for c in cells] == ["f0", "f1", "f0"]
    strengths = [float(c["fill-opacity"]) for c in cells]
    assert strengths[1] > strengths[0] > strengths[2]
    assert all(f">{text}</text>" in drawing for text in ("a", "b", "x", "y", "0.5", "-1"))


HOSTILE = "</svg><script>x</script>\"'&"


def test_any_name_is_shown_and_never_becomes_markup():
    made = (
        line_chart({HOSTILE: [(0, 1), (1, 2)]}, HOSTILE, HOSTILE, HOSTILE)
        + scatter([Dot(1, 1, HOSTILE, group=HOSTILE)], HOSTILE, HOSTILE, HOSTILE)
        + bars([Bar(HOSTILE, 1, HOSTILE, note=HOSTILE)], HOSTILE, line=1, line_name=HOSTILE)
        + heatmap([[1.0]], [HOSTILE], [HOSTILE], HOSTILE)
    )
    page = Page(made)
    assert "script" not in {tag for tag, _ in page.seen}
    assert page.words.count(HOSTILE) >= 9


@pytest.mark.parametrize("drawing", [line_chart({}, "x", "y", "t"), scatter([], "x", "y", "t"), bars([], "t")])
def test_nothing_to_draw_is_no_drawing(drawing):
    assert drawing == ""


@settings(max_examples=100, deadline=None)
@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_ticks_enclose_the_values_with_few_round_numbers(a, b):
    low, high = min(a, b), max(a, b)
    ticks = scales.ticks(low, high)
    slack = 1e-9 * max(abs(low), abs(high), 1e-3)
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    assert 2 <= len(ticks) <= 7
    assert ticks == sorted(set(ticks))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(1e-9, 1e12), min_size=1, max_size=5))
def test_powers_of_ten_enclose_the_values(values):
    scale = scales.logarithmic(values)
    assert scale.low <= min(values) * 1.0000001 and scale.high >= max(values) * 0.9999999
    assert 2 <= len(scale.ticks) <= 8
