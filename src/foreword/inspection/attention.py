"""The share of attention that each virtual token gets, by layer and head, on real inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from foreword.batch import Batch, collate, pieces
from foreword.errors import Unsupported
from foreword.inspection.subject import Subject
from foreword.inspection.watching import watch

MAX_TOKENS = 4096
GROUP = 16


@dataclass(frozen=True)
class Shares:
    """Attention that the text's tokens pay to the prompt, each token of each row counting once.

    `by_head`: `[L', heads, P]`, the mean weight on each virtual token. `layers`: the L' layers with virtual tokens.
    `uniform`: `[L']`, the share of all P together were every query's attention even over what it may see (a window of
    the family's aside).
    `queries`: how many tokens of text were looked from.
    """

    layers: tuple[int, ...]
    by_head: Tensor
    uniform: tuple[float, ...]
    queries: int

    @property
    def by_token(self) -> Tensor:
        """`[L', P]`, the mean over heads."""
        return self.by_head.mean(1)

    @property
    def whole(self) -> Tensor:
        """`[L', heads]`, what all virtual tokens together get."""
        return self.by_head.sum(2)


def attention_shares(subject: Subject, advance: Callable[[int], None] = lambda n: None) -> Shares:
    """The shares on the subject's rows.

    **Raises** `Unsupported` for a foreword without virtual tokens, or a family whose attention cannot be seen.
    """
    table = subject.injection.key_values
    if not subject.length:
        raise Unsupported(f"{subject.method} has no virtual tokens that attention could go to")
    if subject.backbone.kind not in ("masked", "causal"):
        raise Unsupported(f"shares of attention are not known for {subject.backbone.kind} models")
    every = tuple(range(subject.backbone.geometry.layers))
    layers = every if subject.soft or table is None else table.layers
    counter = _Counter(subject.length, subject.soft, layers, causal=subject.backbone.kind == "causal")
    bank, items = subject.bank(), subject.items
    for group in pieces(items, MAX_TOKENS, GROUP):
        batch = collate([items[i] for i in group], bank.backbone.pad_id, device=str(bank.backbone.device))
        counter.begin(batch)
        watch(bank, batch, counter.see)
        advance(len(group))
    return counter.shares()


class _Counter:
    """Sums attention weights over the rows of batches."""

    def __init__(self, length: int, soft: int, layers: Sequence[int], *, causal: bool) -> None:
        self.length, self.soft, self.layers, self.causal = length, soft, tuple(layers), causal
        self.sums: dict[int, Tensor] = {}
        self.even = dict.fromkeys(layers, 0.0)
        self.queries = 0
        self.batch: Batch | None = None

    def begin(self, batch: Batch) -> None:
        self.batch = batch
        self.queries += int(self._text().sum())

    def _text(self) -> Tensor:
        assert self.batch is not None
        return (self.batch.mask == 1) & (self.batch.soft < 0)

    def see(self, layer: int, weights: Tensor) -> None:
        """`weights`: `[B, heads, T, S]`."""
        if layer not in self.even:
            return
        assert self.batch is not None
        text = self._text()
        virtual = self._virtual(weights.shape[-1])  # [B, S, P]
        on_tokens = torch.einsum("bhts,bsp->bhtp", weights, virtual)
        summed = (on_tokens * text[:, None, :, None]).sum((0, 2))
        self.sums[layer] = self.sums.get(layer, torch.zeros_like(summed, dtype=torch.float64)) + summed
        visible = self._visible(weights.shape[-1])  # [B, T, S]
        seen = (visible * (virtual.sum(-1) > 0)[:, None]).sum(-1) / visible.sum(-1).clamp(min=1)
        self.even[layer] += float((seen * text).sum())

    def _virtual(self, keys: int) -> Tensor:
        """`[B, S, P]`, 1 where a key is the virtual token of that number; key/values stand in front of the row."""
        assert self.batch is not None
        rows, width = self.batch.soft.shape
        front = torch.arange(self.soft, self.soft + keys - width, device=self.batch.soft.device)
        number = torch.cat([front.expand(rows, -1), self.batch.soft], dim=1)
        return (number[:, :, None] == torch.arange(self.length, device=number.device)).float()

    def _visible(self, keys: int) -> Tensor:
        """`[B, T, S]`, which keys a query may see: no padding, and in a causal model nothing behind it."""
        assert self.batch is not None
        mask = self.batch.mask
        rows, queries = mask.shape
        seen = torch.cat([mask.new_ones(rows, keys - queries), mask], dim=1)[:, None].expand(-1, queries, -1)
        if self.causal:
            seen = seen * mask.new_ones(queries, keys).tril(keys - queries)
        return seen.float()

    def shares(self) -> Shares:
        """The means."""
        by_head = torch.stack([self.sums[layer] for layer in self.layers]) / max(1, self.queries)
        even = tuple(self.even[layer] / max(1, self.queries) for layer in self.layers)
        return Shares(self.layers, by_head.float().cpu(), even, self.queries)
