"""Where an answer begins and ends in a text: a linear layer at each of its tokens (Devlin et al. 2019, section 4.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from foreword.backbone.backbone import Backbone
from foreword.batch import Batch
from foreword.config import ReadoutConfig
from foreword.errors import DataError
from foreword.readouts.base import Label, Readout, ReadoutSetup, places, require_one_stack
from foreword.tasks.base import Answer
from foreword.text.encoder import Encoder
from foreword.text.rows import Row, Spot


class Span(Readout):
    """Two scores for each token of the text, as beginning and as end of the answer: `W h`, W `[2, H]`.

    A text that is too long is read in windows, one row each. A token that stands in several of them has the best score
    that it gets in any, and one softmax goes over all of the text's tokens: windows compete with each other, in
    training as in use. A bias would move all tokens alike, which is nothing to a softmax.
    """

    name: ClassVar[str] = "span"
    answer: ClassVar[Answer] = "span"

    class Config(ReadoutConfig):
        """`max_answer_length`: of an answer, in tokens. `stride`: how many tokens neighbouring windows share.

        With a stride of at least `max_answer_length`, every answer stands whole in some window. `dropout` acts on h.
        """

        name: Literal["span"] = "span"
        max_answer_length: int = Field(30, ge=1)
        stride: int = Field(128, ge=0)
        dropout: float = Field(0.0, ge=0, lt=1)

    def __init__(self, config: Config, setup: ReadoutSetup) -> None:
        super().__init__(config, setup)
        require_one_stack(setup, "a part of it")
        self.max_answer_length, self.stride = config.max_answer_length, config.stride
        self.dropout, self.spot = config.dropout, setup.spot
        shape = (2, setup.backbone.geometry.hidden)
        self.weight = nn.Parameter(torch.empty(shape).normal_(0, 0.02, generator=setup.generator()))

    def encode(self, encoder: Encoder, example: Mapping[str, Any]) -> tuple[Row, ...]:
        return encoder.windows(example, self.spot, self.stride)

    def labelled(self, encoder: Encoder, example: Mapping[str, Any], target: Any) -> tuple[tuple[Row, ...], Label]:
        rows = self.encode(encoder, example)
        return rows, label_of(spots_in(rows), example[self.spot], target)

    def reads(self, batch: Batch) -> Tensor:
        return batch.answers if batch.answers.shape[1] else batch.last[:, None]

    def forward(self, hidden: Tensor, batch: Batch, backbone: Backbone) -> Tensor:
        """`[2 n, C]`: beginning and end of each of n items, over the C tokens of the longest text, -inf behind its own.

        A text without tokens has no finite score.
        """
        read = places(hidden, batch.answers.clamp(min=0))
        read = nn.functional.dropout(read, self.dropout, self.training)
        scores = nn.functional.linear(read, self.weight)
        order = {item: n for n, item in enumerate(dict.fromkeys(batch.items))}
        rows = torch.tensor([order[item] for item in batch.items], device=scores.device)
        width = max(1, int(batch.numbers.max()) + 1 if batch.numbers.numel() else 0)
        lowest = float("-inf")
        found = scores.masked_fill((batch.numbers < 0)[..., None], lowest).reshape(-1, 2)
        cells = (rows[:, None] * width + batch.numbers.clamp(min=0)).reshape(-1, 1).expand(-1, 2)
        best = scores.new_full((len(order) * width, 2), lowest).scatter_reduce(0, cells, found, "amax")
        return best.view(len(order), width, 2).transpose(1, 2).reshape(2 * len(order), width)


def spots_in(rows: tuple[Row, ...]) -> tuple[Spot, ...]:
    """The text's tokens, each once, from whichever window."""
    return tuple(sorted({spot for row in rows for spot in row.spots}))


def where(answer: str, text: str) -> int:
    """Where an answer begins in a text: where it stands first as words of their own, else where it stands; or -1."""
    start = first = text.find(answer)
    while start >= 0:
        edges = ((text[:start][-1:], answer[:1]), (answer[-1:], text[start + len(answer) :][:1]))
        if not any(before.isalnum() and after.isalnum() for before, after in edges):
            return start
        start = text.find(answer, start + 1)
    return first


def label_of(spots: tuple[Spot, ...], text: str, answers: tuple[str, ...]) -> tuple[int, int]:
    """The numbers of the first and the last token of the first answer that stands in the text.

    **Raises** `DataError` where none does, or where the text has no tokens.
    """
    found = next(((start, len(answer)) for answer in answers if (start := where(answer, text)) >= 0), None)
    if found is None:
        raise DataError(
            f"no answer of {answers!r:.80} stands in its text", where=repr(text[:60]), do="give a part of the text"
        )
    if not spots:
        raise DataError("the tokenizer makes nothing of a text that holds an answer", where=repr(text[:60]))
    start, end = found[0], found[0] + found[1]
    first = next((spot.number for spot in spots if spot.end > start), spots[-1].number)
    last = next((spot.number for spot in reversed(spots) if spot.start < end), spots[0].number)
    return first, max(first, last)
