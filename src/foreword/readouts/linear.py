"""A linear layer on one hidden state of the row: [CLS], the last token, the mean, or a comparison of two segments."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from foreword.backbone.backbone import Backbone
from foreword.batch import Batch
from foreword.config import ReadoutConfig
from foreword.errors import ConfigError, Unsupported
from foreword.readouts._comparison import LEXICAL_WIDTH, WIDTH, compare, lexical, mean
from foreword.readouts.base import Readout, ReadoutSetup, places, require_one_stack
from foreword.text.encoder import Encoder
from foreword.text.rows import Row

Position = Literal["cls", "last", "mean", "pair"]


class Linear(Readout):
    """`softmax(W h + b)`, W `[C, H]`, with h the hidden state at `position`.

    `mean` is over the text's tokens, special ones included and virtual ones not, so that a prompt in front moves
    nothing. `pair` compares the two segments by seven distances (`foreword.readouts._comparison`), for families with
    segment ids; with `lexical`, by those of the word embeddings and by the lengths too. `auto` takes [CLS] where the
    tokenizer has one and the last token elsewhere.

    In an encoder-decoder, `last` is the decoder's state behind what every answer begins with (Ni et al. 2022, section
    3, "encoder-decoder first"), and there is no other position.
    """

    name: ClassVar[str] = "linear"

    class Config(ReadoutConfig):
        """`dropout` acts on h in training. `lexical` is for `pair`.

        `layers`: h is what the first so many layers give, and no other is run; all by default.
        """

        name: Literal["linear"] = "linear"
        position: Literal["auto", "cls", "last", "mean", "pair"] = "auto"
        dropout: float = Field(0.0, ge=0, lt=1)
        lexical: bool = False
        layers: int | None = Field(None, ge=1)

        @model_validator(mode="after")
        def _lexical_is_used(self) -> Self:
            if self.lexical and self.position != "pair":
                raise ConfigError("readout.lexical is for the position pair", do="take it out")
            return self

    def __init__(self, config: Config, setup: ReadoutSetup) -> None:
        super().__init__(config, setup)
        if config.position not in ("auto", "last"):
            require_one_stack(setup, f"the position {config.position}")
        has_cls = setup.backbone.tokenizer.cls_token_id is not None and setup.backbone.kind == "masked"
        if config.position == "cls" and not has_cls:
            raise Unsupported(
                f"{setup.backbone.name} has no [CLS] token to read", do="use readout.position=last or mean"
            )
        automatic: Position = "cls" if has_cls else "last"
        self.position: Position = automatic if config.position == "auto" else config.position
        self.dropout = config.dropout
        if config.layers is not None:
            setup.backbone.require("passage")
            if config.layers > setup.backbone.geometry.layers:
                raise ConfigError(
                    f"readout.layers is {config.layers}, and {setup.backbone.name} has {setup.backbone.geometry.layers}"
                )
            if setup.backbone.state_width != setup.backbone.geometry.hidden:
                raise Unsupported(
                    f"{setup.backbone.name} has states {setup.backbone.state_width} wide inside and "
                    f"{setup.backbone.geometry.hidden} wide behind its last layer",
                    do="leave readout.layers out",
                )
            self.stop = config.layers
        if config.position == "pair" and not setup.backbone.segments:
            raise Unsupported(f"{setup.backbone.name} has no segment ids to compare", do="use readout.position=mean")
        if config.position == "pair" and setup.segments < 2:
            raise Unsupported("a comparison of two segments needs two of them", do="put {sep} between two fields")
        self.special: Tensor
        special = torch.tensor(setup.backbone.tokenizer.all_special_ids)
        self.register_buffer("special", special, persistent=False)
        self.lexical = config.lexical
        compared = WIDTH + (LEXICAL_WIDTH if config.lexical else 0)
        width = compared if config.position == "pair" else setup.backbone.geometry.hidden
        self.weight = nn.Parameter(torch.empty(len(setup.labels), width).normal_(0, 0.02, generator=setup.generator()))
        self.bias = nn.Parameter(torch.zeros(len(setup.labels)))

    def encode(self, encoder: Encoder, example: dict[str, str]) -> tuple[Row, ...]:
        return (encoder.encode(example),)

    def reads(self, batch: Batch) -> Tensor | None:
        if self.position in ("mean", "pair"):
            return None
        return (batch.cls if self.position == "cls" else batch.last)[:, None]

    @property
    def kin(self) -> Hashable:
        return None if self.position in ("mean", "pair") else ("linear", self.position, *self.weight.shape)

    def beside(self, own: Sequence[Readout], hidden: Tensor, batch: Batch) -> Tensor:
        read = places(hidden, batch.cls if self.position == "cls" else batch.last)
        different = {id(one): one for one in own}
        numbers = {key: number for number, key in enumerate(different)}
        which = torch.tensor([numbers[id(one)] for one in own], device=hidden.device)
        weight = torch.stack([one.get_parameter("weight") for one in different.values()])[which]
        bias = torch.stack([one.get_parameter("bias") for one in different.values()])[which]
        return torch.baddbmm(bias[..., None], weight, read[..., None])[..., 0]

    def forward(self, hidden: Tensor, batch: Batch, backbone: Backbone) -> Tensor:
        text = (batch.mask == 1) & (batch.soft < 0)
        if self.position == "mean":
            read = mean(hidden, text)
        elif self.position == "pair":
            text = text & ~torch.isin(batch.ids, self.special)
            first, second = (text & (batch.types == segment) for segment in (0, 1))
            read = compare(hidden, first, second)
            if self.lexical:
                read = torch.cat([read, lexical(backbone.embed(batch.ids), first, second)], dim=-1)
        else:
            read = places(hidden, batch.cls if self.position == "cls" else batch.last)
        read = nn.functional.dropout(read, self.dropout, self.training)
        return nn.functional.linear(read, self.weight, self.bias)
