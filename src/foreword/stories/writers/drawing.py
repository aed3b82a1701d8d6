"""The next token of one text of a model of this machine: the rules against circles, and its guide."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from foreword.config import GenerationOptions
from foreword.generation import sampling
from foreword.stories.writers.base import Guide

LIKELY = 256
"""So many tokens are drawn from, the most likely ones: to sort a whole vocabulary takes as long as the model."""
RUNAWAY = 70
"""A guided sentence of so many tokens has lost its way, wherever it would end."""
_ENDS = re.compile(r"(?<!\bMr)(?<!\bMrs)(?<!\bDr)[.!?…][\"'”’)]*\Z")


@dataclass(frozen=True)
class Rules:
    """How tokens are drawn: see `LocalWriter`. `ends`: the tokens that end a text."""

    options: GenerationOptions
    repetition_penalty: float
    no_repeat_ngram_size: int
    ends: Collection[int]


@dataclass
class _Anchor:
    """Where a sentence began: how many tokens and given words stood before it, and the logits `[V]` behind them.

    `tries`: how often the sentence was taken back.
    """

    length: int
    logits: Tensor
    given: int
    tries: int = 0


class Drawing:
    """One text that is drawn from a prompt's ids, by a seed, behind a `lead`.

    `ids`: its tokens. `spent`: all that it took, those that were undone too. `given`: the words in it that its guide
    gave; `undone`: the sentences that the guide took back, each with what was wrong.
    """

    def __init__(
        self,
        tokenizer: Any,
        rules: Rules,
        prompt: Sequence[int],
        seed: int,
        *,
        lead: str = "",
        before: Sequence[int] = (),
        guide: Guide | None = None,
        least: int = 0,
    ) -> None:
        """`before`: the ids of the lead, which count as text. `least`: it does not end before so many tokens."""
        self.rules, self.guide, self.ids = rules, guide, list[int]()
        self.spent, self.given, self.undone = 0, list[str](), list[tuple[str, str]]()
        self._tokenizer, self._lead, self._before, self._least = tokenizer, lead, list(before), least
        self._chance = sampling.generator(seed, prompt, 0)
        self._queue: deque[int] = deque()
        self._anchor: _Anchor | None = None
        self._used, self._seen = set[int](), dict[tuple[int, ...], set[int]]()
        self._recall()

    @property
    def settled(self) -> int:
        """How many of the tokens will not be taken back."""
        return len(self.ids) if self._anchor is None else self._anchor.length

    def choose(self, logits: Tensor) -> tuple[int | None, int]:
        """The next token of `[V]` logits, or None where the guide ends the text; how many go before, of the last.

        The logits are those behind all tokens. Whoever asks takes the last tokens back where there are such.
        """
        if self.guide is not None and self._anchor is None:
            self._anchor = _Anchor(0, logits, 0)
            if words := self.guide.lead(self._lead, (), 0):
                self._give(words)
        token, struck = self._draw(logits), 0
        if self.guide is not None:
            before = len(self.ids)
            following = self._guided(self.guide, logits, token)
            if following is None:
                return None, 0
            token, struck = following, before - len(self.ids)
        self.ids.append(token)
        self.spent += 1
        self._note([*self._before, *self.ids])
        return token, struck

    def _guided(self, guide: Guide, logits: Tensor, token: int) -> int | None:
        """The token that follows instead of the one that was drawn; None where the text is finished."""
        anchor = self._anchor
        assert anchor is not None
        if self._queue:
            return self._queue.popleft()
        text = self._text()
        ends, runaway = self._ends(text, token), len(self.ids) - anchor.length > RUNAWAY
        if not ends and not runaway:
            return token
        problem = "it runs on" if runaway else guide.judge(text, anchor.tries)
        if problem and anchor.tries < guide.tries:
            return self._again(guide, anchor, problem, text)
        if not ends:
            return token
        self._anchor = _Anchor(len(self.ids), logits, len(self.given))
        words = guide.lead(text, tuple(self.given), 0)
        if words is None:
            return None
        if not words:
            return token
        self._give(words)
        return self._queue.popleft()

    def _again(self, guide: Guide, anchor: _Anchor, problem: str, text: str) -> int:
        """Take the last sentence back; the first token of another one."""
        del self.ids[anchor.length :], self.given[anchor.given :]
        before = self._text()
        self.undone.append((problem, text[len(before) :].strip()))
        self._recall()
        anchor.tries += 1
        if words := guide.lead(before, tuple(self.given), anchor.tries):
            self._give(words)
            return self._queue.popleft()
        return self._draw(anchor.logits)

    def _give(self, words: str) -> None:
        """Put the guide's words into the queue."""
        self.given.append(words.strip())
        self._queue.extend(self._tokenizer(words, add_special_tokens=False)["input_ids"])

    def _ends(self, text: str, token: int) -> bool:
        """Whether a sentence ends with the text, as shows by the token behind it."""
        piece = self._tokenizer.decode([token])
        parted = piece[:1].isspace() and not piece.strip()[:1].islower()
        return parted and _ENDS.search(text) is not None

    def _text(self) -> str:
        decoded: str = self._tokenizer.decode(self.ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return self._lead + decoded

    def _draw(self, logits: Tensor) -> int:
        likely = self._ruled(logits)[None].topk(min(LIKELY, len(logits)))
        chosen = sampling.draw(sampling.shaped(likely.values, self.rules.options), [self._chance])
        return int(likely.indices[0, chosen[0]])

    def _ruled(self, logits: Tensor) -> Tensor:
        """`[V]` logits, less for what was there; no end before the least length, no run of tokens that was there.

        A guide ends its text itself.
        """
        penalty, size, ruled = self.rules.repetition_penalty, self.rules.no_repeat_ngram_size, logits.clone()
        if used := sorted(self._used):
            own = ruled[used]
            ruled[used] = torch.where(own > 0, own / penalty, own * penalty)
        if self.rules.ends and (self.guide is not None or len(self.ids) < self._least):
            ruled[list(self.rules.ends)] = -torch.inf
        if size:
            text = [*self._before, *self.ids]
            if again := self._seen.get(tuple(text[len(text) + 1 - size :])):
                ruled[list(again)] = -torch.inf
        return ruled

    def _note(self, text: Sequence[int]) -> None:
        """The last token of the text stands in it by now, and behind those before it."""
        self._used.add(text[-1])
        size = self.rules.no_repeat_ngram_size
        if size and len(text) >= size:
            *before, last = text[-size:]
            self._seen.setdefault(tuple(before), set()).add(last)

    def _recall(self) -> None:
        """Note all tokens of the text anew."""
        self._used, self._seen = set(), {}
        text = [*self._before, *self.ids]
        for end in range(1, len(text) + 1):
            self._note(text[:end])
