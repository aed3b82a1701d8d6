"""One batch of texts of a model of this machine, token by token: the rules against circles, and guides."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from foreword.bank import Bank
from foreword.batch import Item
from foreword.config import GenerationOptions
from foreword.generation import sampling
from foreword.generation.session import Session
from foreword.generation.stopping import Stopping
from foreword.stories.writers.base import Advance, Guide
from foreword.text.rows import Row

LIKELY = 256
"""So many tokens are drawn from, the most likely ones: to sort a whole vocabulary takes as long as the model."""
RUNAWAY = 70
"""A guided sentence of so many tokens has lost its way, wherever it would end."""
_ENDS = re.compile(r"(?<!\bMr)(?<!\bMrs)(?<!\bDr)[.!?…][\"'”’)]*\Z")


@dataclass(frozen=True)
class Rules:
    """How tokens are drawn: see `LocalWriter`."""

    options: GenerationOptions
    repetition_penalty: float
    no_repeat_ngram_size: int


@dataclass
class _Anchor:
    """Where a sentence began: how many tokens and given words stood before it, and the logits `[V]` behind them.

    `tries`: how often the sentence was taken back.
    """

    length: int
    logits: Tensor
    given: int
    tries: int = 0


@dataclass
class TextRow:
    """One row: its new tokens, behind a lead. `spent`: all tokens that it took, those that were undone too."""

    lead: str
    before: tuple[int, ...]
    guide: Guide | None
    least: int
    most: int
    ids: list[int] = field(default_factory=list)
    spent: int = 0
    given: list[str] = field(default_factory=list)
    undone: list[tuple[str, str]] = field(default_factory=list)
    queue: deque[int] = field(default_factory=deque)
    anchor: _Anchor | None = None
    cut: bool = False
    interrupted: bool = False


Ready = Callable[[int, TextRow], None]


class Patient(Session):
    """A session in which a row's last tokens can be taken back: they are masked, and their positions used again."""

    def strike(self, row: int, count: int) -> None:
        """Take back the last `count` tokens of the row at this place; its logits are those of before the next step."""
        if count:
            self._mask, self._positions = self._mask.clone(), self._positions.clone()
            self._mask[row, -count:] = 0
            self._positions[row] -= count


