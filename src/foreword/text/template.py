"""Templates: how an example's fields become text with places for virtual tokens and for the answer.

| written | is |
|---|---|
| `{field}` | the example's value |
| `{mask}` | the place of the answer, at most one |
| `{sep}` | the tokenizer's separator between two texts; a new line on a causal model |
| `{soft}`, `{soft:5}` | one virtual token, five |
| `{soft:"it was"}` | as many virtual tokens as the text has tokens, to be initialised from it |
| `{{`, `}}` | a brace |

Everything else stands for itself. Inside a soft slot's text a backslash goes before a quote or another backslash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, Any

from foreword.errors import DataError, TemplateError, did_you_mean, is_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SYNTAX = 'write {field}, {mask}, {sep}, {soft}, {soft:5} or {soft:"text"}; a brace itself is {{ or }}'
_SLOT = re.compile(r'\{(?P<name>[^\W\d][\w.-]*)(?::(?:(?P<length>\d+)|"(?P<text>(?:[^"\\]|\\["\\])*)"))?\}')
_LITERAL = re.compile(r"(?:[^{}]|\{\{|\}\})+")


@dataclass(frozen=True, slots=True)
class Text:
    """Literal text."""

    text: str


@dataclass(frozen=True, slots=True)
class Field:
    """The value of an example's field."""

    name: str


@dataclass(frozen=True, slots=True)
class Mask:
    """The place of the answer."""


@dataclass(frozen=True, slots=True)
class Sep:
    """The separator between two texts."""


@dataclass(frozen=True, slots=True)
class Soft:
    """`length` virtual tokens; 0 as long as no tokenizer has said how many tokens the initial `text` has."""

    length: int
    text: str | None = None


Part = Text | Field | Mask | Sep | Soft


