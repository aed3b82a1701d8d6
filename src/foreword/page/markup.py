"""Elements of HTML and SVG as text: whatever is not markup already is escaped."""

from __future__ import annotations

from markupsafe import Markup, escape

Content = str | Markup
"""Text, which is escaped, or markup, which is not."""


def tag(_name: str, *children: Content, **attributes: object) -> Markup:
    """One element. An attribute's `_` is written `-`, one at its end is dropped (`class_`), and None leaves it out."""
    written = Markup("").join(
        Markup(' {}="{}"').format(Markup(key.rstrip("_").replace("_", "-")), value)
        for key, value in attributes.items()
        if value is not None
    )
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(_name), written, join(*children))


def join(*parts: Content) -> Markup:
    """Parts one after another."""
    return Markup("").join(escape(part) for part in parts)
