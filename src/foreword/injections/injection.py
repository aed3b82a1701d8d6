"""The few kinds of injection, as plain data.

A method's trainable module compiles to an `Injection` once per step in training and once per artifact in serving. An
injection has no batch dimension: which rows it applies to is the bank's business.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from foreword.errors import ArtifactError
from foreword.injections.sites import Sites


@dataclass(frozen=True)
class SoftTokens:
    """Vectors in the place of word embeddings, at the template's soft slots.

    `vectors`: `[P, E]`, E the width of the word embedding (H for nearly all families).
    """

    vectors: Tensor


@dataclass(frozen=True)
class KeyValues:
    """Keys and values that every text token sees, in a chosen subset of layers (Li and Liang 2021; Liu et al. 2022).

    `layers`: the L' layers, ascending. `tensor`: `[L', 2, K, P, D]`, keys first, at the geometry of the key/value
    heads; keys are given as attention sees them, after any rotation.
    """

    layers: tuple[int, ...]
    tensor: Tensor

    @property
    def length(self) -> int:
        """P."""
        return self.tensor.shape[3]


@dataclass(frozen=True)
class Weights:
    """The backbone's own parameters, replaced: what full fine-tuning compiles to. Names as in the backbone's model."""

    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class Injection:
    """All that one foreword adds to the backbone; empty for a hard prompt.

    `key_values` are what a stack's own tokens are attended to beside, `cross` what an encoder's are: its layers are
    those of the decoder. `position_offset`: added to the positions of all tokens of the row, for key/values that were
    made at the positions before them.
    """

    soft: SoftTokens | None = None
    key_values: KeyValues | None = None
    weights: Weights | None = None
    position_offset: int = 0
    sites: Sites | None = None
    cross: KeyValues | None = None

    @property
    def virtual_tokens(self) -> int:
        """How many places of the backbone's positions this takes from the text."""
        return self.position_offset + (0 if self.soft is None else self.soft.vectors.shape[0])

    @property
    def lowest_layer(self) -> int | None:
        """The lowest layer whose output it changes by other means than its input; None where there is none."""
        found = [table.layers[0] for table in (self.key_values, self.cross) if table is not None]
        return min([*found, *([] if self.sites is None else [self.sites.lowest])], default=None)

    @property
    def highest_layer(self) -> int | None:
        """The highest layer with key/values or a site of its own; None where there is none."""
        found = [table.layers[-1] for table in (self.key_values, self.cross) if table is not None]
        return max([*found, *([] if self.sites is None else [self.sites.highest])], default=None)

    @property
    def random(self) -> bool:
        """Whether random numbers are drawn when it is used: it was compiled in training, with dropout at its sites."""
        return self.sites is not None and self.sites.drops

    def tensors(self) -> dict[str, Tensor]:
        """Named tensors for storage; `from_tensors` reads them back."""
        named: dict[str, Tensor] = {}
        if self.soft is not None:
            named["soft_tokens"] = self.soft.vectors
        for name, table in (("key_values", self.key_values), ("cross", self.cross)):
            if table is not None:
                named |= {name: table.tensor, f"{name}.layers": torch.tensor(table.layers)}
        if self.weights is not None:
            named |= {f"weights.{name}": tensor for name, tensor in self.weights.tensors.items()}
        if self.sites is not None:
            named |= {f"sites.{name}": tensor for name, tensor in self.sites.tensors().items()}
        return named

    @classmethod
    def from_tensors(cls, named: Mapping[str, Tensor], position_offset: int) -> Injection:
        """**Raises** `ArtifactError` on a tensor that no injection has."""
        rest = dict(named)
        soft = rest.pop("soft_tokens", None)
        own, cross = ([rest.pop(part, None) for part in (one, f"{one}.layers")] for one in ("key_values", "cross"))
        if soft is not None and soft.ndim != 2:
            raise ArtifactError(f"soft tokens of shape {tuple(soft.shape)}, expected [P, E]")
        weights = {name.removeprefix("weights."): rest.pop(name) for name in list(rest) if name.startswith("weights.")}
        sites = {name.removeprefix("sites."): rest.pop(name) for name in list(rest) if name.startswith("sites.")}
        if rest:
            raise ArtifactError(f"unknown tensors: {', '.join(sorted(rest))}")
        return cls(
            soft=None if soft is None else SoftTokens(soft),
            key_values=_key_values(*own),
            cross=_key_values(*cross),
            weights=Weights(weights) if weights else None,
            position_offset=position_offset,
            sites=Sites.from_tensors(sites) if sites else None,
        )

    def detached(self) -> Injection:
        """The same values without their history, for use after training.

        They lie in memory as those that are read from a file do: a product may differ in its last bit by that alone.
        """
        named = {
            name: tensor.detach().clone(memory_format=torch.contiguous_format)
            for name, tensor in self.tensors().items()
        }
        return Injection.from_tensors(named, self.position_offset)

    def size(self) -> int:
        """How many numbers are stored."""
        return sum(math.prod(t.shape) for name, t in self.tensors().items() if not name.endswith(".layers"))


def _key_values(table: Tensor | None, layers: Tensor | None) -> KeyValues | None:
    if table is None and layers is None:
        return None
    if table is None or layers is None:
        raise ArtifactError("key/values without their layers, or layers without their key/values")
    if table.ndim != 5 or table.shape[1] != 2 or layers.ndim != 1 or len(layers) != len(table):
        raise ArtifactError(
            f"key/values of shape {tuple(table.shape)} for {layers.numel()} layers, expected [L', 2, K, P, D]"
        )
    return KeyValues(tuple(int(i) for i in layers), table)