class Decoding:
    """One batch from its prompts to its ends; a row leaves when it ends."""

    def __init__(
        self,
        bank: Bank,
        owner: str | None,
        rules: Rules,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[int],
        texts: Sequence[TextRow],
    ) -> None:
        self.rules, self.rows, self.tokenizer = rules, list(texts), bank.backbone.tokenizer
        longest = max(text.most for text in texts)
        self.stopping = Stopping(self.tokenizer, rules.options.model_copy(update={"max_new_tokens": longest}))
        unique = list(dict.fromkeys(tuple(ids) for ids in prompts))  # candidates of one spec: their prompt is run once
        self.session = Patient(bank, [Item((_row(ids),), owner) for ids in unique])
        self.session.select([unique.index(tuple(ids)) for ids in prompts])
        self.chances = [sampling.generator(seed, ids, 0) for seed, ids in zip(seeds, prompts, strict=True)]
        self.ended: set[int] = set()
        self.used = torch.zeros(self.session.logits.shape, dtype=torch.bool, device=self.session.logits.device)
        self.seen: list[dict[tuple[int, ...], set[int]]] = [{} for _ in texts]
        for number, row in enumerate(self.rows):
            self._recall(number)
            if row.guide is not None:
                row.anchor = _Anchor(0, self.session.logits[number], 0)
                if words := row.guide.lead(row.lead, (), 0):
                    self._give(row, words)

    def go(self, ready: Ready, advance: Advance) -> None:
        """Generate until every row has ended. At an interrupt, what the others have so far is told as well."""
        try:
            self._go(ready, advance)
        except KeyboardInterrupt:
            for number, row in enumerate(self.rows):
                if number not in self.ended and row.ids:
                    row.interrupted = True
                    ready(number, row)
            raise

    def _go(self, ready: Ready, advance: Advance) -> None:
        active = list(range(len(self.rows)))
        while active:
            logits = self._ruled(self.session.logits, active)
            drawn = self._draw(logits, active)
            left = []
            for place, (number, token) in enumerate(zip(active, drawn, strict=True)):
                row = self.rows[number]
                taken = token if row.guide is None else self._guided(place, number, token)
                if taken is not None:
                    self._take(number, taken)
                    row.cut = len(row.ids) >= row.most
                if taken is None or row.cut or self.stopping.reason(row.ids) is not None:
                    row.cut &= taken not in self.stopping.eos
                    self.ended.add(number)
                    ready(number, row)
                else:
                    left.append(place)
            advance(len(active))
            active = [active[place] for place in left]
            if active:
                self.session.select(left)
                self.session.step([self.rows[number].ids[-1] for number in active])

    def _guided(self, place: int, number: int, token: int) -> int | None:
        """The token that follows instead of the one that was drawn; None where the text is finished."""
        row = self.rows[number]
        guide, anchor = row.guide, row.anchor
        assert guide is not None and anchor is not None
        if row.queue:
            return row.queue.popleft()
        text = self._text(row)
        ends, runaway = self._ends(text, token), len(row.ids) - anchor.length > RUNAWAY
        if not ends and not runaway:
            return token
        problem = "it runs on" if runaway else guide.judge(text, anchor.tries)
        if problem and anchor.tries < guide.tries:
            return self._again(place, number, problem, text)
        if not ends:
            return token
        row.anchor = _Anchor(len(row.ids), self.session.logits[place], len(row.given))
        words = guide.lead(text, tuple(row.given), 0)
        if words is None:
            return None
        if not words:
            return token
        self._give(row, words)
        return row.queue.popleft()

    def _again(self, place: int, number: int, problem: str, text: str) -> int:
        """Take the last sentence back; the first token of another one."""
        row = self.rows[number]
        anchor, guide = row.anchor, row.guide
        assert anchor is not None and guide is not None
        self.session.strike(place, len(row.ids) - anchor.length)
        del row.ids[anchor.length :], row.given[anchor.given :]
        before = self._text(row)
        row.undone.append((problem, text[len(before) :].strip()))
        self._recall(number)
        anchor.tries += 1
        words = guide.lead(before, tuple(row.given), anchor.tries)
        if words:
            self._give(row, words)
            return row.queue.popleft()
        return self._draw(self._ruled(anchor.logits[None], [number]), [number])[0]

    def _give(self, row: TextRow, words: str) -> None:
        """Put the guide's words into the row's queue."""
        row.given.append(words.strip())
        row.queue.extend(self.tokenizer(words, add_special_tokens=False)["input_ids"])

    def _ends(self, text: str, token: int) -> bool:
        """Whether a sentence ends with the text, as shows by the token behind it."""
        piece = self.tokenizer.decode([token])
        parted = piece[:1].isspace() and not piece.strip()[:1].islower()
        return parted and _ENDS.search(text) is not None

    def _text(self, row: TextRow) -> str:
        decoded: str = self.tokenizer.decode(row.ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return row.lead + decoded

    def _draw(self, logits: Tensor, numbers: Sequence[int]) -> list[int]:
        chances = [self.chances[number] for number in numbers]
        likely = logits.topk(min(LIKELY, logits.shape[-1]))
        chosen = sampling.draw(sampling.shaped(likely.values, self.rules.options), chances)
        found: list[int] = likely.indices.gather(1, chosen[:, None])[:, 0].tolist()
        return found

    def _take(self, number: int, token: int) -> None:
        """Append a token."""
        row = self.rows[number]
        row.ids.append(token)
        row.spent += 1
        self._note(number, [*row.before, *row.ids] if self.rules.no_repeat_ngram_size else row.ids)

    def _note(self, number: int, text: Sequence[int]) -> None:
        """The last token of the text stands in it by now, and behind those before it."""
        self.used[number, text[-1]] = True
        size = self.rules.no_repeat_ngram_size
        if size and len(text) >= size:
            *before, last = text[-size:]
            self.seen[number].setdefault(tuple(before), set()).add(last)

    def _recall(self, number: int) -> None:
        """Note all tokens of the text anew."""
        row = self.rows[number]
        self.used[number] = False
        self.seen[number] = {}
        text = [*row.before, *row.ids]
        for end in range(1, len(text) + 1):
            self._note(number, text[:end])

    def _ruled(self, logits: Tensor, active: Sequence[int]) -> Tensor:
        """`[B, V]` logits, less for what was there; no end before the least length, no run of tokens that was there.

        A guide ends its text itself.
        """
        penalty, size = self.rules.repetition_penalty, self.rules.no_repeat_ngram_size
        less = torch.where(logits > 0, logits / penalty, logits * penalty)
        ruled = torch.where(self.used[list(active)], less, logits)
        ends = list(self.stopping.eos)
        for place, number in enumerate(active):
            row = self.rows[number]
            if ends and (row.guide is not None or len(row.ids) < row.least):
                ruled[place, ends] = -torch.inf
            if size:
                text = [*row.before, *row.ids]
                if again := self.seen[number].get(tuple(text[len(text) + 1 - size :])):
                    ruled[place, list(again)] = -torch.inf
        return ruled


def _row(ids: Sequence[int]) -> Row:
    """A prompt as a row that is continued behind its last token."""
    return Row(tuple(ids), (-1,) * len(ids), (0,) * len(ids), None, (len(ids) - 1,))
