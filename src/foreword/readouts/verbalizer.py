"""Label words through the language-model head (Schick and Schütze 2021), words of several tokens scored jointly."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from foreword.backbone.backbone import Backbone
from foreword.batch import Batch
from foreword.config import ReadoutConfig
from foreword.readouts.base import Readout, ReadoutSetup, places
from foreword.text.encoder import Encoder
from foreword.text.rows import Row
from foreword.text.verbalizer import Verbalizer as Words


class Verbalizer(Readout):
    """The score of a label is the log of the summed probability of its words at the template's `{mask}`.

    The probability of a word is the product of its tokens': after one another in a causal model and in a decoder, side
    by side at as many masks in a masked one. It has no parameters. Where every word is one token, only the words' rows
    of the head are computed: the softmax over labels is the same, since the words share one normaliser.
    """

    name: ClassVar[str] = "verbalizer"

    class Config(ReadoutConfig):
        """`words`: label to its words; the labels' own names where it is left out."""

        name: Literal["verbalizer"] = "verbalizer"
        words: dict[str, str | list[str]] | None = None

    def __init__(self, config: Config, setup: ReadoutSetup) -> None:
        super().__init__(config, setup)
        setup.backbone.require("head")
        given = config.words if config.words is not None else {one: one.replace("_", " ") for one in setup.labels}
        self.words = Words.build(given, setup.labels, setup.backbone.tokenizer, setup.answer_prefix)
        self.variants = self.words.variants(setup.backbone.kind)
        self.placement = self.words.placements(setup.backbone.kind)
        self.classes = len(setup.labels)

    def encode(self, encoder: Encoder, example: dict[str, str]) -> tuple[Row, ...]:
        return tuple(encoder.encode(example, v.masks, v.continuation, v.reserve) for v in self.variants)

    def reads(self, batch: Batch) -> Tensor:
        return batch.answers[:, :1] if self.words.single else batch.answers

    def forward(self, hidden: Tensor, batch: Batch, backbone: Backbone) -> Tensor:
        if self.words.single:
            ids = torch.tensor([placed.ids[0] for placed in self.placement], device=hidden.device)
            scores = backbone.logits(places(hidden, batch.answers[:, 0]), ids)
        else:
            scores = self._joint(hidden, batch, backbone)
        return self._by_label(scores)

    def _joint(self, hidden: Tensor, batch: Batch, backbone: Backbone) -> Tensor:
        """`[n, W]` log-probabilities of the W words."""
        variants = len(self.variants)
        read = places(hidden, batch.answers.clamp(min=0))
        logs = backbone.logits(read).log_softmax(-1)
        logs = logs.view(-1, variants, *logs.shape[1:])
        words = []
        for placed in self.placement:
            at = torch.tensor(placed.places, device=hidden.device)
            tokens = torch.tensor(placed.ids, device=hidden.device)
            words.append(logs[:, placed.variant, at, tokens].sum(-1))
        return torch.stack(words, dim=-1)

    def _by_label(self, scores: Tensor) -> Tensor:
        labels = torch.tensor([placed.label for placed in self.placement])
        columns = [scores[:, labels == label].logsumexp(-1) for label in range(self.classes)]
        return torch.stack(columns, dim=-1)
