"""A page from its sections, and the file it is written to."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from foreword.errors import ForewordError
from foreword.page.parts import Table

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
    return str(_template().render(title=title, subtitle=subtitle, sections=shown, footer=footer))


def write(path: str | Path, html: str) -> Path:
    """Write a page in one stroke, and return its path.

    **Raises** `ForewordError` where it cannot be written; a page that was there before is then untouched.
    """
    place = Path(path)
    # A lone surrogate in somebody's data is no reason to lose the page.
    _replace(place, html.encode("utf-8", errors="replace"))
    return place


@cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("foreword.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2")


def _replace(path: Path, content: bytes) -> None:
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)  # mkstemp makes it private; a page is there to be shown
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        reason = error.strerror or str(error)
        raise ForewordError(
            f"cannot write the page: {reason}", where=str(path), do="give another place, or make room there"
        ) from None
