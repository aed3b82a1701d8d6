"""P-Tuning, version 2 (Liu et al. 2022) = prefix tuning (Li and Liang 2021): key/values in front of every layer."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from foreword.backbone.backbone import Backbone
from foreword.batch import Item, collate
from foreword.config import MethodConfig
from foreword.errors import ConfigError, Unsupported
from foreword.injections import Injection, KeyValues
from foreword.methods._initial import text_ids
from foreword.methods.base import MOST, Method, MethodSetup
from foreword.text.pieces import Frame
from foreword.text.rows import as_row

Depth = Literal["all", "top-half", "bottom-half"]
Place = Literal["encoder", "decoder", "cross"]
PLACES: tuple[Place, ...] = ("encoder", "decoder", "cross")


class PTuningV2(Method):
    """Keys and values `[L', 2, K, P, D]` for a chosen subset of L' layers, trained directly or through an MLP.

    `init: text` starts from the keys and values that real text has in this backbone: in front of a causal model, the
    untrained prefix then *is* that text.

    In an encoder-decoder there are three places for them, each with its own: in the encoder, in the decoder, and where
    the decoder attends to the encoder.
    """

    name: ClassVar[str] = "p-tuning-v2"
    brings_keys: ClassVar[bool] = True

    class Config(MethodConfig):
        """PEFT's names where the meaning is the same.

        `layers`: all, the half next to the output or the input, or layer numbers (negative ones count from the top);
        an encoder-decoder's are counted through, the encoder's first. `places`: of an encoder-decoder, all by default.
        `prefix_projection`: through an embedding `[P, E]` and an MLP of `encoder_hidden_size`. `init_std`: of random
        key/values. `dropout` acts on the key/values in training. `position_offset`: how far the text moves; by default
        P for real text in front of a causal model, and 0 otherwise.
        """

        name: Literal["p-tuning-v2"] = "p-tuning-v2"
        num_virtual_tokens: int | None = Field(None, ge=1, le=MOST)
        layers: Depth | list[int] = "all"
        places: list[Place] | None = Field(None, min_length=1)
        init: Literal["random", "zero", "text"] = "random"
        init_std: float = Field(0.02, gt=0)
        init_text: str | None = None
        prefix_projection: bool = False
        encoder_hidden_size: int | None = Field(None, ge=1, le=MOST)
        dropout: float = Field(0.0, ge=0, lt=1)
        position_offset: int | None = Field(None, ge=0)

        @model_validator(mode="after")
        def _fits(self) -> Self:
            if self.prefix_projection and self.init != "random":
                raise ConfigError(f"init: {self.init} sets the key/values, which prefix_projection makes by its MLP",
                                  do="use init: random with prefix_projection")  # fmt: skip
            if self.encoder_hidden_size and not self.prefix_projection:
                raise ConfigError("encoder_hidden_size is the MLP's, and there is none", do="set prefix_projection")
            if self.init_text and self.init != "text":
                raise ConfigError("init_text is given, and init does not ask for it", do="set init: text")
            if self.init_std != 0.02 and (self.prefix_projection or self.init != "random"):
                raise ConfigError("init_std is that of random key/values, and there are none", do="take init_std out")
            return self

    def __init__(self, config: Config, setup: MethodSetup) -> None:
        super().__init__(config, setup)
        setup.backbone.require("key_values")
        geometry = setup.backbone.geometry
        self.layers, self.cross = _chosen(config, setup.backbone)
        self.dropout = config.dropout
        self.position_offset = config.position_offset or 0
        self.reparameterised = config.prefix_projection
        generator = setup.generator()
        if config.init == "text":
            table = self._of_text(config, setup.backbone)
            if config.position_offset is None and setup.backbone.kind == "causal":
                self.position_offset = table.shape[3]
            self.table = nn.Parameter(table)
            return
        length = config.num_virtual_tokens or 16
        shape = (len(self.layers) + len(self.cross), 2, geometry.kv_heads, length, geometry.head_size)
        if config.prefix_projection:
            self.shape = shape
            hidden = config.encoder_hidden_size or geometry.embedding
            self.embedding = nn.Parameter(torch.randn(length, geometry.embedding, generator=generator) * 0.02)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(setup.seed)
                outputs = shape[0] * 2 * geometry.kv_heads * geometry.head_size
                self.encoder = nn.Sequential(
                    nn.Linear(geometry.embedding, hidden), nn.Tanh(), nn.Linear(hidden, outputs)
                )
        elif config.init == "zero":
            self.table = nn.Parameter(torch.zeros(shape))
        else:
            self.table = nn.Parameter(torch.randn(shape, generator=generator) * config.init_std)

    @torch.no_grad()
    def _of_text(self, config: Config, backbone: Backbone) -> Tensor:
        """`[L', 2, K, P, D]`; the text is cut or repeated to P tokens, and P is its length where none is given.

        Both stacks of an encoder-decoder read it, the decoder behind what its answers begin with.
        """
        ids = text_ids(config.init_text, backbone)
        length = config.num_virtual_tokens or len(ids)
        ids = [ids[i % len(ids)] for i in range(length)]
        frame = Frame.of(backbone.tokenizer, pair=False)
        ahead, behind = ((), ()) if backbone.kind == "causal" else (frame.prefix, frame.suffix)
        start = backbone.decoder_start
        row = as_row((*ahead, *ids, *behind), None if start is None else (start, *frame.prefix, *ids))
        if row.encoded > backbone.geometry.positions:
            raise ConfigError(
                f"the initial text needs {row.encoded} positions; {backbone.name} has {backbone.geometry.positions}",
                do="shorten method.init_text, or lower method.num_virtual_tokens",
            )
        batch, above = collate([Item((row,))], backbone.pad_id, device=str(backbone.device)), backbone.geometry.layers
        made = backbone.recorded(backbone.embed(batch.ids), batch.mask, batch.positions, border=batch.border)
        first = dict.fromkeys(made, len(ahead)) | dict.fromkeys(backbone.geometry.cross_layers, len(frame.prefix) + 1)
        slots = (*self.layers, *(layer + above for layer in self.cross))
        return torch.stack([made[slot][:, 0, :, first[slot] : first[slot] + length] for slot in slots])

    def compiled(self) -> Injection:
        if self.reparameterised:
            length = self.embedding.shape[0]
            made = self.encoder(self.embedding).view(length, *self.shape[:3], self.shape[4])
            table = made.permute(1, 2, 3, 0, 4)
        else:
            table = self.table
        table = nn.functional.dropout(table, self.dropout, self.training)
        own, cross = table.split([len(self.layers), len(self.cross)])
        return Injection(
            key_values=KeyValues(self.layers, own) if self.layers else None,
            cross=KeyValues(self.cross, cross) if self.cross else None,
            position_offset=self.position_offset,
        )


def _chosen(config: PTuningV2.Config, backbone: Backbone) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The layers with key/values of their own, and those with some beside the encoder's.

    **Raises** `ConfigError` for places that the backbone does not have, or that none of the layers has.
    """
    chosen = chosen_layers(config.layers, backbone.geometry.layers)
    if not backbone.two_stacks:
        if config.places is not None:
            raise Unsupported(
                f"places are those of an encoder-decoder, and {backbone.name} has one stack", do="leave places out"
            )
        return chosen, ()
    if config.position_offset:
        raise ConfigError(
            f"position_offset: {config.position_offset}; {backbone.name}'s stacks count their positions themselves",
            do="leave position_offset out",
        )
    decoder = tuple(layer for layer in chosen if layer in backbone.geometry.cross_layers)
    has = {"encoder": tuple(layer for layer in chosen if layer not in decoder), "decoder": decoder, "cross": decoder}
    for place in config.places or ():
        if not has[place]:
            last = backbone.geometry.encoder_layers - 1
            raise ConfigError(
                f"places names {place}, and layers leaves none for it: 0 to {last} are the encoder's",
                do=f"take {place} out of places, or choose other layers",
            )
    at = {place: layers if place in (config.places or PLACES) else () for place, layers in has.items()}
    return (*at["encoder"], *at["decoder"]), at["cross"]


def chosen_layers(layers: Depth | list[int], count: int) -> tuple[int, ...]:
    """Layer numbers in ascending order. **Raises** `ConfigError` for a layer that the backbone does not have."""
    if layers == "all":
        return tuple(range(count))
    if layers == "top-half":
        return tuple(range(count // 2, count))
    if layers == "bottom-half":
        if count < 2:
            raise ConfigError("layers: bottom-half of one layer is none", do="set layers: all")
        return tuple(range(count // 2))
    assert isinstance(layers, list)
    wrong = [layer for layer in layers if not -count <= layer < count]
    if wrong or not layers:
        raise ConfigError(f"layers: {wrong or 'none given'}; the backbone has layers 0 to {count - 1}")
    chosen = sorted({layer % count for layer in layers})
    if len(chosen) != len(layers):
        raise ConfigError(f"layers: {layers} names a layer twice")
    return tuple(chosen)
