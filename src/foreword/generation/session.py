"""One batch under way: the prompt once, then a token for every row at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from foreword.backbone.attention import Prefix
from foreword.backbone.stacks import Encoded, new_cache
from foreword.bank import Bank
from foreword.batch import Item, collate
from foreword.errors import ConfigError


class Session:
    """B rows in generation, each under its own foreword; made by running the prompts.

    `logits`: `[B, V]` float32, for the next token of every row. The cache holds real tokens only (padding stands on
    their left): what a foreword puts in front is passed again at every step, and stands in memory once for a batch of
    one foreword. Without a cache every step runs everything from the first token on. An encoder is run once; what is
    said here of a row's tokens is then meant of the decoder's.

    All calls stand inside one `backbone.weights(...)`, since all rows of a session share the backbone's weights.

    **Raises** `ConfigError` for an unknown foreword, a row beyond the backbone's positions, and rows whose decoders
    have begun answers of different lengths.
    """

    def __init__(self, bank: Bank, items: Sequence[Item], use_cache: bool = True) -> None:
        batch = collate(items, bank.backbone.pad_id, side="left", device=str(bank.backbone.device))
        self._bank = bank
        self._cache = new_cache(bank.backbone.model.config, bank.backbone.two_stacks) if use_cache else None
        self._owners = batch.owners
        self._prefix, self._twins = bank.prefix(batch.owners), bank.twins(batch.owners)
        self._mask = batch.mask
        # What the next pass runs: with a cache, only what the cache does not hold yet.
        self._embeds, self._positions, self._types = bank.embeds(batch), bank.positions(batch), batch.types
        self._encoded = None if batch.border is None else self._encode(batch.border)
        self.logits = self._run()

    def _encode(self, border: int) -> Encoded:
        """Run the encoder on its places, and keep those of the decoder."""
        ahead, self._mask = self._mask.split([border, self._mask.shape[1] - border], dim=1)
        if not bool(self._mask.all()):
            raise ConfigError("answers that have begun go on together where they are equally long", do="part the batch")
        encoded = self._bank.backbone.encode(self._embeds[:, :border], ahead, self._carrier(), self._twins)
        self._embeds, self._positions = self._embeds[:, border:], self._positions[:, border:]
        self._types = self._types[:, border:]
        return encoded

    def step(self, tokens: Sequence[int]) -> None:
        """Append one token to every row, and find the logits of the next."""
        new = torch.tensor(list(tokens), device=self._mask.device)[:, None]
        added = (self._bank.backbone.embed(new), self._positions[:, -1:] + 1, self._types[:, -1:])
        if self._cache is None:
            parts = ((self._embeds, added[0]), (self._positions, added[1]), (self._types, added[2]))
            self._embeds, self._positions, self._types = (torch.cat(part, dim=1) for part in parts)
        else:
            self._embeds, self._positions, self._types = added
        self._mask = torch.cat([self._mask, torch.ones_like(new)], dim=1)
        self.logits = self._run()

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these rows, in this order: rows can be dropped, repeated and reordered."""
        if list(rows) == list(range(len(self._owners))):
            return
        index = torch.tensor(list(rows), device=self._mask.device)
        if self._cache is not None:
            self._cache.batch_select_indices(index)
        self._mask, self.logits, self._embeds = self._mask[index], self.logits[index], self._embeds[index]
        self._positions, self._types = self._positions[index], self._types[index]
        self._encoded = None if self._encoded is None else self._encoded.select(index)
        owners = tuple(self._owners[row] for row in rows)
        if owners != self._owners:
            self._owners, self._prefix, self._twins = owners, self._bank.prefix(owners), self._bank.twins(owners)

    def _run(self) -> Tensor:
        backbone, prefix = self._bank.backbone, self._carrier()
        if self._encoded is None:
            hidden = backbone.forward(
                self._embeds, self._mask, self._positions, self._types, prefix, self._cache, twins=self._twins
            )
        else:
            hidden = backbone.decode(self._encoded, self._embeds, self._mask, prefix, self._cache, self._twins)
        return backbone.logits(hidden[:, -1]).float()

    def _carrier(self) -> Prefix | None:
        """A new carrier of the same tensors: it keeps the masks of its pass, which the next pass has no use for."""
        return None if self._prefix is None else self._bank.backbone.prefix(self._prefix.layers)
