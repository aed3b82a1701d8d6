"""Texts of strangers made fit to be shown and saved: no half characters, and nothing that commands a terminal."""

from __future__ import annotations

import re

_HALF = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def paired(text: str) -> str:
    """A text that can be written as UTF-8: half of a surrogate pair becomes U+FFFD."""
    return _HALF.sub("\ufffd", text)


def legible(text: str) -> str:
    """A paired text without control characters but tab and line end, and with one kind of line end."""
    return _CONTROL.sub("", paired(text).replace("\r\n", "\n").replace("\r", "\n"))
