"""A page from its sections, and the file it is written to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from foreword.page.parts import Table
from foreword.whole import put

Part = str | Markup | Table
"""A paragraph of text; a drawing or other markup; a table."""


@dataclass(frozen=True, slots=True)
class Section:
    """A card of the page: its title and what is in it, in order. `anchor` is what links within the page lead to."""

    title: str
    parts: Sequence[Part] = ()
    anchor: str = ""


def render(
    title: str, subtitle: str | Markup, sections: Sequence[Section], footer: str = "Written by foreword."
) -> str:
    """One HTML document that needs nothing else. Everything that is not `Markup` is escaped."""
    shown = [
        (section, [(None if type(part) is str else part, part) for part in section.parts if part])
        for section in sections
    ]
    return str(
        template("foreword.page", "page.html.j2").render(title=title, subtitle=subtitle, sections=shown, footer=footer)
    )


def write(path: str | Path, html: str) -> Path:
    """Write a page in one stroke, and return its path.

    **Raises** `ForewordError` where it cannot be written; a page that was there before is then untouched.
    """
    place = Path(path)
    # A lone surrogate in somebody's data is no reason to lose the page.
    put(place, html.encode("utf-8", errors="replace"), "the page")
    return place


@cache
def template(package: str, name: str) -> Any:
    """A template of a package's `templates/`: what is put in is escaped, and what is missing is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
