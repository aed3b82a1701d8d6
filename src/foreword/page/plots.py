"""Drawings as SVG: lines, dots, bars and heat maps, each a figure with its title, and a legend where it needs one.

Places are percentages of the drawing, so that it fits any width while its letters keep their size. Colours are the
page's CSS variables, light and dark. Every drawing says in words (`<title>`, `<desc>`) what it shows, and every mark
names its values where a pointer rests on it. What is not finite is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from foreword.page.markup import Content, tag
from foreword.page.scales import Scale, finite, linear, logarithmic, percent, short, spread, steps

COLOURS = 6
"""As many colours as the page's style has; beyond them they repeat, dashed."""
HEIGHT = 240
"""Pixels of a drawing with axes."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Dot:
    """A point of a scatter plot; those of one `group` share a colour; `low` and `high` are its interval along y."""

    x: float
    y: float
    label: str = ""
    group: str = ""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: `kind` is `best`, `plain` (a baseline) or empty; `note` stands behind its name; `text` is its value."""

    name: str
    value: float
    text: str = ""
    kind: str = ""
    note: str = ""
    low: float | None = None
    high: float | None = None


def line_chart(series: Mapping[str, Points], x: str, y: str, title: str, *, diagonal: bool = False) -> Markup:
    """Lines through (x, y) points in order. A series keeps its colour by its place, drawn or not.

    `diagonal` adds the line on which y equals x, both from 0 to 1.
    """
    kept = [(k, name, [p for p in points if finite(p[1])]) for k, (name, points) in enumerate(series.items())]
    kept = [(k, name, points) for k, name, points in kept if points]
    if not kept:
        return Markup("")
    xs, ys = ([p[i] for _, _, points in kept for p in points] for i in (0, 1))
    across, up = (linear([0, 1]), linear([0, 1])) if diagonal else (steps(xs), linear(ys))
    inside = [_drawn(Markup("0,100 100,0"), "axis", True)] if diagonal else []
    marks, legend = [], []
    for k, name, points in kept:
        inside.append(_drawn(_path(points, across, up), f"c{k % COLOURS}", k >= COLOURS))
        end = points[-1]
        told = tag("title", f"{name}: {y} {end[1]:.4g} at {x} {short(end[0])}")
        marks.append(_dot(told, across.share(end[0]), up.share(end[1]), f"f{k % COLOURS}", 3.5))
        legend.append(_key(name, k, "" if diagonal else f"{end[1]:.3f}"))
    body = tag("svg", *inside, width="100%", height="100%", viewBox="0 0 100 100", preserveAspectRatio="none")
    ends = ", ".join(f"{name} ends at {points[-1][1]:.3f}" for _, name, points in kept)
    return _figure(title, f"{y} by {x}: {ends}", [*_axes(across, up, x, y), body, *marks], legend)


def scatter(points: Sequence[Dot], x: str, y: str, title: str, *, log_x: bool = False, front: Points = ()) -> Markup:
    """Dots with their labels beside them; with `log_x` those with x at or below 0 are left out.

    `front`: points that a dashed stair joins, such as the best y that can be had for each x, from left to right.
    """
    kept = [p for p in points if finite(p.x) and finite(p.y) and (p.x > 0 or not log_x)]
    if not kept:
        return Markup("")
    across = logarithmic(p.x for p in kept) if log_x else linear(p.x for p in kept)
    up = linear(v for p in kept for v in (p.y, p.low, p.high) if v is not None)
    groups = list(dict.fromkeys(p.group for p in kept))
    places = [(across.share(p.x), 1 - up.share(p.y)) for p in kept]
    shifts = spread(places, HEIGHT)
    marks: list[Content] = [_stair(front, across, up)] if len(front) > 1 else []
    for p, (left, _), shift in zip(kept, places, shifts, strict=True):
        colour = groups.index(p.group) % COLOURS
        marks += _whisker(p, left, up, colour)
        told = tag("title", f"{p.label or p.group}: {x} {short(p.x)}, {y} {p.y:.4g}")
        marks.append(_dot(told, left, up.share(p.y), f"f{colour}", 4.5))
        if p.label:
            side = {"dx": -9, "text_anchor": "end"} if left > 0.65 else {"dx": 9}
            place = {"x": percent(left), "y": percent(1 - up.share(p.y)), "dy": round(shift + 4)}
            marks.append(tag("text", p.label, class_="name", **place, **side))
    legend = [_key(name, k) for k, name in enumerate(groups) if name] if 1 < len(groups) < len(kept) else []
    listed = ", ".join(f"{p.label or p.group} ({short(p.x)}, {p.y:.4g})" for p in kept[:40])
    return _figure(title, f"{y} by {x}: {listed}", [*_axes(across, up, x, y), *marks], legend)


