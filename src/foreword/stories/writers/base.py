"""What a writer is asked, and what it gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from foreword.errors import ForewordError

Finished = Literal["end", "length", "refused", "interrupted"]
Advance = Callable[[int], None]
"""Is told how many tokens were generated since the last call."""


class Guide(Protocol):
    """Goes along with a text while it is written, and is asked at the end of each sentence.

    Its answers are functions of what they are given, so a sentence can be taken back.
    """

    @property
    def tries(self) -> int:
        """How often a sentence is taken back at one place before it stays as it is."""

    def judge(self, text: str, tries: int) -> str:
        """What is wrong with the last sentence of the text so far, or nothing; it was taken back `tries` times."""

    def lead(self, text: str, given: Sequence[str], tries: int) -> str | None:
        """What the next sentence begins with, white space included; nothing, or None where the text is finished.

        `given`: all that was given before, in order.
        """


@dataclass(frozen=True, slots=True)
class Request:
    """One text to write: the prompt, the words that the answer begins with, and between how many words it has.

    `lead` is no part of the count. `seed`: the same request gives the same text, from a writer of this machine.
    `guide`: it decides when the text ends; for writers that can be guided (`Writer.guides`).
    """

    prompt: str
    seed: int
    least: int
    most: int
    lead: str = ""
    guide: Guide | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """One answer. `text`: what was written behind the lead. `tokens` of it, and `seconds` of its share of the time.

    `finished`: the writer ended it, the length did, it was refused, or an interrupt came. `given`: the words in it that
    a guide gave; `undone`: what the guide took back, each with what was wrong. Undone tokens count as well.
    """

    text: str
    tokens: int
    seconds: float
    finished: Finished
    given: tuple[str, ...] = ()
    undone: tuple[tuple[str, str], ...] = ()


def joined(lead: str, answer: str) -> str:
    """The lead with what was written behind it, and a space where a sentence would touch the next."""
    touches = lead.endswith((".", "!", "?", ",", ":", '"', "”")) and answer[:1] not in ("", " ", "\n")
    return f"{lead} {answer}" if touches else lead + answer


Done = Callable[[int, Draft | ForewordError], None]
"""Is told the number of a request, and its draft or what went wrong, as soon as it is known."""


class WriterStopped(ForewordError):
    """The writer cannot go on at all: a budget is spent, a key is refused. What was written before is kept."""


class Writer(ABC):
    """Writes texts for requests.

    `strong`: it follows long instructions, so it can plan, rewrite, and give several stories in one answer. `leads`: it
    begins an answer with the very words it is given. `guides`: it takes a guide along.
    """

    name: str
    strong: ClassVar[bool]
    leads: ClassVar[bool]
    guides: ClassVar[bool] = False

    def describe(self) -> dict[str, Any]:
        """What the texts depend on besides the requests: the model, and how it is sampled. No secrets."""
        return {"model": self.name}

    @abstractmethod
    def capacity(self, prompt: str) -> int | None:
        """About how many words fit behind a prompt, or None where no limit is known."""

    @abstractmethod
    def write(self, requests: Sequence[Request], done: Done, advance: Advance) -> None:
        """Write all requests; each is told to `done` when it is ready, in any order.

        **Raises** `WriterStopped` when it cannot go on; what `done` was told is all there is.
        """
