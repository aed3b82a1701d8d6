"""Verbalizers: the words that stand for labels, and which rows and places score each of their tokens.

A word of one token is scored at one place. A word of several tokens is scored jointly, log p(w1) + log p(w2 | w1) + …:
a causal model (and a decoder) needs w1 in the row to score w2, a masked model scores n mask tokens at once. The rows
that are made of one example so that every word can be scored are its *variants*; words share one wherever they can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from foreword.errors import TemplateError, did_you_mean
from foreword.text.pieces import ids_after

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Kind = Literal["masked", "causal", "encoder-decoder"]
Word = tuple[int, ...]
_OTHER = "choose another word, one that the model knows"


@dataclass(frozen=True, slots=True)
class Variant:
    """One row to make of an example: `encoder.encode(example, v.masks, v.continuation, v.reserve)`.

    `reserve` is how much longer the longest variant is, so that all variants of an example are cut alike.
    """

    masks: int = 1
    continuation: Word = ()
    reserve: int = 0


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a word is scored: token `ids[k]` of a word of label `label` at `row.answers[places[k]]` of `variant`."""

    label: int
    variant: int
    ids: Word
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Verbalizer:
    """For each label its words, and for each word its token ids."""

    labels: tuple[str, ...]
    words: tuple[tuple[Word, ...], ...]

    @classmethod
    def build(
        cls,
        words: Mapping[str, Sequence[str]] | None,
        labels: Sequence[str],
        tokenizer: PreTrainedTokenizerBase,
        prefix: str,
    ) -> Verbalizer:
        """The verbalizer of the labels' words.

        **Arguments:** `words` of each label (None: the labels' names; one word may be given without a list);
        `prefix` is the encoder's `answer_prefix`, what stands between the text and the word.

        **Raises** `TemplateError` for a label without words, words of no label, a word that two labels share, and a
        word that the tokenizer cannot make.
        """
        given = {label: (label,) for label in labels} if words is None else words
        for label in given:
            if label not in labels:
                raise TemplateError(f"label words for an unknown label '{label}'", do=did_you_mean(label, labels))
        owner: dict[Word, tuple[str, str]] = {}
        found: list[tuple[Word, ...]] = []
        for label in labels:
            spelled = given.get(label, ())
            # A lone string is a sequence of letters, which nobody means.
            spelled = (spelled,) if isinstance(spelled, str) else tuple(spelled)
            if not spelled:
                raise TemplateError(f"the label '{label}' has no word", do="give each label at least one word")
            ids = {word: _word_ids(word, label, tokenizer, prefix) for word in spelled}
            for word, tokens in ids.items():
                other, same = owner.setdefault(tokens, (label, word))
                if other != label:
                    raise TemplateError(
                        f"the labels '{other}' and '{label}' share a word: '{same}' and '{word}' are the same tokens",
                        do="give each label words of its own",
                    )
            # Spellings that are one to the tokenizer ("Great" and "great" in lower case) count once.
            found.append(tuple(dict.fromkeys(ids.values())))
        return cls(tuple(labels), tuple(found))

    @property
    def single(self) -> bool:
        """Whether every word is one token, so that one place and the words' own logits are enough."""
        return all(len(word) == 1 for words in self.words for word in words)

    def variants(self, kind: Kind) -> tuple[Variant, ...]:
        """The rows to make of one example; words of one token need only one.

        On a masked model there is one for each number of tokens that a word has, on a causal model one for each
        beginning of a word (all but its last token) that does not itself begin a longer one.
        """
        every = [word for words in self.words for word in words]
        if kind == "masked":
            counts = sorted({len(word) for word in every})
            return tuple(Variant(masks=count, reserve=counts[-1] - count) for count in counts)
        needed: list[Word] = []
        for begin in sorted({word[:-1] for word in every}, key=lambda begin: (-len(begin), begin)):
            if not any(longer[: len(begin)] == begin for longer in needed):
                needed.append(begin)
        longest = len(needed[0])
        return tuple(Variant(continuation=begin, reserve=longest - len(begin)) for begin in needed)

    def placements(self, kind: Kind) -> tuple[Placement, ...]:
        """Where each word is scored, label by label, in the order of the words."""
        variants = self.variants(kind)

        def fits(variant: Variant, word: Word) -> bool:
            if kind == "masked":
                return variant.masks == len(word)
            return variant.continuation[: len(word) - 1] == word[:-1]

        return tuple(
            Placement(label, index, word, tuple(range(len(word))))
            for label, words in enumerate(self.words)
            for word in words
            for index in [next(i for i, variant in enumerate(variants) if fits(variant, word))]
        )


def _word_ids(word: str, label: str, tokenizer: PreTrainedTokenizerBase, prefix: str) -> Word:
    where = f"label '{label}'"
    if not isinstance(word, str):
        raise TemplateError(f"a label word is {type(word).__name__}, not text: {word!r}", where=where, do="quote it")
    ids = ids_after(":" if prefix else "\n", prefix + word.strip(), tokenizer)
    if not ids or not word.strip():
        raise TemplateError(f"the tokenizer makes nothing of the label word {word!r}", where=where, do=_OTHER)
    special = {token for token in (*tokenizer.all_special_ids, tokenizer.unk_token_id) if token is not None}
    if special.intersection(ids):
        pieces = " ".join(map(str, tokenizer.convert_ids_to_tokens(list(ids))))
        what = f"the tokenizer cannot make the label word {word!r} (it gives {pieces})"
        raise TemplateError(what, where=where, do=_OTHER)
    return ids
