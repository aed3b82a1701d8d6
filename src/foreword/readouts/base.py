"""What every readout is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from foreword.backbone.backbone import Backbone
from foreword.batch import Batch
from foreword.config import ReadoutConfig
from foreword.errors import Unsupported
from foreword.tasks.base import Answer
from foreword.text.encoder import Encoder
from foreword.text.rows import Row

Label = int | tuple[int, ...]


@dataclass(frozen=True)
class ReadoutSetup:
    """What a readout is built from.

    `segments`: of the template; `seed` decides the first values; `spot`: the field that answers point into, if any.
    """

    backbone: Backbone
    labels: tuple[str, ...]
    answer_prefix: str
    segments: int = 1
    seed: int = 0
    spot: str = ""

    def generator(self) -> torch.Generator:
        """A fresh generator for the first values, another than the method's."""
        return torch.Generator().manual_seed(self.seed * 2 + 1)


class Readout(nn.Module, ABC):
    """Hidden states to one score a label.

    A subclass is one file: its `Config`, its parameters if any, which rows it needs of an example, and how it scores.
    `answer`: what it answers with, which has to be what the task asks for.
    """

    name: ClassVar[str]
    Config: ClassVar[type[ReadoutConfig]]
    answer: ClassVar[Answer] = "class"
    stop: int | None = None
    """How many layers are run for it; None for all, with what the model does behind them."""

    def __init__(self, config: ReadoutConfig, setup: ReadoutSetup) -> None:
        super().__init__()

    @abstractmethod
    def encode(self, encoder: Encoder, example: dict[str, str]) -> tuple:
        """The rows that one example needs."""

    def labelled(self, encoder: Encoder, example: dict[str, str], target: Any) -> tuple[tuple[Row, ...], Label]:
        """The rows of an example whose answer is known, and the label that goes with them."""
        return self.encode(encoder, example), int(target)

    def shortened(self, label: Label) -> bool:
        """Whether a label has lost its end for want of room."""
        return False

    def reads(self, batch: Batch) -> Tensor | None:
        """`[b, A]`, the places whose hidden states are read (-1 for none); None where all are."""
        return None

    @property
    def kin(self) -> Hashable:
        """Equal for readouts that can read rows side by side (`beside`); None for one that reads its own alone."""
        return None

    def beside(self, own: Sequence[Readout], hidden: Tensor, batch: Batch) -> Tensor:
        """`[b, C]`, each of the b rows read by its own readout, all of them of this one's kin. Not for training."""
        raise NotImplementedError(f"{self.name} reads its own rows alone")

    @abstractmethod
    def forward(self, hidden: Tensor, batch: Batch, backbone: Backbone) -> Tensor:
        """`[n, C]` scores whose softmax is the probability of each label.

        `hidden`: `[b, T, H]` for the b rows of `batch`, which are those of n items; only the places of `reads` count.
        Where an item has several labels, `[m, C]`: the items' one after another.
        """


def require_one_stack(setup: ReadoutSetup, what: str) -> None:
    """**Raises** `Unsupported` for an encoder-decoder: its answers are read in the decoder, which holds no text."""
    backbone = setup.backbone
    if backbone.two_stacks:
        raise Unsupported(
            f"{backbone.name} ({backbone.family}) is an encoder-decoder, read where its decoder begins, and {what} is "
            "read in the text",
            do="use a masked or a causal model, or answer in words",
        )


def places(hidden: Tensor, where: Tensor) -> Tensor:
    """`[b, T, H]` read at `[b]` or `[b, A]` places: `[b, H]` or `[b, A, H]`."""
    if where.ndim == 1:
        return hidden[torch.arange(len(where), device=hidden.device), where]
    return hidden.gather(1, where[..., None].expand(-1, -1, hidden.shape[-1]))
