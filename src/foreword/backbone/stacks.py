"""A trunk of two stacks, an encoder and a decoder, that is run as one.

A row's places are split at a border: those before it are the encoder's, those behind it the decoder's. What is given
and what comes out has one place for each, so that whatever goes by place (virtual tokens, readouts, padding) need not
know that there are two stacks. Modules and weights are the model's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

if TYPE_CHECKING:
    from foreword.backbone.attention import Prefix


@dataclass(frozen=True)
class Encoded:
    """What the encoder gave, `[B, S, H]`, and its mask, `[B, S]`."""

    states: Tensor
    mask: Tensor

    def select(self, rows: Tensor) -> Encoded:
        """Of these rows alone, in their order."""
        return Encoded(self.states[rows], self.mask[rows])


class Stacks(nn.Module):
    """Encoder and decoder of one model, with the word embedding that both share."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.shared: nn.Module = model.get_input_embeddings()
        self.encoder: nn.Module = model.get_encoder()
        self.decoder: nn.Module = model.get_decoder()

    def get_input_embeddings(self) -> nn.Module:
        """As every model of transformers has it."""
        return self.shared

    def encode(self, embeds: Tensor, mask: Tensor, foreword: Prefix | None = None) -> Encoded:
        """Run the encoder on `[B, S, E]` embeddings."""
        return Encoded(self.encoder(inputs_embeds=embeds, attention_mask=mask, **_given(foreword))[0], mask)

    def decode(
        self, encoded: Encoded, embeds: Tensor, mask: Tensor, foreword: Prefix | None = None, cache: Any = None
    ) -> Tensor:
        """Run the decoder: `[B, U, H]`.

        `embeds`: `[B, U, E]`; `mask`: `[B, R + U]`, R being what the cache holds. With a cache, the keys and values of
        the encoder's states are computed once.
        """
        answer = self.decoder(
            inputs_embeds=embeds,
            attention_mask=mask,
            encoder_hidden_states=encoded.states,
            encoder_attention_mask=encoded.mask,
            past_key_values=cache,
            use_cache=cache is not None,
            **_given(foreword),
        )
        return answer.last_hidden_state

    def forward(
        self, inputs_embeds: Tensor, attention_mask: Tensor, border: int, foreword: Prefix | None = None
    ) -> BaseModelOutput:
        """`[B, S + U, H]`: the last states of the encoder, and behind them those of the decoder; `border` is S."""
        encoded = self.encode(inputs_embeds[:, :border], attention_mask[:, :border], foreword)
        decoded = self.decode(encoded, inputs_embeds[:, border:], attention_mask[:, border:], foreword)
        return BaseModelOutput(last_hidden_state=torch.cat([encoded.states, decoded], dim=1))

    def on_words(self, ids: Tensor, border: int) -> Tensor:
        """`[B, S + U, H]` of a text without padding, embedded by the stacks themselves; for a comparison."""
        seen = torch.ones_like(ids)
        states = self.encoder(input_ids=ids[:, :border], attention_mask=seen[:, :border]).last_hidden_state
        decoded = self.decoder(
            input_ids=ids[:, border:], attention_mask=seen[:, border:], encoder_hidden_states=states, use_cache=False
        )
        return torch.cat([states, decoded.last_hidden_state], dim=1)


def new_cache(config: Any, two_stacks: bool) -> Any:
    """An empty cache for a text that is written: of a decoder's own keys and values, and of those of its encoder."""
    if not two_stacks:
        return DynamicCache(config=config)
    return EncoderDecoderCache(DynamicCache(), DynamicCache())


def _given(foreword: Prefix | None) -> dict[str, Any]:
    return {} if foreword is None else {"foreword": foreword}
