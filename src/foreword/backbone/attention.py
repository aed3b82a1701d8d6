"""Where key/values enter: one attention function and one mask function, registered with transformers under one name.

The function prepends the row's keys and values and hands over to the stock SDPA function, which repeats grouped heads
and picks the kernel. What the row sees travels through the model as a keyword argument (`foreword=Prefix(...)`), never
through a global, so that a recomputed layer sees what the first run saw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import AttentionInterface

from foreword.backbone.lines import Lines

NAME = "foreword"


@dataclass(frozen=True)
class LayerPrefix:
    """One layer's key/values for every row of a batch.

    `keys`, `values`: `[B or 1, K, P, D]`. `visible`: `[B, P]` bool, which of them each row sees; None where all do.
    """

    keys: Tensor
    values: Tensor
    visible: Tensor | None = None


@dataclass(frozen=True)
class Taken:
    """What a narrowed layer attends to, instead of its own: `[B, K, S, D]` keys, values, `[B, 1, A, S]` mask."""

    keys: Tensor
    values: Tensor
    mask: Tensor | None


class Caught(Exception):
    """Leaves a layer with what its attention was about to look at, the prefix included."""

    def __init__(self, keys: Tensor, values: Tensor, mask: Tensor | None, causal: bool) -> None:
        super().__init__()
        self.keys, self.values, self.mask, self.causal = keys, values, mask, causal


@dataclass
class Prefix:
    """What a forward pass carries: the layers' key/values, or a request to record the text's own.

    `slots` maps attention modules to the numbers that `layers` goes by, by identity: the layer's, and for attention to
    an encoder L more than that. `recorded` collects `[B, K, T, D]` keys and values in the order in which attention
    runs. The rest is for runs of a part of the trunk (`foreword.backbone.passage`): `fed` `[B, T, H]`, the states that
    the first layer run gets; `read` `[B, A]`, the places that the last layer is read at (-1 for none); `catching` and
    `taken`, how that layer is narrowed to them; `lines`, how the rows lie end to end, where they do.
    """

    slots: Mapping[nn.Module, int]
    layers: Mapping[int, LayerPrefix] = field(default_factory=dict)
    recorded: list[tuple[nn.Module, Tensor, Tensor]] | None = None
    fed: Tensor | None = None
    read: Tensor | None = None
    catching: bool = False
    taken: Taken | None = None
    lines: Lines | None = None
    _masks: dict[tuple[int, ...], Tensor | None] = field(default_factory=dict)
    _kept: list[Tensor | None] = field(default_factory=list)
    _stood: Prefix | None = field(default=None, init=False, repr=False)

    def mask(
        self, mask: Tensor | None, visible: Tensor | None, query: Tensor, key: Tensor, prefix: int, causal: bool
    ) -> Tensor | None:
        """`[B, 1, T, P + S]` bool, True where a query may look; None where it may look everywhere.

        Made once for all layers that share it. `key` is `[B, K, P + S, D]`, the prefix of P included.
        """
        # the sizes too: the stacks of an encoder-decoder may have no mask at all, and None is one object
        token = (id(mask), id(visible), query.shape[2], key.shape[2], prefix, causal)
        if token not in self._masks:
            self._masks[token] = self._extend(mask, visible, query, key, prefix, causal)
            self._kept += [mask, visible]  # so that their ids are not taken by others
        return self._masks[token]

    def standing(self) -> Prefix:
        """The same for rows that stand; made once for all layers, which share its masks."""
        if self._stood is None:
            self._stood = replace(self, lines=None)
        return self._stood

    @staticmethod
    def _extend(
        mask: Tensor | None, visible: Tensor | None, query: Tensor, key: Tensor, prefix: int, causal: bool
    ) -> Tensor | None:
        batch, queries, text = query.shape[0], query.shape[2], key.shape[2] - prefix
        if mask is None:
            if visible is None and (not causal or queries == 1):
                return None
            mask = torch.ones(1, 1, queries, text, dtype=torch.bool, device=query.device)
            mask = mask.tril(text - queries) if causal else mask
        seen = visible if visible is not None else mask.new_ones(batch, prefix)
        seen = seen[:, None, None, :].expand(batch, 1, queries, prefix)
        return torch.cat([seen, mask.expand(batch, -1, -1, -1)], dim=-1)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    foreword: Prefix | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention `[B, heads, T, D]` over the row's prefix and the text; the stock function where there is no prefix."""
    if foreword is not None:
        if foreword.taken is not None:
            key, value, attention_mask = foreword.taken.keys, foreword.taken.values, foreword.taken.mask
            kwargs["is_causal"] = False
            return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
        if foreword.lines is not None:
            return _in_rows(module, query, key, value, foreword, foreword.lines, **kwargs)
        if foreword.recorded is not None:
            foreword.recorded.append((module, key, value))
        here = foreword.layers.get(foreword.slots.get(module, -1))
        if here is not None:
            batch = key.shape[0]
            key = torch.cat([here.keys.expand(batch, -1, -1, -1).to(key.dtype), key], dim=2)
            value = torch.cat([here.values.expand(batch, -1, -1, -1).to(value.dtype), value], dim=2)
            causal = getattr(module, "is_causal", True)
            attention_mask = foreword.mask(attention_mask, here.visible, query, key, here.keys.shape[2], causal)
            if (bias := kwargs.get("position_bias")) is not None:  # T5's, by distance: a learned key stands nowhere
                kwargs["position_bias"] = pad(bias, (here.keys.shape[2], 0))
            if attention_mask is None:
                # without a mask the stock function would take a causal module's prefix for a static cache's padding
                kwargs["is_causal"] = False
        if foreword.catching:
            raise Caught(key, value, attention_mask, getattr(module, "is_causal", True))
    return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)


def _in_rows(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, foreword: Prefix, lines: Lines, **kwargs: Any
) -> tuple[Tensor, None]:
    """`attend` for `[1, heads, N, D]` of rows that lie end to end: `[1, N, heads, D]`."""
    query, key, value = (lines.stand(part.transpose(1, 2)).transpose(1, 2) for part in (query, key, value))
    mask = lines.mask(getattr(module, "is_causal", True))
    out, _ = attend(module, query, key, value, mask, foreword=foreword.standing(), **kwargs)
    return lines.lay(out), None


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
