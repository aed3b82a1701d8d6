"""Runs of text and their tokens: what one tokenizer makes of literal text and fields that stand side by side.

Text and fields are joined and tokenised as one string, so that byte-pair merges and spaces come out as they do in
natural text; character offsets then tell which token belongs to which field.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from foreword.errors import TemplateError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NOWHERE = -1


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text before it is tokenised.

    `slot`: index of the template's field whose tokens may be cut here, or -1. `plain`: the text comes from data, so a
    special token's name in it ("[SEP]", "<|im_end|>") is only text. `mask`: this is the mask token. `spotted`: its
    tokens are to say which characters they cover, counted with the `skipped` ones that were taken from its front.
    """

    text: str
    slot: int = NOWHERE
    plain: bool = False
    mask: bool = False
    spotted: bool = False
    skipped: int = 0

    def without_front(self, count: int) -> Piece:
        """This piece without its first `count` characters."""
        return replace(self, text=self.text[count:], skipped=self.skipped + count)


class Token(NamedTuple):
    """A token of a run: its id, the slot that it may be cut from (or -1), and whether it is the mask.

    `start`, `end`: the characters of the spotted piece that it covers, white space at its ends aside; -1 for none.
    """

    id: int
    slot: int
    mask: bool
    start: int = NOWHERE
    end: int = NOWHERE


@dataclass(frozen=True, slots=True)
class Frame:
    """The special tokens that a tokenizer puts around a text, or around and between two, with their segment ids."""

    prefix: tuple[int, ...]
    middle: tuple[int, ...]
    suffix: tuple[int, ...]
    prefix_types: tuple[int, ...]
    middle_types: tuple[int, ...]
    suffix_types: tuple[int, ...]
    text_types: tuple[int, int]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, pair: bool) -> Frame:
        """What the tokenizer itself does, seen on a probe of one text or of two."""
        encoded = tokenizer("a", "a" if pair else None)
        ids = list(encoded["input_ids"])
        types = list(encoded["token_type_ids"]) if "token_type_ids" in encoded else [0] * len(ids)
        texts = encoded.sequence_ids(0)
        first = texts.index(0)
        end = len(texts) - texts[::-1].index(0)
        second = texts.index(1) if pair else end
        last = len(texts) - texts[::-1].index(1) if pair else end
        return cls(
            prefix=tuple(ids[:first]),
            middle=tuple(ids[end:second]),
            suffix=tuple(ids[last:]),
            prefix_types=tuple(types[:first]),
            middle_types=tuple(types[end:second]),
            suffix_types=tuple(types[last:]),
            text_types=(types[first], types[second] if pair else types[first]),
        )


def special_names(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str]:
    """Matches the name of any special token; nothing where there is none."""
    added = (str(token) for token in tokenizer.added_tokens_decoder.values() if token.special)
    names = {*tokenizer.all_special_tokens, *added}
    return re.compile("|".join(re.escape(name) for name in sorted(names)) or r"(?!)")


