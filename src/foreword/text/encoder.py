"""Examples to rows of token ids: special tokens, virtual tokens, the answer's places, chat turns, and shortening.

Where a template has no soft slots its rows are exactly what the tokenizer makes of the rendered text, special tokens
included. Virtual tokens in front stand right after the tokenizer's own first special token, so that [CLS] and BOS stay
at place 0; they also stand before demonstrations and chat turns, where all examples can share them.

For an encoder-decoder, all of that is the encoder's. Behind it stands what the decoder begins with: its start token,
and what the tokenizer puts in front of every text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from foreword.errors import TemplateError
from foreword.text import checks
from foreword.text import pieces as runs
from foreword.text.chat import turns
from foreword.text.pieces import NOWHERE, Frame, Piece
from foreword.text.rows import Row
from foreword.text.shortening import dropped, lost, windows_over
from foreword.text.spots import spots_of
from foreword.text.template import Field, Mask, Part, Sep, Soft, Template, Text, glued_to, space_before, value_of

if TYPE_CHECKING:
    import re

    from transformers import PreTrainedTokenizerBase

Demonstration = tuple[Mapping[str, str], str]
_Item = Piece | Soft | Sep


class _Place(NamedTuple):
    """A place of a row that is being built; `slot` is the field that it may be cut from, or -1.

    `start`, `end`: the characters of the spotted field that it covers, or -1.
    """

    id: int
    type: int
    soft: int = -1
    slot: int = NOWHERE
    mask: bool = False
    start: int = NOWHERE
    end: int = NOWHERE


@dataclass(frozen=True)
class Encoder:
    """Makes rows of examples.

    **Arguments:** `template`, resolved; `tokenizer`, a fast one; `kind` of language model; `max_length` in tokens,
    virtual ones included and the decoder's not; `shorten` names the fields that may lose tokens (default: all), the
    longest first, one token at a time; `keep` says which end of a shortened field stays; `chat` makes what stands
    before the `{mask}` the user's message in the model's chat template; `demonstrations` are solved examples put in
    front, as earlier turns in a chat and as text with a blank line after each otherwise; `decoder_start` is the id
    that an encoder-decoder's decoder begins with.

    Spaces written next to `{sep}`, right before a soft slot in the middle, and at the end of a causal prompt are not
    tokenised: there they would be tokens of their own, which natural text does not have.

    **Raises** `TemplateError` where template, tokenizer and kind do not go together.
    """

    template: Template
    tokenizer: PreTrainedTokenizerBase
    kind: Literal["masked", "causal", "encoder-decoder"]
    max_length: int
    shorten: tuple[str, ...] | None = None
    keep: Literal["start", "end"] = "start"
    chat: bool = False
    demonstrations: tuple[Demonstration, ...] = ()
    decoder_start: int | None = None

    def __post_init__(self) -> None:
        runs.require_fast(self.tokenizer)
        checks.answer_place(self.template, self.tokenizer, self.kind, demonstrated=bool(self.demonstrations))
        checks.shortened(self.template, self.shorten or ())
        if self.chat:
            checks.chat(self.template, self.tokenizer, self.kind)

    @cached_property
    def answer_prefix(self) -> str:
        """What stands between the text and a label word, for `Verbalizer.build`: a space or nothing.

        Nothing in a chat, after a new line or a separator, and after a character that the template glues the answer
        to, such as "(". Nothing for a decoder, whose answer is a text of its own.
        """
        return "" if self.kind == "encoder-decoder" else self._glue

    @property
    def _glue(self) -> str:
        """What stands before an answer that follows the text."""
        return "" if self.chat else space_before(self._parts)

    @property
    def glued_to(self) -> str:
        """The mark that a decoder's answer stands right behind, where a space is usual; else nothing."""
        return "" if self.chat or self.kind != "causal" else glued_to(self._parts)

    @cached_property
    def begun(self) -> tuple[int, ...]:
        """What the decoder's part of every row begins with; nothing where there is no decoder of its own."""
        if self.decoder_start is None:
            return ()
        return (self.decoder_start, *Frame.of(self.tokenizer, pair=False).prefix)

    @cached_property
    def pad_id(self) -> int:
        """The id that fills the places of virtual tokens (their vectors are put in later)."""
        ids = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, 0)
        return next(token for token in ids if token is not None)

    def encode(
        self,
        example: Mapping[str, Any],
        masks: int = 1,
        continuation: Sequence[int] = (),
        reserve: int = 0,
        spot: str | None = None,
    ) -> Row:
        """The row of one example.

        **Arguments:** `masks` mask tokens stand at `{mask}` on a masked model; `continuation` ids follow the text of a
        causal model, or what a decoder begins with, and the row then has `len(continuation) + 1` answers; `reserve`
        places are left free, so that the text is cut as it is in a longer variant of this row (an encoder's always
        is); `spot` names the field whose words (where its value is a sequence of them) or tokens are the row's answers,
        those of its last use in the template.

        **Raises** `DataError` for a missing field; `TemplateError` where what may not be cut does not fit.
        """
        if self.kind == "masked" and continuation:
            raise ValueError("a masked model's row takes masks, not a continuation")
        body, around = self._body(example, masks, spot)
        if self.decoder_start is None:
            body += [_Place(token, self._head[1].text_types[0]) for token in continuation]
        else:
            reserve = 0
        cut = self._cuts(body, around, reserve)
        gone = dropped([place.slot for place in body], cut, self.keep)
        row = self._row(body, gone, continuation, None if spot is None else example[spot])
        return replace(row, cut=len(gone))

    def windows(self, example: Mapping[str, Any], spot: str, overlap: int) -> tuple[Row, ...]:
        """The rows of one example, in which the field `spot` is read in windows and nothing is cut.

        Windows are as long as there is room, and share `overlap` tokens with the one before (`foreword.text.spots`).

        **Raises** `TemplateError` where the room for the field is not longer than the overlap.
        """
        body, around = self._body(example, 1, spot)
        mine = [index for index, place in enumerate(body) if place.slot == self._slot(spot)]
        room = self.max_length - around - len(body) + len(mine)
        if len(mine) > room <= overlap:
            raise TemplateError(
                f"beside all else, a row has room for {max(room, 0)} tokens of '{spot}', and windows over it share "
                f"{overlap}",
                where=str(self.template),
                do="raise max_length, lower the windows' stride, or use fewer virtual tokens",
            )
        rows = []
        for window in windows_over(len(mine), room, overlap):
            rows.append(self._row(body, {*mine[: window.start], *mine[window.stop :]}, (), example[spot]))
        return tuple(rows)

    def _body(self, example: Mapping[str, Any], masks: int, spot: str | None) -> tuple[list[_Place], int]:
        """The row between the special tokens around it, and how many these are."""
        head, frame = self._head
        tail = self._turns[-1:] if self.chat else []
        body = self._places([*head, *self._items(example, self._slot(spot)), *tail], frame, masks)
        return body, len(frame.prefix) + len(frame.suffix)

    def _row(self, body: Sequence[_Place], gone: set[int], continuation: Sequence[int], spotted: Any) -> Row:
        """The row of what is left of `body`; its answers point into `spotted`, unless that is None."""
        frame = self._head[1]
        kept = [index for index in range(len(body)) if index not in gone]
        places = [
            *map(_Place, frame.prefix, frame.prefix_types),
            *(body[index] for index in kept),
            *map(_Place, frame.suffix, frame.suffix_types),
        ]
        border = None if self.decoder_start is None else len(places)
        if border is not None:
            places += [_Place(token, 0) for token in (*self.begun, *continuation)]
        answers, seen = self._answers(places, len(continuation)), []
        if spotted is not None:
            where = {index: place for place, index in enumerate(kept, len(frame.prefix))}
            found = spots_of(spotted, [(place.start, place.end) for place in body])
            seen = [(where[index], spot) for index, spot in found if index in where]
            answers = tuple(place for place, _ in seen)
        cls_id = self.tokenizer.cls_token_id
        return Row(
            ids=tuple(place.id for place in places),
            soft=tuple(place.soft for place in places),
            types=tuple(place.type for place in places),
            cls=frame.prefix.index(cls_id) if cls_id in frame.prefix else None,
            answers=answers,
            spots=tuple(spot for _, spot in seen),
            border=border,
        )

    def _slot(self, field: str | None) -> int:
        """The slot of the field's last use, or -1."""
        parts = enumerate(self._parts[len(self._front) :])
        return max((slot for slot, part in parts if isinstance(part, Field) and part.name == field), default=NOWHERE)

    @cached_property
    def _special(self) -> re.Pattern[str]:
        return runs.special_names(self.tokenizer)

    @cached_property
    def _adds_space(self) -> bool:
        return runs.adds_space(self.tokenizer)

    @cached_property
    def _parts(self) -> tuple[Part, ...]:
        """The template's parts without the spaces written around `{sep}`."""
        parts = self.template.parts
        kept: list[Part] = []
        for index, part in enumerate(parts):
            if isinstance(part, Text):
                text = part.text
                if index and isinstance(parts[index - 1], Sep):
                    text = text.lstrip()
                if index + 1 < len(parts) and isinstance(parts[index + 1], Sep):
                    text = text.rstrip()
                if not text:
                    continue
                part = Text(text)
            kept.append(part)
        return tuple(kept)

    @cached_property
    def _front(self) -> tuple[Soft, ...]:
        return tuple(part for part in takewhile(lambda part: isinstance(part, Soft), self._parts))  # type: ignore[misc]

    @cached_property
    def _head(self) -> tuple[list[_Item], Frame]:
        """What stands before every example, and the special tokens around a row."""
        frame = Frame.of(self.tokenizer, pair=self.kind != "causal" and any(isinstance(p, Sep) for p in self._parts))
        if self.kind == "causal":
            # An end token that a tokenizer adds to finished texts has no place before an answer.
            frame = Frame(frame.prefix, (), (), frame.prefix_types, (), (), frame.text_types)
        if not self.chat:
            shown = [piece for one in self.demonstrations for piece in (*self._solved(*one), Piece("\n\n"))]
            return [*self._front, *shown], frame
        # The chat template writes the first special token itself, or leaves it out on purpose.
        before, bos = self._turns[:-1], self.tokenizer.bos_token
        types = frame.text_types
        if bos and self._front and before[0].text.startswith(bos):
            rest = Piece(before[0].text.removeprefix(bos))
            start = Frame((self.tokenizer.bos_token_id,), (), (), (types[0],), (), (), types)
            return [*self._front, rest, *before[1:]], start
        return [*self._front, *before], Frame((), (), (), (), (), (), types)

    @cached_property
    def _turns(self) -> list[Piece]:
        """The chat's text around the user's message: all that comes before, and last what comes after."""
        contents = [
            piece for one in self.demonstrations for piece in (self._message(one[0]), [Piece(one[1], plain=True)])
        ]
        return turns(self.tokenizer, contents)

    def _items(self, example: Mapping[str, Any], spotted: int = NOWHERE) -> list[_Item]:
        """The template's parts with the example's values, the causal model's answer left out."""
        items: list[_Item] = []
        for slot, part in enumerate(self._parts[len(self._front) :]):
            match part:
                case Text(text):
                    items.append(Piece(text))
                case Field(name):
                    items.append(Piece(value_of(example, name), slot, plain=True, spotted=slot == spotted))
                case Mask() if self.kind == "masked":
                    items.append(Piece(str(self.tokenizer.mask_token), mask=True))
                case Sep():
                    items.append(Piece("\n") if self.kind == "causal" else Sep())
                case Soft():
                    items.append(part)
        return items if self.kind == "masked" else self._trimmed(items)

    def _trimmed(self, items: list[_Item]) -> list[_Item]:
        """The items without the spaces at the end that the answer brings itself, or that a chat template removes."""
        if not self.chat and not self.template.has_mask:
            return items
        ending = list(takewhile(lambda item: isinstance(item, Piece), reversed(items)))[::-1]
        start = items[: len(items) - len(ending)]
        trimmed = runs.trim_end(_only_pieces(ending), None if self.chat or self._glue else " \t")
        if self.chat and not start:
            trimmed = runs.trim_start(trimmed)
        return [*start, *trimmed]

    def _message(self, example: Mapping[str, str]) -> list[Piece]:
        """A demonstration's text without its answer; nothing of it is ever cut."""
        return [Piece(piece.text, plain=piece.plain) for piece in _only_pieces(self._items(example))]

    def _solved(self, example: Mapping[str, str], answer: str) -> list[Piece]:
        """A demonstration with its answer in place."""
        if self.kind != "masked":
            return [*self._message(example), Piece(self._glue + answer, plain=True)]
        joined = (Piece(" ") if isinstance(item, Sep) else item for item in self._items(example))
        pieces = (piece for piece in joined if isinstance(piece, Piece))
        return [Piece(answer, plain=True) if p.mask else Piece(p.text, plain=p.plain) for p in pieces]

    def _places(self, items: Sequence[_Item], frame: Frame, masks: int) -> list[_Place]:
        """The row between the first and the last special tokens."""
        places: list[_Place] = []
        run: list[Piece] = []
        virtual, segment, after_soft = 0, 0, False
        for item in [*items, None]:
            if isinstance(item, Piece):
                run.append(item)
                continue
            if isinstance(item, Soft):
                run = runs.trim_end(run, " \t")
            if after_soft and self._adds_space and run and run[0].text.startswith(" "):
                run = [run[0].without_front(1), *run[1:]]
            type_ = frame.text_types[segment]
            for token in runs.tokenize(run, self.tokenizer, self._special):
                place = _Place(token.id, type_, NOWHERE, token.slot, token.mask, token.start, token.end)
                places += [place] * (masks if token.mask else 1)
            run, after_soft = [], isinstance(item, Soft)
            if isinstance(item, Soft):
                places += [_Place(self.pad_id, type_, soft=virtual + index) for index in range(item.length)]
                virtual += item.length
            elif isinstance(item, Sep):
                places += map(_Place, frame.middle, frame.middle_types)
                segment = 1
        return places

    def _answers(self, places: Sequence[_Place], continuation: int) -> tuple[int, ...]:
        if self.kind == "masked":
            return tuple(index for index, place in enumerate(places) if place.mask)
        if len(places) == continuation:
            raise TemplateError(
                "an example leaves no token for the causal model to begin with",
                where=str(self.template),
                do="put some text into the template, or leave out empty examples",
            )
        return tuple(range(len(places) - continuation - 1, len(places)))

    def _cuts(self, body: Sequence[_Place], around: int, reserve: int) -> dict[int, int]:
        """How many tokens each field's slot loses, for the row to fit with its special tokens and what it reserves."""
        excess = around + len(body) + reserve - self.max_length
        if excess <= 0:
            return {}
        parts = self._parts[len(self._front) :]
        allowed = self.template.fields if self.shorten is None else self.shorten
        length = {i: 0 for i, part in enumerate(parts) if isinstance(part, Field) and part.name in allowed}
        for place in body:
            if place.slot in length:
                length[place.slot] += 1
        if sum(length.values()) < excess:
            raise self._does_not_fit(body, sum(length.values()), around, reserve)
        return lost(length, excess)

    def _does_not_fit(self, body: Sequence[_Place], cuttable: int, around: int, reserve: int) -> TemplateError:
        virtual = sum(place.soft >= 0 for place in body)
        fixed = len(body) - virtual - cuttable
        answer = f", {around} special tokens and the {reserve} kept for the answer" if reserve else ""
        answer = answer or f" and {around} special tokens"
        return TemplateError(
            f"a row has room for {self.max_length} tokens, but {virtual} virtual tokens, {fixed} tokens of text that "
            f"may not be cut{answer} need {virtual + fixed + around + reserve}",
            where=str(self.template),
            do="raise max_length, use fewer virtual tokens or demonstrations, or let more fields be shortened"
            + (", or leave the answer less room" if reserve else ""),
        )


def _only_pieces(items: Sequence[_Item]) -> list[Piece]:
    return [item for item in items if isinstance(item, Piece)]
