"""The language model itself: the answer is a text that it writes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import field_validator
from torch import Tensor

from foreword.backbone.backbone import Backbone
from foreword.batch import Batch
from foreword.config import GenerationOptions, ReadoutConfig
from foreword.errors import ConfigError, Unsupported
from foreword.readouts.base import Label, Readout, ReadoutSetup, places
from foreword.tasks.base import Answer
from foreword.text.encoder import Encoder
from foreword.text.pieces import Frame, ids_after
from foreword.text.rows import Row


class LanguageModel(Readout):
    """Trained by the cross-entropy of the target's tokens and of the end token, and used by generation.

    It has no parameters. The head is computed at the target's places alone. Of several targets that would be right, the
    first is trained on.
    """

    name: ClassVar[str] = "lm"
    answer: ClassVar[Answer] = "text"

    class Config(ReadoutConfig, GenerationOptions):
        """How the answer is written; `max_new_tokens` is the room for it, and a longer target is cut in training.

        A prompt is cut so that the answer fits behind it, in training as in use.
        """

        name: Literal["lm"] = "lm"

        @field_validator("num_return_sequences")
        @classmethod
        def _one(cls, value: int) -> int:
            if value > 1:
                raise ConfigError("num_return_sequences: a row has one answer, the best", do="leave it out")
            return value

    def __init__(self, config: Config, setup: ReadoutSetup) -> None:
        super().__init__(config, setup)
        backbone = setup.backbone
        if backbone.kind == "masked":
            raise Unsupported(
                f"{backbone.name} ({backbone.family}) is a masked model and writes no text",
                do="use a causal model or an encoder-decoder",
            )
        backbone.require("head")
        if backbone.tokenizer.eos_token_id is None:
            raise Unsupported(f"the tokenizer of {backbone.name} has no end token, so no text would ever end")
        self.options: GenerationOptions = config
        begun, room = 1 + len(Frame.of(backbone.tokenizer, pair=False).prefix), backbone.geometry.positions
        if backbone.kind == "encoder-decoder" and begun + config.max_new_tokens > room + 1:
            raise ConfigError(
                f"the decoder of {backbone.name} has {room} positions, and no room for {config.max_new_tokens} tokens",
                do=f"lower readout.max_new_tokens to {room + 1 - begun}",
            )
        self.prefix, self.tokenizer = setup.answer_prefix, backbone.tokenizer
        self.context = "" if backbone.kind == "encoder-decoder" else ":" if self.prefix else "\n"

    def encode(self, encoder: Encoder, example: dict[str, str]) -> tuple[Row, ...]:
        return (encoder.encode(example, reserve=self.options.max_new_tokens),)

    def labelled(self, encoder: Encoder, example: dict[str, str], target: Any) -> tuple[tuple[Row, ...], Label]:
        ids = self.ids(target[0])
        row = encoder.encode(example, continuation=ids[:-1], reserve=self.options.max_new_tokens - len(ids) + 1)
        return (row,), ids

    def ids(self, text: str) -> tuple[int, ...]:
        """The tokens of an answer, the end token included, as many as there is room for."""
        end = self.tokenizer.eos_token_id
        own = ids_after(self.context, self.prefix + text, self.tokenizer, plain=True)
        own = tuple(token for token in own if token != end)  # T5's pieces hold its name, however a text is split
        return (*own, end)[: self.options.max_new_tokens]

    def shortened(self, label: Label) -> bool:
        return isinstance(label, tuple) and label[-1] != self.tokenizer.eos_token_id

    def prompt(self, row: Row) -> Row:
        """A row without its answer."""
        size = row.answers[0] + 1
        return replace(row, ids=row.ids[:size], soft=row.soft[:size], types=row.types[:size], answers=row.answers[:1])

    def reads(self, batch: Batch) -> Tensor:
        return batch.answers

    def forward(self, hidden: Tensor, batch: Batch, backbone: Backbone) -> Tensor:
        read = batch.answers >= 0
        return backbone.logits(places(hidden, batch.answers.clamp(min=0))[read])
