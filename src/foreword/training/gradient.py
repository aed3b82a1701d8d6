"""The gradient of one step, of one run or of several that share the pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from foreword.backbone.backbone import Backbone
from foreword.bank import Bank
from foreword.batch import Batch, Item, collate, pieces
from foreword.evaluation.scoring import summed_loss
from foreword.injections import Injection
from foreword.readouts.base import Readout
from foreword.text.encoder import Encoder
from foreword.text.rows import Row

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, eq=False)
class Share:
    """One run's part of a step: its injection, compiled with gradients, and the items that name `owner`.

    `random` is entered where the run's own random numbers are drawn. `precision`: of the layers' matrix products.
    """

    owner: str
    injection: Injection
    readout: Readout
    items: Sequence[Item]
    random: Callable[[], AbstractContextManager[None]] = nullcontext
    precision: Precision = "float32"


def backward(bank: Bank, shares: Sequence[Share], max_tokens: int, max_items: int | None = None) -> list[float]:
    """Gradients of the sum of the shares' mean losses; each share's loss, a mean over its classes or its tokens.

    A step that is larger than the token budget runs in pieces whose gradients add up; each injection is compiled once
    whatever the pieces, and its own history is gone through once.

    All shares have one precision. In bfloat16 the layers' matrix products are of numbers that are rounded to it; what
    is trained, its gradients, the readout and the loss stay in float32 (Micikevicius et al. 2018, "Mixed Precision
    Training"; bfloat16 has the range of float32, so no loss is scaled).
    """
    items = [item for share in shares for item in share.items]
    groups = pieces(items, max_tokens, max_items)
    if len(groups) == 1:
        groups = [list(range(len(items)))]
    cuts = [_cut(share.injection) if len(groups) > 1 else None for share in shares]
    for share, cut in zip(shares, cuts, strict=True):
        bank.put(share.owner, cut.held if cut else share.injection, _Reading(share))
    number = {share.owner: i for i, share in enumerate(shares)}
    counts = [max(1, sum(item.labelled for item in share.items)) for share in shares]  # words may all be cut off
    totals = [0.0] * len(shares)
    for group in groups:
        batch = collate([items[i] for i in group], bank.backbone.pad_id, device=str(bank.backbone.device))
        parts: list[Tensor] = []
        with torch.autocast(bank.backbone.device.type, torch.bfloat16, enabled=shares[0].precision == "bfloat16"):
            answers = bank.scores(batch)
        for numbers, scores in answers:
            which = number[items[group[numbers[0]]].owner or ""]
            loss = summed_loss(scores, batch.labels[torch.tensor(numbers, device=scores.device)]) / counts[which]
            totals[which] += float(loss.detach())
            parts.append(loss)
        torch.stack(parts).sum().backward()
    for cut in cuts:
        if cut:
            cut.join()
    return totals


@dataclass(frozen=True)
class _Cut:
    """An injection cut off from its history, so that several backward passes can add up in its leaves."""

    held: Injection
    made: dict[str, Tensor]
    leaves: dict[str, Tensor]

    def join(self) -> None:
        used = [name for name, leaf in self.leaves.items() if leaf.grad is not None]
        if used:
            torch.autograd.backward([self.made[name] for name in used], [self.leaves[name].grad for name in used])


def _cut(injection: Injection) -> _Cut:
    made = {name: tensor for name, tensor in injection.tensors().items() if tensor.requires_grad}
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in made.items()}
    held = Injection.from_tensors({**injection.tensors(), **leaves}, injection.position_offset)
    return _Cut(held, made, leaves)


class _Reading(Readout):
    """The share's readout, drawing the share's own random numbers."""

    def __init__(self, share: Share) -> None:
        torch.nn.Module.__init__(self)
        self.share = share
        self.stop = share.readout.stop

    def encode(self, encoder: Encoder, example: dict[str, str]) -> tuple[Row, ...]:
        return self.share.readout.encode(encoder, example)

    def reads(self, batch: Batch) -> Tensor | None:
        return self.share.readout.reads(batch)

    def forward(self, hidden: Tensor, batch: Batch, backbone: Backbone) -> Tensor:
        with self.share.random(), torch.autocast(hidden.device.type, enabled=False):
            return self.share.readout(hidden.float(), batch, backbone)