def adds_space(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer itself puts a space in front of a text, as SentencePiece does (or does not see spaces)."""
    word, two = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("a", "a a"))
    return list(two) == [*word, *word]


def ids_after(context: str, text: str, tokenizer: PreTrainedTokenizerBase, plain: bool = False) -> tuple[int, ...]:
    """The tokens of `text` as they come after `context`, where a tokenizer adds no space of its own.

    `plain`: names of special tokens are only text.
    """

    def ids(string: str) -> tuple[int, ...]:
        own = tokenizer(string, add_special_tokens=False, split_special_tokens=plain, verbose=False)
        return tuple(own["input_ids"])

    before, both = ids(context), ids(context + text)
    return both[len(before) :] if both[: len(before)] == before else ids(text)


def trim_start(pieces: Sequence[Piece], characters: str | None = None) -> list[Piece]:
    """The pieces without whitespace (or `characters`) at the front of their joined text."""
    for index, piece in enumerate(pieces):
        if piece.mask:
            return list(pieces[index:])
        text = piece.text.lstrip(characters)
        if text:
            return [piece.without_front(len(piece.text) - len(text)), *pieces[index + 1 :]]
    return []


def trim_end(pieces: Sequence[Piece], characters: str | None = None) -> list[Piece]:
    """The pieces without whitespace (or `characters`) at the end of their joined text."""
    for index in range(len(pieces) - 1, -1, -1):
        piece = pieces[index]
        text = piece.text if piece.mask else piece.text.rstrip(characters)
        if text:
            return [*pieces[:index], replace(piece, text=text)]
    return []


def tokenize(pieces: Sequence[Piece], tokenizer: PreTrainedTokenizerBase, special: re.Pattern[str]) -> Iterator[Token]:
    """The tokens of the pieces' joined text.

    Only where data contains a special token's name is the text cut at that piece's ends, to read it as plain text.
    """
    together: list[Piece] = []
    for piece in pieces:
        if piece.plain and special.search(piece.text):
            yield from _tokens(together, tokenizer, split_special=False)
            yield from _tokens([piece], tokenizer, split_special=True)
            together = []
        else:
            together.append(piece)
    yield from _tokens(together, tokenizer, split_special=False)


def _tokens(pieces: Sequence[Piece], tokenizer: PreTrainedTokenizerBase, split_special: bool) -> Iterator[Token]:
    text = "".join(piece.text for piece in pieces)
    if not text:
        return
    encoded = tokenizer(
        text,
        add_special_tokens=False,
        return_offsets_mapping=True,
        return_token_type_ids=False,
        return_attention_mask=False,
        split_special_tokens=split_special,
        verbose=False,
    )
    owner = [index for index, piece in enumerate(pieces) for _ in piece.text]
    spotted = _spotted(pieces)
    for token, (start, end) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
        piece = pieces[index] if (index := _owner(text, owner, start, end)) >= 0 else None
        mask = piece is not None and piece.mask and token == tokenizer.mask_token_id
        yield Token(token, NOWHERE if piece is None else piece.slot, mask, *_covered(text, spotted, start, end))


def _spotted(pieces: Sequence[Piece]) -> tuple[int, int, int]:
    """Where the spotted piece stands in the joined text, first and last, and what was taken from its front."""
    start = 0
    for piece in pieces:
        if piece.spotted:
            return start, start + len(piece.text), piece.skipped
        start += len(piece.text)
    return 0, 0, 0


def _covered(text: str, spotted: tuple[int, int, int], start: int, end: int) -> tuple[int, int]:
    """The characters of the spotted piece that the token at `text[start:end]` covers."""
    first, last, skipped = spotted
    start, end = max(start, first), min(end, last)
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return (start - first + skipped, end - first + skipped) if start < end else (NOWHERE, NOWHERE)


def _owner(text: str, owner: Sequence[int], start: int, end: int) -> int:
    """The piece that the token at `text[start:end]` lies in, spaces aside; -1 where it reaches into two."""
    if start == end:
        # A trimmed space: inside a piece or at the text's end it belongs to it, at an edge it stands between two.
        if start == len(owner):
            return owner[-1]
        inside = 0 < start < len(owner) and owner[start - 1] == owner[start]
        return owner[start] if inside else NOWHERE
    while end - start > 1 and text[start].isspace():
        start += 1
    while end - start > 1 and text[end - 1].isspace():
        end -= 1
    return owner[start] if owner[start] == owner[end - 1] else NOWHERE


def require_fast(tokenizer: PreTrainedTokenizerBase) -> None:
    """**Raises** `TemplateError` for a tokenizer that cannot say where its tokens stand in the text."""
    if not tokenizer.is_fast:
        raise TemplateError(
            f"the tokenizer {type(tokenizer).__name__} does not tell which characters a token covers",
            do="use a model folder with a tokenizer.json (a 'fast' tokenizer)",
        )
