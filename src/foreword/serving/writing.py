"""A text that is being written: what was asked for, what is there so far, and what of it may be told already."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

import torch
from torch import Tensor

from foreword.config import GenerationOptions
from foreword.generation import sampling
from foreword.generation.stopping import Reason, Stopping
from foreword.serving.residents import Resident, rest_of
from foreword.text.rows import Row

_BYTE = re.compile("<0x[0-9A-F]{2}>")


@dataclass(frozen=True, slots=True)
class Token:
    """One token that was written: its log-probability, and the likeliest ones, under the model's own distribution."""

    id: int
    log_probability: float
    likeliest: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """What became known of one answer: more `text`, the `tokens` behind it, and how it ended, if it did."""

    choice: int
    text: str
    tokens: tuple[Token, ...]
    finished: Reason | None = None


Event = Piece | Exception
Tell = Callable[[Event], None]


class Chooser(Protocol):
    """Chooses the tokens of one text, in the engine's thread."""

    @property
    def settled(self) -> int:
        """How many of the tokens will not be taken back."""

    def choose(self, logits: Tensor) -> tuple[int | None, int]:
        """The next token of `[V]` logits, or None where the text is finished; how many of the last go before it."""


@dataclass(eq=False)
class Writing:
    """A request for `choices` continuations of one row, under a foreword or none.

    `tell` is called in the engine's thread, with every piece and with the error that ended it, if one did. `top`: how
    many of the likeliest tokens are told of each. `cancelled` is set by whoever asked, and ends it. `chooser`
    chooses the tokens in place of the `options`, for a request of one choice.
    """

    row: Row
    resident: Resident | None
    options: GenerationOptions
    tell: Tell
    choices: int = 1
    top: int = 0
    chooser: Chooser | None = None
    arrived: float = field(default_factory=perf_counter)
    cancelled: bool = False
    begun: bool = False

    def __post_init__(self) -> None:
        rest = rest_of(self.row, None if self.resident is None else self.resident.front)
        self.behind = rest is not None
        """Whether the row stands behind the foreword's front, of which it then lacks the tokens in `rest`."""
        self.rest = self.row if rest is None else rest

    @property
    def owner(self) -> str | None:
        """The foreword's key in the bank."""
        return None if self.resident is None else self.resident.key


class Text:
    """One of a request's answers, under way."""

    def __init__(self, job: Writing, choice: int, tokenizer: Any, position: int) -> None:
        """`position`: where the first token that is written stands."""
        self.job, self.choice, self.position = job, choice, position
        self.ids: list[int] = []
        self.finished: Reason | None = None
        self.last = job.arrived
        self._chance = sampling.generator(job.options.seed, job.row.ids, choice)
        self._stopping, self._tokenizer = Stopping(tokenizer, job.options), tokenizer
        self._told, self._held = 0, list[Token]()

    def choose(self, logits: Tensor) -> tuple[int | None, int]:
        """The next token of `[V]` logits, or None where the text ends; how many of the last are taken back before."""
        if self.job.chooser is not None:
            return self.job.chooser.choose(logits)
        return int(sampling.draw(sampling.shaped(logits[None], self.job.options), [self._chance])), 0

    def strike(self, count: int) -> None:
        """Take the last tokens back, of which nothing was told."""
        if count:
            del self.ids[-count:], self._held[-count:]

    def take(self, token: Token) -> None:
        """A token was written: tell what is certain of the text now."""
        self.ids.append(token.id)
        self._held.append(token)
        reason = self._stopping.reason(self.ids)
        if reason is not None:
            self.end(reason)
            return
        left = 0 if self.job.chooser is None else len(self.ids) - self.job.chooser.settled
        ids = self.ids[: len(self.ids) - left]
        text = self._decode(ids)
        certain = min(len(text) - _uncertain(text, self.job.options.stop_strings), self._settled(ids))
        if certain > self._told:
            self._tell(text[self._told : certain], left)

    def end(self, reason: Reason) -> None:
        """The text ends with the tokens that it has: tell the rest."""
        self.finished = reason
        text = self._stopping.finish(self.ids, 0.0, reason).text
        self._tell(text[self._told :])

    def _tell(self, more: str, left: int = 0) -> None:
        """More of the text, with all tokens but the last `left`."""
        self._told += len(more)
        count = len(self._held) - left
        held, self._held = tuple(self._held[:count]), self._held[count:]
        self.job.tell(Piece(self.choice, more, held, self.finished))

    def _settled(self, ids: Sequence[int]) -> int:
        """How many characters no token can change any more: a run of single bytes is one thing to some tokenizers."""
        run = 0
        while run < len(ids) and _BYTE.fullmatch(str(self._tokenizer.convert_ids_to_tokens(ids[-1 - run]))):
            run += 1
        return len(self._decode(ids[:-run])) if run else sys.maxsize

    def _decode(self, ids: Sequence[int]) -> str:
        text = self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text


def _uncertain(text: str, stops: Sequence[str]) -> int:
    """How many characters at the end may still change: a broken character, or what may become a stop string."""
    broken = len(text) - len(text.rstrip("\ufffd"))
    begun = [size for stop in stops for size in range(1, min(len(stop), len(text) + 1)) if text.endswith(stop[:size])]
    return max([broken, *begun])


def tokens_of(logits: Tensor, chosen: Sequence[int], tops: Sequence[int]) -> list[Token]:
    """The chosen token of each row of `[B, V]` logits, with as many of the likeliest as its request wants."""
    logs = logits.log_softmax(-1)
    own = logs.gather(1, torch.tensor(list(chosen), device=logs.device)[:, None])[:, 0].tolist()
    most = max(tops)
    values, ids = logs.topk(min(most, logs.shape[1])) if most else (logs[:, :0], logs[:, :0])
    pairs = [list(zip(i, v, strict=True)) for i, v in zip(ids.tolist(), values.tolist(), strict=True)]
    return [
        Token(token, value, tuple((int(i), v) for i, v in pair[:top]))
        for token, value, pair, top in zip(chosen, own, pairs, tops, strict=True)
    ]
