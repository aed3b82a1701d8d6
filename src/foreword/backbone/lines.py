"""Runs without padding: the tokens of a batch lie end to end in one line, and stand in rows for attention alone.

What goes token by token (matrix products, norms, activations) is then computed for tokens, and not for padding. Each
row's queries, keys and values are the same as before, so that the same comes out (as in ByteTransformer, Zhai et al.
2023, section 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

WORTH = 0.9
"""The share of tokens among a batch's places above which padding costs less than laying and standing."""


@dataclass(frozen=True)
class Lines:
    """How the N tokens of a padded batch lie end to end.

    `seen`: `[B, T]` bool, where a token is. `where`: `[N]`, each token's place among B T. `number`: `[B, T]`, each
    place's token among N; that of padding is some token's.
    """

    seen: Tensor
    where: Tensor
    number: Tensor
    _masks: dict[bool, Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, mask: Tensor) -> Lines | None:
        """For a `[B, T]` mask, 1 for tokens; None where there is too little padding to gain anything."""
        seen = mask != 0
        where = seen.flatten().nonzero()[:, 0]
        if not 0 < len(where) < WORTH * mask.numel():
            return None
        number = (seen.flatten().cumsum(0) - 1).clamp(min=0).view(mask.shape)
        return cls(seen, where, number)

    def lay(self, rows: Tensor) -> Tensor:
        """`[B or 1, T, ...]` to `[1, N, ...]`."""
        rows = rows.expand(len(self.seen), *rows.shape[1:])
        return rows.reshape(-1, *rows.shape[2:]).index_select(0, self.where)[None]

    def stand(self, line: Tensor) -> Tensor:
        """`[1, N, ...]` to `[B, T, ...]`; what stands at padding has no meaning."""
        return line[0].index_select(0, self.number.flatten()).view(*self.seen.shape, *line.shape[2:])

    def mask(self, causal: bool) -> Tensor:
        """`[B, 1, T, T]` bool, True where a token may look; one object for all layers."""
        if causal not in self._masks:
            rows, width = self.seen.shape
            seen = self.seen[:, None, None, :].expand(rows, 1, width, width)
            line = torch.ones(width, width, dtype=torch.bool, device=seen.device)
            self._masks[causal] = seen & line.tril() if causal else seen
        return self._masks[causal]
