"""Attention of running texts, one new token each: over a shared front, and over the text's own key/values.

Rows of one foreword attend to one copy of what stands in front of them: their queries are laid side by side against
it, and what comes out is weighted together with the rest by one softmax (Juravsky et al. 2024, "Hydragen", section
3.1). Grouped heads are not repeated. The backbone's own attention function is called for every other pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import AttentionInterface

from foreword.backbone.attention import Prefix, attend
from foreword.backbone.backbone import Backbone
from foreword.errors import Unsupported

NAME = "foreword-serving"
HIDDEN = float("-inf")


@dataclass(frozen=True)
class Front:
    """Key/values in front of all texts of one foreword: `keys`, `values` of each layer, `[K, P, D]`, P its own."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @property
    def places(self) -> int | None:
        """P, where all layers have as many."""
        found = {keys.shape[1] for keys in self.keys}
        return found.pop() if len(found) == 1 else None


@dataclass(frozen=True)
class Shared:
    """The fronts of a step's F forewords, one copy of each, and which rows see which.

    `keys`, `values`: of each layer, `[F, K, P, D]`, padded to the longest; `bias`: of each layer, `[F, 1, 1, P]`, minus
    infinity behind a front's end. `spread` `[F, R]`: the rows of each foreword, R being the most that one has, repeated
    where it has fewer; `back` `[B]`: where in F R a row stands.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    bias: tuple[Tensor, ...]
    spread: Tensor
    back: Tensor

    @classmethod
    def of(cls, fronts: Sequence[Front | None]) -> Shared | None:
        """For rows with these fronts, by identity; None where no row has one."""
        order = {id(front): front for front in fronts}
        if all(front is None for front in order.values()):
            return None
        numbers = {key: number for number, key in enumerate(order)}
        rows: list[list[int]] = [[] for _ in order]
        for row, front in enumerate(fronts):
            rows[numbers[id(front)]].append(row)
        widest = max(map(len, rows))
        back = [0] * len(fronts)
        for number, own in enumerate(rows):
            for place, row in enumerate(own):
                back[row] = number * widest + place
        spread = torch.tensor([own + own[:1] * (widest - len(own)) for own in rows])
        keys, values, bias = zip(*_tables(list(order.values())), strict=True)
        device = keys[0].device
        return cls(keys, values, bias, spread.to(device), torch.tensor(back, device=device))


def _tables(fronts: Sequence[Front | None]) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Keys, values and bias of each layer."""
    some = next(front for front in fronts if front is not None)
    found = []
    for layer, like in enumerate(some.keys):
        lengths = [0 if front is None else front.keys[layer].shape[1] for front in fronts]
        shape = (len(fronts), like.shape[0], max(lengths), like.shape[2])
        keys, values = like.new_zeros(shape), like.new_zeros(shape)
        bias = like.new_full((len(fronts), 1, 1, max(lengths)), HIDDEN)
        for number, (front, length) in enumerate(zip(fronts, lengths, strict=True)):
            if front is not None:
                keys[number, :, :length], values[number, :, :length] = front.keys[layer], front.values[layer]
                bias[number, ..., :length] = 0
        found.append((keys, values, bias))
    return found


@dataclass
class StepPass(Prefix):
    """What a step carries through the backbone: `bias` `[B, 1, 1, S]` over the texts' places, and the fronts."""

    bias: Tensor | None = None
    shared: Shared | None = field(default=None, repr=False)


def attend_step(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    foreword: Prefix | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """`[B, 1, heads, D]` of a step; the backbone's own function for every other pass.

    `query`: `[B, heads, 1, D]`; `key`, `value`: `[B, K, S, D]`, of running texts and all of their places.

    **Raises** `Unsupported` for attention that is more than a softmax over scaled products.
    """
    if not isinstance(foreword, StepPass):
        return attend(module, query, key, value, attention_mask, foreword=foreword, **kwargs)
    if kwargs.get("softcap") or kwargs.get("s_aux") is not None:
        raise Unsupported("attention with capped scores or sinks is not served")
    scale = kwargs.get("scaling")
    batch, heads, _, size = query.shape
    asked = (query * (size**-0.5 if scale is None else scale)).view(batch, key.shape[1], -1, size)
    scores = asked @ key.transpose(-1, -2) + foreword.bias
    shared, layer = foreword.shared, foreword.slots[module]
    if shared is None or not shared.keys[layer].shape[2]:
        out = scores.softmax(-1) @ value
    else:
        places = shared.keys[layer].shape[2]
        ahead = _against(asked, shared, layer)
        weights = torch.cat([ahead, scores], dim=-1).softmax(-1)
        out = weights[..., places:] @ value + _weighed(weights[..., :places], shared, layer)
    return out.reshape(batch, 1, heads, size), None


def _against(asked: Tensor, shared: Shared, layer: int) -> Tensor:
    """`[B, K, G, P]`, the scores of `[B, K, G, D]` queries with their own fronts."""
    count, (forewords, most) = asked.shape, shared.spread.shape
    side = asked[shared.spread].transpose(1, 2).reshape(forewords, count[1], most * count[2], count[3])
    scores = side @ shared.keys[layer].transpose(-1, -2) + shared.bias[layer]
    return _apart(scores, shared, count[2])


def _weighed(weights: Tensor, shared: Shared, layer: int) -> Tensor:
    """`[B, K, G, D]`, the fronts' values under `[B, K, G, P]` weights."""
    count, (forewords, most) = weights.shape, shared.spread.shape
    side = weights[shared.spread].transpose(1, 2).reshape(forewords, count[1], most * count[2], count[3])
    return _apart(side @ shared.values[layer], shared, count[2])


def _apart(side: Tensor, shared: Shared, group: int) -> Tensor:
    """`[F, K, R G, W]` back to the rows: `[B, K, G, W]`."""
    forewords, most = shared.spread.shape
    rows = side.view(forewords, side.shape[1], most, group, -1).transpose(1, 2).flatten(0, 1)
    return rows[shared.back]


@contextmanager
def routed(backbone: Backbone) -> Iterator[None]:
    """The backbone's attention goes through `attend_step` in the block."""
    before = backbone.model.config._attn_implementation
    backbone.model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        backbone.model.set_attn_implementation(before)


AttentionInterface.register(NAME, attend_step)
AttentionMaskInterface.register(NAME, sdpa_mask)
