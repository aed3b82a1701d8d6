"""The sizes of a backbone, found by probing it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["masked", "causal", "encoder-decoder"]


@dataclass(frozen=True)
class Geometry:
    """Sizes, in the notation used everywhere.

    `hidden` H (width of what the trunk gives), `embedding` E (width of a word embedding), `layers` L, `heads`,
    `kv_heads` K, `head_size` D, `vocabulary` V, `positions` (tokens a row may have, virtual ones included),
    `position_base` (the number of the first position, above 0 for RoBERTa's kind), `parameters` (of the trunk and its
    head). K and D are 0 where key/values cannot enter.

    In an encoder-decoder, the first `encoder_layers` of the L layers are the encoder's, the others the decoder's, and
    `positions` is what each of the two may have.
    """

    hidden: int
    embedding: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    positions: int
    position_base: int
    parameters: int
    encoder_layers: int = 0

    @property
    def cross_layers(self) -> range:
        """The layers that attend to what the encoder gives: the decoder's."""
        return range(self.encoder_layers, self.layers) if self.encoder_layers else range(0)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)
