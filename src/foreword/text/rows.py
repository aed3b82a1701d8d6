"""One tokenised input: what a template makes of an example, and what the backbone is given.

Notation here and everywhere: B rows, T tokens, P virtual tokens, H hidden, L layers, K key/value heads, D head size,
V vocabulary, F forewords in a bank.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a batch before padding, T tokens long.

    `ids`: token ids; a virtual token's place holds the tokenizer's padding id (its vector is put in later).
    `soft`: for each place, which of the foreword's P virtual tokens stands there, or -1 for text.
    `types`: segment ids (0, and 1 after the separator) for families that use them.
    `cls`: place of the classification token, or None where the tokenizer has none.
    `answers`: places that the answer is read at. Masked models: the mask tokens. Causal models: the places whose
    next-token distribution scores the answer's tokens, in order.
    `cut`: how many text tokens were removed to fit.
    """

    ids: tuple[int, ...]
    soft: tuple[int, ...]
    types: tuple[int, ...]
    cls: int | None
    answers: tuple[int, ...]
    cut: int = 0

    def __len__(self) -> int:
        return len(self.ids)
