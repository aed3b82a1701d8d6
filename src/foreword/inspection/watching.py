"""What every query attends to, seen while the model runs: attention weights, which the stock kernel does not give.

For the time of a pass the attention goes through another function, registered as the backbone's own is. It asks the
backbone's function what it is about to look at, computes the weights from that, and hands over to the same function, so
that the pass is unchanged. That the weights are those of the pass is checked on its output.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import AttentionInterface

from foreword.backbone.attention import NAME, Caught, Prefix, attend
from foreword.backbone.backbone import Backbone
from foreword.bank import Bank
from foreword.batch import Batch
from foreword.errors import Unsupported

WATCHED = f"{NAME}-watched"
See = Callable[[int, Tensor], None]


@dataclass
class Watching(Prefix):
    """A pass's prefix whose attention weights are told: `see` is given each layer's number and weights."""

    see: See = field(default=lambda layer, weights: None)


def _watch(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    foreword: Prefix | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention as the backbone's, with its weights told to the pass's `Watching`."""
    made = attend(module, query, key, value, attention_mask, foreword=foreword, **kwargs)
    if isinstance(foreword, Watching):
        try:
            attend(module, query, key, value, attention_mask, foreword=replace(foreword, catching=True), **kwargs)
        except Caught as caught:
            weights = _weights(query, caught, kwargs.get("scaling"))
            _check(weights, caught.values, made[0])
            foreword.see(foreword.slots[module], weights)
    return made


AttentionInterface.register(WATCHED, _watch)
AttentionMaskInterface.register(WATCHED, sdpa_mask)


def _weights(query: Tensor, caught: Caught, scaling: float | None) -> Tensor:
    """`[B, heads, T, P + S]`, the softmax that attention takes its means by."""
    keys = _by_head(caught.keys, query)
    scores = (query @ keys.transpose(2, 3)).float() * (scaling or 1 / math.sqrt(query.shape[-1]))
    if caught.mask is not None:
        if caught.mask.dtype == torch.bool:
            scores = scores.masked_fill(~caught.mask, -math.inf)
        else:
            scores = scores + caught.mask
    elif caught.causal:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device)
        scores = scores.masked_fill(~seen.tril(scores.shape[-1] - scores.shape[-2]), -math.inf)
    return scores.softmax(-1).nan_to_num(0.0)


def _check(weights: Tensor, values: Tensor, out: Tensor) -> None:
    """**Raises** `Unsupported` where the weights do not give the attention's output, `[B, T, heads, D]`."""
    again = (weights.to(values.dtype) @ _by_head(values, weights)).transpose(1, 2)
    seen = (weights.sum(-1) > 0).transpose(1, 2)[..., None]  # a padded query may see nothing
    near = torch.finfo(out.dtype).eps ** 0.5
    if not torch.allclose(again * seen, out * seen, rtol=near, atol=near * float(out.abs().max())):
        raise Unsupported("the family's attention is not a softmax of scaled products, so its shares are not known")


def _by_head(states: Tensor, like: Tensor) -> Tensor:
    """`[B, K, S, D]` keys or values, once for each query head."""
    return states.repeat_interleave(like.shape[1] // states.shape[1], dim=1).expand(like.shape[0], -1, -1, -1)


@contextmanager
def _routed(backbone: Backbone) -> Iterator[None]:
    backbone.model.set_attn_implementation(WATCHED)
    try:
        yield
    finally:
        backbone.model.set_attn_implementation(NAME)


@torch.no_grad()
def watch(bank: Bank, batch: Batch, see: See) -> Tensor:
    """`[B, T, H]` last hidden states of a batch; `see` is told each layer's `[B, heads, T, P + T]` attention weights.

    The P columns in front are the key/values of the rows' foreword, where it has any in that layer.

    **Raises** `Unsupported` for a family whose attention is not routed here.
    """
    backbone = bank.backbone
    backbone.require("key_values")
    own, twins = bank.prefix(batch.owners), bank.twins_of(batch)
    prefix = own or Prefix(backbone.slots)
    values = {part.name: getattr(prefix, part.name) for part in fields(prefix) if part.init}
    watching = Watching(**values, see=see)
    with _routed(backbone):
        return backbone.forward(
            bank.embeds(batch), batch.mask, bank.positions(batch), batch.types, watching, twins=twins
        )
