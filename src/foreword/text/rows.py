"""One tokenised input: what a template makes of an example, and what the backbone is given.

Notation here and everywhere: B rows, T tokens, P virtual tokens, H hidden, L layers, K key/value heads, D head size,
V vocabulary, F forewords in a bank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Spot(NamedTuple):
    """What of a field stands at a place: its `number` (of a word, or of a token), characters `start` … `end` - 1."""

    number: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a batch before padding, T tokens long.

    `ids`: token ids; a virtual token's place holds the tokenizer's padding id (its vector is put in later).
    `soft`: for each place, which of the foreword's P virtual tokens stands there, or -1 for text.
    `types`: segment ids (0, and 1 after the separator) for families that use them.
    `cls`: place of the classification token, or None where the tokenizer has none.
    `answers`: places that the answer is read at. Masked models: the mask tokens. Causal models: the places whose
    next-token distribution scores the answer's tokens, in order. Where the answer points into a field: the places of
    its words (the first token of each) or of its tokens, and `spots` says what of the field stands there.
    `cut`: how many text tokens were removed to fit.
    `border`: in an encoder-decoder, how many of the places are the encoder's; those behind them are the decoder's, and
    the answers among them. None where there is one stack.
    """

    ids: tuple[int, ...]
    soft: tuple[int, ...]
    types: tuple[int, ...]
    cls: int | None
    answers: tuple[int, ...]
    cut: int = 0
    spots: tuple[Spot, ...] = ()
    border: int | None = None

    @property
    def encoded(self) -> int:
        """How many places stand before the border: all, where there is none."""
        return len(self.ids) if self.border is None else self.border

    def __len__(self) -> int:
        return len(self.ids)


def as_row(ids: Sequence[int], decoder: Sequence[int] | None = None) -> Row:
    """Plain tokens as a row, of which nothing is read; `decoder`: those of an encoder-decoder's decoder."""
    whole = (*ids, *(decoder or ()))
    border = None if decoder is None else len(ids)
    return Row(whole, (-1,) * len(whole), (0,) * len(whole), None, (), border=border)
