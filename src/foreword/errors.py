"""Errors that a user can act on: what happened, where, and what to do about it.

Every message of the program to a user who made a mistake, or whose files or machine did, is a `ForewordError`.
The command line prints it without a stack trace and exits with code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ForewordError(Exception):
    """A failure that the user can mend.

    **Arguments:** `what` happened, `where` (a file and line, a field, a row), and what to `do`.
    """

    def __init__(self, what: str, *, where: str | None = None, do: str | None = None) -> None:
        super().__init__(what)
        self.what, self.where, self.do = what, where, do

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.do:
            lines.append(f"  do:    {self.do}")
        return "\n".join(lines)


class ConfigError(ForewordError):
    """The run's description is wrong: an unknown field, a bad value, a combination that cannot work."""


class DataError(ForewordError):
    """The examples are wrong: a missing column, a broken line, an empty file, an unknown label."""


class TemplateError(ForewordError):
    """The template or the verbalizer does not fit its text, its fields or the tokenizer."""


class BackboneError(ForewordError):
    """The frozen model cannot be had, or cannot do what is asked of it."""


class ArtifactError(ForewordError):
    """A saved foreword is broken, foreign, or made for another backbone."""


class Interrupted(ForewordError):
    """The user stopped a run; where it has a folder, its state is saved there."""


class Unsupported(ForewordError):
    """A combination of method, readout and backbone family that is refused by name, with the reason."""


def is_text(value: str) -> bool:
    """Whether a string can be written as UTF-8: half of a surrogate pair cannot, and no tokenizer takes it."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint such as "did you mean 'linear'? known: linear, verbalizer"."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}known: {', '.join(names)}"
