"""A linear layer per word: each word's tag, read at the word's first token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from foreword.backbone.backbone import Backbone
from foreword.batch import Batch
from foreword.config import ReadoutConfig
from foreword.readouts.base import Label, Readout, ReadoutSetup, places, require_one_stack
from foreword.tasks.base import Answer
from foreword.text.encoder import Encoder
from foreword.text.rows import Row


class Token(Readout):
    """`softmax(W h + b)` at the first token of every word, W `[C, H]`.

    A word that is cut off, or that the tokenizer makes nothing of, has no score, and teaches nothing. A causal model
    has seen nothing but the beginning of a word, and what stands before it, at the word's first token.
    """

    name: ClassVar[str] = "token"
    answer: ClassVar[Answer] = "tags"

    class Config(ReadoutConfig):
        """`dropout` acts on h in training."""

        name: Literal["token"] = "token"
        dropout: float = Field(0.0, ge=0, lt=1)

    def __init__(self, config: Config, setup: ReadoutSetup) -> None:
        super().__init__(config, setup)
        require_one_stack(setup, "a word's tag")
        self.dropout, self.spot = config.dropout, setup.spot
        shape = (len(setup.labels), setup.backbone.geometry.hidden)
        self.weight = nn.Parameter(torch.empty(shape).normal_(0, 0.02, generator=setup.generator()))
        self.bias = nn.Parameter(torch.zeros(len(setup.labels)))

    def encode(self, encoder: Encoder, example: Mapping[str, Any]) -> tuple[Row, ...]:
        return (encoder.encode(example, spot=self.spot),)

    def labelled(self, encoder: Encoder, example: Mapping[str, Any], target: Any) -> tuple[tuple[Row, ...], Label]:
        rows = self.encode(encoder, example)
        return rows, tuple(int(target[spot.number]) for spot in rows[0].spots)

    def reads(self, batch: Batch) -> Tensor:
        # where no row has a word, there is still a place to run the last layer for
        return batch.answers if batch.answers.shape[1] else batch.last[:, None]

    def forward(self, hidden: Tensor, batch: Batch, backbone: Backbone) -> Tensor:
        """`[m, C]`, for the m words of all rows that have a place, row after row."""
        read = places(hidden, batch.answers.clamp(min=0))[batch.answers >= 0]
        read = nn.functional.dropout(read, self.dropout, self.training)
        return nn.functional.linear(read, self.weight, self.bias)