def bars(
    values: Sequence[Bar],
    title: str = "",
    *,
    line: float | None = None,
    line_name: str = "",
    limit: float | None = None,
) -> Markup:
    """A bar each, below its name and value, with its interval where it has one.

    All begin at 0, and `limit` (default: the largest value) is the full width. `line` is drawn through all of them.
    """
    kept = [b for b in values if finite(b.value)]
    if not kept:
        return Markup("")
    ends = [v for b in kept for v in (b.value, b.low, b.high) if v is not None and finite(v)]
    scale = Scale(min(0.0, *ends), max(limit or 0.0, 0.0, *ends) or 1.0, ())
    at = None if line is None or not finite(line) else percent(scale.share(line))
    rows = [_bar(b, scale, at) for b in kept]
    key = Markup("")
    if at is not None:
        stroke = tag("line", class_="majority", x1=0, x2=22, y1=5, y2=5)
        key = tag("p", tag("svg", stroke, aria_hidden="true"), line_name, class_="key")
    return tag("figure", tag("h3", title) if title else "", *rows, key, class_="bars")


def heatmap(matrix: Sequence[Sequence[float]], rows: Sequence[str], columns: Sequence[str], title: str) -> Markup:
    """A cell for each number `[rows, columns]`: the stronger its colour, the further it is from 0.

    Negative numbers have the second colour. Cells show their numbers where there are at most 12 columns.
    """
    known = [v for row in matrix for v in row if finite(v)]
    most = max(map(abs, known), default=0.0) or 1.0
    wide, high = max(len(columns), 1), max(len(rows), 1)
    cell = 26 if high <= 20 else 14
    body: list[Content] = []
    every = -(-wide // 12)
    body += [
        tag("text", name, x=percent((j + 0.5) / wide), y=-6, text_anchor="middle")
        for j, name in enumerate(columns)
        if j % every == 0
    ]
    for i, (name, row) in enumerate(zip(rows, matrix, strict=True)):
        body.append(tag("text", name, x=-8, y=percent((i + 0.5) / high), dy=4, text_anchor="end"))
        for j, (column, value) in enumerate(zip(columns, row, strict=True)):
            if finite(value):
                body += _cell(f"{name}, {column}", value, most, (i / high, j / wide), (high, wide))
    told = f"{high} by {wide} cells" + (f", from {min(known):.3g} to {max(known):.3g}" if known else "")
    left = min(14, 0.62 * max((len(name) for name in rows), default=0) + 1)
    style = f"height:{cell * high}px;margin-left:{left:.1f}rem;width:calc(100% - {left:.1f}rem)"
    drawing = tag("svg", tag("title", title), tag("desc", told), *body, class_="heat", role="img", style=style)
    return tag("figure", tag("h3", title), drawing)


def _figure(title: str, told: str, body: Iterable[Content], legend: Sequence[Content]) -> Markup:
    drawing = tag("svg", tag("title", title), tag("desc", told), *body, class_="plot", role="img")
    keys = tag("ul", *legend, class_="legend") if legend else Markup("")
    return tag("figure", tag("h3", title), drawing, keys, class_="chart")


def _axes(across: Scale, up: Scale, x: str, y: str) -> list[Content]:
    made: list[Content] = []
    for share, label in up.labels:
        at = percent(1 - share)
        made.append(tag("line", class_="grid", x1=0, x2="100%", y1=at, y2=at))
        made.append(tag("text", label, x=-8, y=at, dy=4, text_anchor="end"))
    made += [
        tag("text", label, x=percent(share), y="100%", dy=18, text_anchor="middle") for share, label in across.labels
    ]
    made.append(tag("line", class_="axis", x1=0, x2="100%", y1="100%", y2="100%"))
    made.append(tag("text", y, class_="axis-name", x=-40, y=-12))
    made.append(tag("text", x, class_="axis-name", x="100%", y="100%", dy=36, text_anchor="end"))
    return made


def _path(points: Points, across: Scale, up: Scale) -> str:
    return " ".join(f"{100 * across.share(a):.2f},{100 - 100 * up.share(b):.2f}" for a, b in points)


def _drawn(points: str, colour: str, dashed: bool) -> Markup:
    return tag("polyline", class_=f"{colour}{' dashed' if dashed else ''}", points=points)


def _stair(front: Points, across: Scale, up: Scale) -> Markup:
    """From each point to the right, and then up to the next."""
    corners = [(b[0], a[1]) for a, b in zip(front, front[1:], strict=False)]
    path = _path([p for pair in zip(front, [*corners, front[-1]], strict=True) for p in pair], across, up)
    line = _drawn(path, "front", True)
    return tag("svg", line, width="100%", height="100%", viewBox="0 0 100 100", preserveAspectRatio="none")


def _dot(told: Markup, left: float, up: float, colour: str, radius: float) -> Markup:
    return tag("circle", told, class_=colour, cx=percent(left), cy=percent(1 - up), r=radius)


def _whisker(p: Dot, left: float, up: Scale, colour: int) -> list[Content]:
    if p.low is None or p.high is None or not (finite(p.low) and finite(p.high)):
        return []
    ends = {"y1": percent(1 - up.share(p.low)), "y2": percent(1 - up.share(p.high))}
    return [tag("line", class_=f"whisker c{colour}", x1=percent(left), x2=percent(left), **ends)]


def _key(name: str, k: int, value: str = "") -> Markup:
    line = tag("line", class_=f"c{k % COLOURS}{' dashed' if k >= COLOURS else ''}", x1=0, x2=20, y1=5, y2=5)
    return tag("li", tag("svg", line, aria_hidden="true"), name, " " if value else "", tag("span", value))


def _bar(b: Bar, scale: Scale, line: str | None) -> Markup:
    zero, end = sorted((scale.share(0.0), scale.share(b.value)))
    text = b.text or f"{b.value:.4g}"
    body: list[Content] = [
        tag("rect", class_="track", width="100%", height=14, y=2, rx=3),
        tag("rect", class_="value", x=percent(zero), width=percent(end - zero), height=14, y=2, rx=3),
    ]
    if b.low is not None and b.high is not None and finite(b.low) and finite(b.high):
        ends = {"x1": percent(scale.share(b.low)), "x2": percent(scale.share(b.high))}
        body.append(tag("line", class_="interval", y1=9, y2=9, **ends))
    if line is not None:
        body.append(tag("line", class_="majority", x1=line, x2=line, y1=-1, y2=19))
    note = tag("span", b.note, class_="tag warn") if b.note else ""
    head = tag("p", tag("span", b.name, " " if note else "", note), tag("b", text))
    drawing = tag("svg", tag("title", f"{b.name}: {text}"), *body, height=18, role="img")
    return tag("div", head, drawing, class_=f"bar {b.kind}".rstrip())


def _cell(name: str, value: float, most: float, place: tuple[float, float], shape: tuple[int, int]) -> list[Content]:
    (top, left), (high, wide) = place, shape
    colour = "f0" if value >= 0 else "f1"
    size = {"width": percent(1 / wide), "height": percent(1 / high)}
    strength = f"{0.06 + 0.74 * abs(value) / most:.3f}"
    told = tag("title", f"{name}: {value:.4g}")
    made: list[Content] = [
        tag("rect", told, class_=colour, fill_opacity=strength, x=percent(left), y=percent(top), **size)
    ]
    if wide <= 12:
        at = {"x": percent(left + 0.5 / wide), "y": percent(top + 0.5 / high)}
        made.append(tag("text", f"{value:.2g}", class_="in", dy=4, text_anchor="middle", **at))
    return made
