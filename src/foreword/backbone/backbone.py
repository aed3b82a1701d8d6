"""A frozen model as the rest of the program sees it: embed, run, read out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from foreword.backbone.anatomy import Anatomy, Recorded, anatomy_of
from foreword.backbone.attention import NAME, LayerPrefix, Prefix
from foreword.backbone.geometry import Geometry, Kind
from foreword.backbone.heads import bias_of, features_of, last_matrix
from foreword.backbone.identity import arguments, owners
from foreword.backbone.identity import fingerprint as fingerprint
from foreword.backbone.int8 import round_layers
from foreword.backbone.lines import Lines
from foreword.backbone.passage import Passages, Reached
from foreword.backbone.probing import probe, sample_of
from foreword.backbone.sited import Twins, twins_of
from foreword.backbone.stacks import Encoded, Stacks
from foreword.errors import BackboneError, Unsupported
from foreword.injections import Sites


class Backbone:
    """One frozen transformer with its tokenizer; made by `foreword.backbone.loading.load` or from a model at hand.

    The model is put in eval mode, its parameters take no gradient, and its attention is routed through
    `foreword.backbone.attention` until `detach`. What a family can do is probed, not assumed: `refusals` says what it
    cannot and why.
    """

    def __init__(self, model: Any, tokenizer: Any, kind: Kind, name: str, *, head: bool = True) -> None:
        self.model, self.tokenizer, self.kind, self.name = model, tokenizer, kind, name
        self.two_stacks = kind == "encoder-decoder"
        self.trunk: Any = Stacks(model) if self.two_stacks else getattr(model, model.base_model_prefix, model)
        self.family: str = model.config.model_type
        self.refusals: dict[str, str] = {}
        self._training, self._learning = model.training, [p for p in model.parameters() if p.requires_grad]
        self.model.eval().requires_grad_(False)
        self._previous = model.config._attn_implementation
        self.model.set_attn_implementation(NAME)
        self._owners = owners(model)
        self._positions = "position_ids" in arguments(self.trunk)
        self._types = "token_type_ids" in arguments(self.trunk) and getattr(model.config, "type_vocab_size", 0) > 0
        self._features, self._matrix, self._bias = features_of(model, kind), last_matrix(model), bias_of(model)
        self.slots: dict[nn.Module, int] = {}
        """The number of each attention module, as in `Prefix`, in the order in which they run."""
        self._passages: Passages | None = None
        self.product: Callable[[Tensor, Tensor, Tensor | None], Tensor] = linear
        """How the head multiplies; a server has one for few rows (`foreword.serving.packing`)."""
        self.rounded = False
        """Whether its layers compute in int8, so that no gradient runs through them."""
        self.state_width = 0
        """How wide `states` are; in a few families another number than H."""
        self.geometry: Geometry = probe(self, head)

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.embedding.weight.device

    @property
    def embedding(self) -> nn.Embedding:
        """The word embedding, weight `[V, E]`."""
        return self.trunk.get_input_embeddings()

    @property
    def words(self) -> Tensor:
        """`[V, E]`, what `embed` gives for each id: some families scale what their table holds."""
        scale = getattr(self.embedding, "embed_scale", None)
        return self.embedding.weight if scale is None else self.embedding.weight * scale

    @property
    def pad_id(self) -> int:
        """The id at padded and virtual places; what it is does not matter, since nothing sees it."""
        return self.tokenizer.pad_token_id or 0

    @property
    def segments(self) -> bool:
        """Whether the family takes segment ids, and has more than one."""
        return self._types and self.model.config.type_vocab_size > 1

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the trunk's parameters and buffers, names and values; equal for equal frozen models."""
        return fingerprint(self.trunk)

    @cached_property
    def identity(self) -> str:
        """sha256 of the fingerprint and of the settings that the forward pass depends on."""
        settings = self.model.config.to_dict()
        for name in ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype"):
            settings.pop(name, None)
        return hashlib.sha256(
            f"{self.fingerprint}{json.dumps(settings, sort_keys=True, default=str)}".encode()
        ).hexdigest()

    @property
    def windowed(self) -> bool:
        """Whether some layer lets a token look back over a part of the text only."""
        config = self.model.config
        kinds = getattr(config, "layer_types", None)
        return (
            any(kind != "full_attention" for kind in kinds) if kinds else bool(getattr(config, "sliding_window", None))
        )

    @property
    def decoder_start(self) -> int | None:
        """The id that the decoder of an encoder-decoder begins with; None in other models."""
        if not self.two_stacks:
            return None
        configs = (self.model.config, self.model.generation_config)
        return next((i for one in configs if (i := getattr(one, "decoder_start_token_id", None)) is not None), None)

    def require(self, what: str) -> None:
        """**Raises** `Unsupported` when the backbone cannot do `what`.

        "key_values"; "parts": something may stand in for its layers; "passage": it runs from a layer on, or for a few
        places; "lines": it runs without padding; "head".
        """
        if what in self.refusals:
            raise Unsupported(f"{self.name} ({self.family}) has no support for {what}: {self.refusals[what]}")

    # -- what it does -------------------------------------------------------------------------------------------

    def embed(self, ids: Tensor) -> Tensor:
        """`[B, T]` ids to `[B, T, E]` word embeddings."""
        return self.embedding(ids)

    def forward(
        self,
        embeds: Tensor,
        mask: Tensor,
        positions: Tensor,
        types: Tensor | None = None,
        prefix: Prefix | None = None,
        cache: Any = None,
        start: int = 0,
        states: Tensor | None = None,
        read: Tensor | None = None,
        twins: Twins | None = None,
        border: int | None = None,
        lines: Lines | None = None,
    ) -> Tensor:
        """Run the trunk: `[B, T, H]` last hidden states.

        `embeds`: `[B, T, E]`. `mask`: `[B, S + T]`, 1 for tokens, S being what the cache holds. `positions`: `[B, T]`,
        counted from 0. `types`: `[B, T]` segment ids, ignored by families without them.

        From layer `start` on, with `states` `[B, T, H]` as its input (see `states`). With `read`, `[B, A]` places and
        -1 for none, the last layer is run for these alone, and what stands at other places has no meaning. `twins`
        stand in for the layers that have sites. `border`: of an encoder-decoder's places, the first of the decoder's.
        `lines`: how the tokens of the mask lie end to end, for a run without padding (see `lines`).
        """
        if lines is not None:
            prefix = replace(self._carrier(prefix, twins), lines=lines)
            embeds, mask, positions = (lines.lay(part) for part in (embeds, mask, positions))
            types = None if types is None else lines.lay(types)
        inputs = self._inputs(embeds, mask, positions, types)
        if self.kind == "causal":
            inputs |= {"past_key_values": cache, "use_cache": cache is not None}
        if self.two_stacks:
            if border is None:
                raise Unsupported(f"{self.name} ({self.family}) is an encoder-decoder, and this is done with one stack")
            inputs["border"] = border
        read = None if "passage" in self.refusals else read
        trunk = self.trunk
        if start or read is not None or twins is not None:
            prefix = replace(self._carrier(prefix, twins), fed=states, read=read)
            trunk = self._parts().get(start, read=read is not None, twins=twins)
        if prefix is not None:
            inputs["foreword"] = prefix
        hidden = trunk(**inputs).last_hidden_state
        return hidden if lines is None else lines.stand(hidden)

    def lines(self, mask: Tensor) -> Lines | None:
        """How the rows of a `[B, T]` mask can be run without padding; None where they cannot, or nothing is gained."""
        return None if "lines" in self.refusals else Lines.of(mask)

    def states(
        self,
        embeds: Tensor,
        mask: Tensor,
        positions: Tensor,
        types: Tensor | None = None,
        prefix: Prefix | None = None,
        *,
        stop: int,
        start: int = 0,
        states: Tensor | None = None,
        twins: Twins | None = None,
    ) -> Tensor:
        """`[B, T, H]`, what the layers below `stop` give: the input of layer `stop`, for `forward` to start at.

        `start`, `states` and `twins` as in `forward`. **Raises** `Unsupported` where the family cannot be run in parts.
        """
        if start == stop and states is not None:
            return states
        self.require("passage")
        inputs = self._inputs(embeds, mask, positions, types)
        if self.kind == "causal":
            inputs |= {"past_key_values": None, "use_cache": False}
        if start or twins is not None:
            prefix = replace(self._carrier(prefix, twins), fed=states)
        if prefix is not None:
            inputs["foreword"] = prefix
        try:
            self._parts().get(start, stop, twins=twins)(**inputs)
        except Reached as reached:
            return reached.hidden
        raise BackboneError(f"{self.name} has no layer {stop - 1}")

    def encode(self, embeds: Tensor, mask: Tensor, prefix: Prefix | None = None, twins: Twins | None = None) -> Encoded:
        """The encoder alone, on `[B, S, E]` embeddings; for `decode`."""
        return self._stacks(twins).encode(embeds, mask, self._carried(prefix, twins))

    def decode(
        self,
        encoded: Encoded,
        embeds: Tensor,
        mask: Tensor,
        prefix: Prefix | None = None,
        cache: Any = None,
        twins: Twins | None = None,
    ) -> Tensor:
        """The decoder alone, on `[B, U, E]` embeddings: `[B, U, H]`. `mask`: `[B, R + U]`, R of them in the cache."""
        return self._stacks(twins).decode(encoded, embeds, mask, self._carried(prefix, twins), cache)

    def _stacks(self, twins: Twins | None) -> Stacks:
        trunk = self.trunk if twins is None else self._parts().get(twins=twins)
        assert isinstance(trunk, Stacks)
        return trunk

    def _carried(self, prefix: Prefix | None, twins: Twins | None) -> Prefix | None:
        return prefix if twins is None else self._carrier(prefix, twins)

    def _carrier(self, prefix: Prefix | None, twins: Twins | None) -> Prefix:
        """The pass's prefix, or an empty one, in which the twins' attention has its slots."""
        prefix = prefix or Prefix(self.slots)
        return prefix if twins is None else replace(prefix, slots={**prefix.slots, **twins.slots})

    def twins(self, owners: Sequence[str | None], sites: Mapping[str | None, Sites], salt: int = 0) -> Twins:
        """What `forward` takes, for rows of these owners and the owners' operations. `salt` goes into dropout."""
        return twins_of(self._parts().layers, self.slots, owners, sites, salt)

    @property
    def layers(self) -> Sequence[nn.Module]:
        """Its layers, an encoder's before its decoder's. **Raises** `Unsupported` where they are in no list."""
        return self._parts().layers

    @cached_property
    def anatomy(self) -> Anatomy:
        """What its layers are made of. **Raises** `Unsupported` where that could not be seen."""
        names = {id(module): name for name, module in self.model.named_modules()}
        layers, sample = self._parts().layers, sample_of(self)

        def run(recorded: Recorded) -> None:
            self.forward(
                self.embed(sample.ids), *sample[1:3], prefix=Prefix({}, recorded=recorded), border=sample.border
            )

        attention = [sum(slot % len(layers) == layer for slot in self.slots.values()) for layer in range(len(layers))]
        titles = [names[id(layer)] for layer in layers]
        return anatomy_of(layers, titles, attention, self.state_width, self.family, run)

    def _parts(self) -> Passages:
        self.require("parts")
        assert self._passages is not None
        return self._passages

    def _inputs(self, embeds: Tensor, mask: Tensor, positions: Tensor, types: Tensor | None = None) -> dict[str, Any]:
        inputs: dict[str, Any] = {"inputs_embeds": embeds, "attention_mask": mask}
        if self._positions:
            inputs["position_ids"] = positions + self.geometry.position_base
        if self._types and types is not None:
            inputs["token_type_ids"] = types
        return inputs

    def logits(self, hidden: Tensor, words: Tensor | None = None) -> Tensor:
        """`[..., H]` to `[..., V]`, or to `[..., n]` for the `n` vocabulary ids in `words` alone."""
        self.require("head")
        assert self._features is not None and self._matrix is not None
        features, bias = self._features(hidden), self._bias()
        if words is None:
            return self.product(features, self._matrix.weight, bias)
        return linear(features, self._matrix.weight[words], None if bias is None else bias[words])

    def prefix(self, layers: Mapping[int, LayerPrefix]) -> Prefix:
        """What `forward` takes, for these layers' key/values."""
        return Prefix(self.slots, layers)

    def record(
        self,
        embeds: Tensor,
        mask: Tensor,
        positions: Tensor,
        types: Tensor | None = None,
        layers: Mapping[int, LayerPrefix] | None = None,
        twins: Twins | None = None,
    ) -> Tensor:
        """The keys and values that texts have in each layer, `[L, 2, B, K, T, D]`, under the key/values of `layers`.

        The arguments are those of `forward`. Differentiable. Of a trunk of one stack.
        """
        return torch.stack(list(self.recorded(embeds, mask, positions, types, layers, twins).values()))

    def recorded(
        self,
        embeds: Tensor,
        mask: Tensor,
        positions: Tensor,
        types: Tensor | None = None,
        layers: Mapping[int, LayerPrefix] | None = None,
        twins: Twins | None = None,
        border: int | None = None,
    ) -> dict[int, Tensor]:
        """As `record`, `[2, B, K, T, D]` by the numbers of `Prefix`; with a `border`, of both stacks."""
        self.require("key_values")
        recorder = Prefix(self.slots, layers or {}, recorded=[])
        self.forward(embeds, mask, positions, types, recorder, twins=twins, border=border)
        seen = recorder.recorded or ()
        return {slot: torch.stack(pair[1:]) for slot, pair in zip(self.slots.values(), seen, strict=True)}

    def key_values(self, embeds: Tensor, types: Tensor | None = None, offset: int = 0) -> Tensor:
        """The keys and values that a text of T tokens has in each layer, `[L, 2, K, T, D]`.

        `embeds`: `[T, E]`, placed at positions `offset`, `offset + 1`, ... Differentiable in `embeds`.
        """
        where = torch.arange(offset, offset + embeds.shape[0], device=self.device)[None]
        return self.record(embeds[None], torch.ones_like(where), where, types)[:, :, 0]

    @contextmanager
    def weights(self, replaced: Mapping[str, Tensor] | None) -> Iterator[None]:
        """Run with some of the model's parameters replaced (ties included), and with its own again afterwards."""
        if not replaced:
            yield
            return
        own = dict(self.model.named_parameters())
        unknown = sorted(set(replaced) - set(own))
        if unknown:
            raise BackboneError(f"{self.name} has no parameter {unknown[0]}")
        places = [(own[name], tensor, self._owners[id(own[name])]) for name, tensor in replaced.items()]
        try:
            for _, tensor, owners in places:
                for module, key in owners:
                    module._parameters[key] = tensor  # type: ignore[assignment]
            yield
        finally:
            for parameter, _, owners in places:
                for module, key in owners:
                    module._parameters[key] = parameter

    def round_to_int8(self) -> None:
        """From now on, the layers' matrix products are in int8; there is no way back, and no training.

        The fingerprint stays that of the exact weights, so that their artifacts fit. **Raises** `Unsupported` where the
        layers are in no list that could be found.
        """
        self.require("parts")
        if not self.rounded:
            _ = self.fingerprint, self.identity
            for layer in self._parts().layers:
                round_layers(layer)
            self._owners = owners(self.model)
            self.rounded = True

    def detach(self) -> Any:
        """The model as it was before it became a backbone."""
        self.model.set_attn_implementation(self._previous)
        self.model.train(self._training)
        for parameter in self._learning:
            parameter.requires_grad_(True)
        return self.model
