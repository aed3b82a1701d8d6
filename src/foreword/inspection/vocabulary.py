"""The words that a vector can be compared with: the vocabulary's entries, their embeddings and how these lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from foreword.backbone.backbone import Backbone
from foreword.errors import Unsupported
from foreword.methods._initial import real_ids

MEASURES = ("cosine", "dot", "euclidean")
SAME = 1 - 1e-4
"""The cosine from which on two directions are one, up to rounding."""
_CELLS = 1 << 24  # similarities that are held at once: 64 MB


@dataclass(frozen=True)
class Vocabulary:
    """n words: their `ids`, their spelling, and `[n, E]` embeddings.

    `whole`: only entries that the tokenizer uses for a word standing alone after a space.
    """

    ids: tuple[int, ...]
    words: tuple[str, ...]
    table: Tensor
    whole: bool

    @classmethod
    def of(cls, backbone: Backbone, *, whole: bool = True, table: Tensor | None = None) -> Vocabulary:
        """`table`: the word embeddings, where those of the backbone may be another's for a while (fine-tuned ones).

        **Raises** `Unsupported` for a vocabulary without any whole word.
        """
        ids = whole_ids(backbone) if whole else real_ids(backbone)
        if not ids:
            raise Unsupported(f"the vocabulary of {backbone.name} has no whole word", do="compare with all entries")
        table = backbone.embedding.weight if table is None else table
        return cls(tuple(ids), tuple(spelled(backbone, ids)), table.detach()[ids].float().cpu(), whole)

    @cached_property
    def units(self) -> Tensor:
        """`[n, E]` of length 1."""
        return torch.nn.functional.normalize(self.table, dim=1)

    @cached_property
    def lengths(self) -> Tensor:
        """`[n]`."""
        return self.table.norm(dim=1)

    def similarities(self, vectors: Tensor, measure: str) -> Tensor:
        """`[m, n]`, higher is nearer: cosine, dot product, or minus the Euclidean distance."""
        if measure == "cosine":
            return torch.nn.functional.normalize(vectors, dim=1) @ self.units.T
        if measure == "dot":
            return vectors @ self.table.T
        return -torch.cdist(vectors, self.table)

    def random(self, count: int, seed: int = 0) -> Tensor:
        """`[count, E]` from the normal distribution with the mean and the covariance of the word embeddings."""
        mean = self.table.mean(0)
        centred = (self.table - mean) / max(1, len(self.table) - 1) ** 0.5
        values, axes = torch.linalg.eigh((centred.T @ centred).double())
        drawn = torch.randn(count, len(values), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        return mean + ((drawn * values.clamp(min=0).sqrt()) @ axes.T).float()

    def nearest_of_random(self, vectors: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """`[P, m]` for each measure: how near each of m random directions is to its nearest word.

        `vectors`: `[m, E]`. `lengths`: `[P]`; a direction is taken at each of these lengths.
        """
        best: dict[str, list[Tensor]] = {name: [] for name in MEASURES}
        for part in torch.nn.functional.normalize(vectors, dim=1).split(max(1, _CELLS // len(self.table))):
            dots = part @ self.table.T
            best["cosine"].append((dots / self.lengths).amax(1).expand(len(lengths), -1))
            best["dot"].append(dots.amax(1) * lengths[:, None])
            squares = [(self.lengths**2 - 2 * length * dots).amin(1) + length**2 for length in lengths]
            best["euclidean"].append(-torch.stack(squares).clamp(min=0).sqrt())
        return {name: torch.cat(found, dim=1) for name, found in best.items()}


@torch.no_grad()
def entries(backbone: Backbone, vectors: Tensor) -> list[str | None]:
    """The entry of the vocabulary in whose embedding's direction each of the `[P, E]` vectors lies; None for none."""
    table = backbone.embedding.weight.detach()
    sought = torch.nn.functional.normalize(vectors.detach().to(table), dim=1)
    best = torch.full((len(sought),), -1.0)
    places = torch.zeros(len(sought), dtype=torch.long)
    begin = 0
    for part in table.split(max(1, _CELLS // table.shape[1])):
        found, where = (sought @ torch.nn.functional.normalize(part, dim=1).T).float().cpu().max(1)
        nearer = found > best
        best[nearer], places[nearer] = found[nearer], where[nearer] + begin
        begin += len(part)
    words = spelled(backbone, places.tolist())
    return [word if near >= SAME else None for word, near in zip(words, best.tolist(), strict=True)]


def spelled(backbone: Backbone, ids: Sequence[int]) -> list[str]:
    """How each entry is written, without spaces around it; what is nothing but spaces as Python writes it."""
    made: list[str] = backbone.tokenizer.batch_decode([[i] for i in ids])
    return [text.strip() or repr(text) for text in made]


def whole_ids(backbone: Backbone) -> list[int]:
    """Entries that are a word by themselves: letters alone, and what the tokenizer makes of them after another word."""
    tokenizer = backbone.tokenizer
    ids = real_ids(backbone)
    wordy = [(i, word) for i, word in zip(ids, spelled(backbone, ids), strict=True) if word.isalpha()]
    if not wordy:
        return []
    ahead = list(tokenizer("a", add_special_tokens=False)["input_ids"])
    made = tokenizer([f"a {word}" for _, word in wordy], add_special_tokens=False, verbose=False)["input_ids"]
    return [i for (i, _), own in zip(wordy, made, strict=True) if list(own) == [*ahead, i]]