@dataclass(frozen=True, slots=True)
class Template:
    """The parts in order. Build one with `Template.parse`; `str` gives the text that parses to it again."""

    parts: tuple[Part, ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """The template that `text` describes. **Raises** `TemplateError` with the place of what cannot be read."""
        return cls(tuple(_parse(text)))

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields, each once, in the order of their first use."""
        return tuple(dict.fromkeys(part.name for part in self.parts if isinstance(part, Field)))

    @property
    def has_mask(self) -> bool:
        """Whether a place for the answer is named."""
        return any(isinstance(part, Mask) for part in self.parts)

    @property
    def has_soft(self) -> bool:
        """Whether there are places for virtual tokens."""
        return any(isinstance(part, Soft) for part in self.parts)

    @property
    def is_resolved(self) -> bool:
        """Whether the length of every soft slot is known."""
        return all(part.length > 0 for part in self.parts if isinstance(part, Soft))

    @property
    def soft_count(self) -> int:
        """The number P of virtual tokens. **Raises** `TemplateError` where `resolve` has not been called."""
        if not self.is_resolved:
            raise TemplateError(
                "the number of virtual tokens is not known before a tokenizer has split the slots' texts",
                where=str(self),
                do="call template.resolve(tokenizer) first",
            )
        return sum(part.length for part in self.parts if isinstance(part, Soft))

    def in_front(self, count: int) -> Template:
        """This template with `count` virtual tokens before everything else."""
        if count < 1:
            raise TemplateError(f"a soft slot needs at least one virtual token, not {count}", where=str(self))
        return Template((Soft(count), *self.parts))

    def behind_fields(self, count: int) -> Template:
        """This template with `count` virtual tokens directly after its last field."""
        last = max((i for i, part in enumerate(self.parts) if isinstance(part, Field)), default=-1)
        return Template((*self.parts[: last + 1], Soft(count), *self.parts[last + 1 :]))

    def resolve(self, tokenizer: PreTrainedTokenizerBase) -> Template:
        """This template with the length of every soft slot known: the number of tokens of its initial text."""

        def known(part: Part) -> Part:
            if not isinstance(part, Soft) or part.text is None:
                return part
            length = len(_token_ids(part.text, tokenizer))
            if length == 0:
                raise TemplateError(
                    f"the tokenizer makes no token of the initial text {part.text!r} of a soft slot",
                    where=str(self),
                    do="give it a word, or a number of virtual tokens such as {soft:5}",
                )
            return replace(part, length=length)

        return Template(tuple(known(part) for part in self.parts))

    def initial_ids(self, tokenizer: PreTrainedTokenizerBase) -> tuple[int | None, ...]:
        """For each of the P virtual tokens, the id of the token it is initialised from, or None. Shape `[P]`."""
        ids: list[int | None] = []
        for part in self.parts:
            if isinstance(part, Soft):
                ids += [None] * part.length if part.text is None else _token_ids(part.text, tokenizer)
        return tuple(ids)

    def check(self, fields: Iterable[str]) -> None:
        """**Raises** `TemplateError` where the template uses no field, or one that is not among `fields`."""
        known = tuple(fields)
        if not self.fields:
            raise TemplateError(
                "the template uses no field, so every example would look the same",
                where=str(self),
                do=f"put in a field: {', '.join('{' + name + '}' for name in known)}",
            )
        for name in self.fields:
            if name not in known:
                raise TemplateError(
                    f"the template uses a field '{name}' that the examples do not have",
                    where=str(self),
                    do=did_you_mean(name, known),
                )

    def render(
        self, example: Mapping[str, str], answer: str | None = None, sep: str = " ", show_soft: bool = True
    ) -> str:
        """The text that people and hard prompts read.

        **Arguments:** `answer` stands at the `{mask}` ("[mask]" where it is None), `sep` at each `{sep}`; soft slots
        are shown as "[soft×5]", or left out where `show_soft` is false.

        **Raises** `DataError` for a field that is missing or not text.
        """
        shown = []
        for part in self.parts:
            match part:
                case Text(text):
                    shown.append(text)
                case Field(name):
                    shown.append(value_of(example, name))
                case Mask():
                    shown.append("[mask]" if answer is None else answer)
                case Sep():
                    shown.append(sep)
                case Soft(length, text) if show_soft:
                    shown.append(f"[soft×{length}]" if length else f"[soft {text!r}]")
        return "".join(shown)

    def __str__(self) -> str:
        return "".join(_written(part) for part in self.parts)


def value_of(example: Mapping[str, Any], name: str) -> str:
    """The example's text in the field `name`; words are joined by single spaces. **Raises** `DataError` for no text."""
    if name not in example:
        raise DataError(f"an example has no field '{name}'", do=did_you_mean(name, example))
    value = example[name]
    if isinstance(value, tuple | list) and all(isinstance(word, str) for word in value):
        value = " ".join(value)
    if not isinstance(value, str):
        raise DataError(
            f"the field '{name}' of an example is {type(value).__name__}, not text",
            where=repr(value)[:80],
            do="give every example a text in this field",
        )
    if not is_text(value):
        raise DataError(f"the field '{name}' of an example holds half a character, or bytes that are not UTF-8")
    return value


def _token_ids(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _written(part: Part) -> str:
    match part:
        case Text(text):
            return text.replace("{", "{{").replace("}", "}}")
        case Field(name):
            return "{" + name + "}"
        case Mask():
            return "{mask}"
        case Sep():
            return "{sep}"
        case Soft(_, str(text)):
            escaped = text.replace("\\", "\\\\").replace('"', '\\"')
            return '{soft:"' + escaped + '"}'
        case Soft(length, _):
            return "{soft}" if length == 1 else f"{{soft:{length}}}"


def _parse(text: str) -> Iterator[Part]:
    position, masks = 0, 0
    while position < len(text):
        # A doubled brace is text even where a slot could begin, as in str.format.
        match = _LITERAL.match(text, position)
        if match:
            yield Text(match.group().replace("{{", "{").replace("}}", "}"))
        else:
            match = _SLOT.match(text, position)
            if match is None:
                raise _unreadable(text, position)
            part = _slot(match)
            masks += isinstance(part, Mask)
            if masks > 1:
                raise _bad("a template has at most one {mask}", text, position)
            yield part
        position = match.end()


def _slot(match: re.Match[str]) -> Part:
    name, length, initial = match["name"], match["length"], match["text"]
    if name == "soft":
        if initial is not None:
            if not initial:
                raise _bad("the initial text of a soft slot is empty", match.string, match.start())
            return Soft(0, re.sub(r'\\(["\\])', r"\1", initial))
        if length is not None and int(length) == 0:
            raise _bad("a soft slot needs at least one virtual token", match.string, match.start())
        return Soft(int(length or 1))
    if length is not None or initial is not None:
        raise _bad(f"only a soft slot takes a value after a colon, '{name}' does not", match.string, match.start())
    return Mask() if name == "mask" else Sep() if name == "sep" else Field(name)


def _unreadable(text: str, position: int) -> TemplateError:
    if text[position] == "}":
        return _bad("a closing brace without an opening one", text, position)
    end = text.find("}", position)
    if end < 0:
        return _bad("an opening brace that is never closed", text, position)
    return _bad(f"'{text[position : end + 1]}' is not a field or a slot", text, position)


def _bad(what: str, text: str, position: int) -> TemplateError:
    shown = text[max(0, position - 20) : position + 30]
    return TemplateError(what, where=f"template, character {position + 1}: ...{shown}...", do=SYNTAX)


def space_before(parts: Sequence[Part]) -> str:
    """What stands between the text and an answer at {mask}, or at the end: a space or nothing.

    Nothing after a new line, a separator, or a character that the template glues the answer to, such as "(".
    """
    before = list(takewhile(lambda part: not isinstance(part, Mask), parts))
    last = before[-1] if before else None
    if last is None or isinstance(last, Sep):
        return ""
    if not isinstance(last, Text):
        return " "
    return " " if last.text[-1].isspace() and not last.text.rstrip(" \t").endswith("\n") else ""


def glued_to(parts: Sequence[Part]) -> str:
    """The mark such as ":" that {mask} stands right behind; "" where there is a space or another thing.

    Without the space the first token of an answer is another one, which a model has seldom seen there.
    """
    for before, part in pairwise(parts):
        if isinstance(part, Mask) and isinstance(before, Text) and before.text[-1] in ":?!.":
            return before.text[-1]
    return ""
