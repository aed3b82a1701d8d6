"""What a request's words become: rows for the backbone, and the options of what is written."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from foreword.backbone.backbone import Backbone
from foreword.config import GenerationOptions
from foreword.serving.problems import Refusal
from foreword.serving.residents import Resident
from foreword.serving.schema import Message, Writes
from foreword.text import pieces
from foreword.text.pieces import Frame, Piece
from foreword.text.rows import Row, as_row

Given = str | Sequence[str] | Mapping[str, Any]
COMPLETION_TOKENS = 16
"""How many tokens a completion has that asks for no number, as at OpenAI."""


def row_of_text(backbone: Backbone, text: str, whole: bool = False) -> Row:
    """A text as it is, behind what the tokenizer puts in front of every text; with what it puts behind, if `whole`."""
    frame = Frame.of(backbone.tokenizer, pair=False)
    special = pieces.special_names(backbone.tokenizer)
    ids = [token.id for token in pieces.tokenize([Piece(text, plain=True)], backbone.tokenizer, special)]
    row = as_row((*frame.prefix, *ids, *(frame.suffix if whole else ())))
    if not len(row):
        raise Refusal("the prompt is empty, and the model has no token to begin with", param="prompt")
    if len(row) > backbone.geometry.positions:
        raise too_long(len(row), backbone.geometry.positions)
    return row


def row_of_chat(backbone: Backbone, messages: Sequence[Message]) -> Row:
    """A conversation in the model's chat template. Names of special tokens in a message are only text.

    **Raises** `Refusal` where the model has no chat template, or one that has no place for these messages.
    """
    tokenizer = backbone.tokenizer
    if not tokenizer.chat_template:
        raise Refusal("the model has no chat template", do="use /v1/completions", param="model")
    contents = [message.text for message in messages]
    names = [f"foreword{index}sentinel" for index in range(len(messages))]
    whole = _render(tokenizer, messages, contents)
    rest, around = _render(tokenizer, messages, names), []
    for name in names:
        before, found, rest = rest.partition(name)
        around.append(before)
        if not found:
            break
    for shown in (contents, [content.strip() for content in contents]):
        parts = [text for pair in zip(around, shown, strict=False) for text in pair]
        if len(around) == len(names) and "".join([*parts, rest]) == whole:
            run = [Piece(text, plain=bool(index % 2)) for index, text in enumerate([*parts, rest])]
            special = pieces.special_names(tokenizer)
            row = as_row([token.id for token in pieces.tokenize(run, tokenizer, special)])
            if len(row) > backbone.geometry.positions:
                raise too_long(len(row), backbone.geometry.positions)
            return row
    raise Refusal("the model's chat template has no place for these messages", param="messages")


def _render(tokenizer: Any, messages: Sequence[Message], contents: Sequence[str]) -> str:
    turns = [{"role": m.role, "content": text} for m, text in zip(messages, contents, strict=True)]
    try:
        return str(tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))
    except Exception as error:  # a template may refuse an order of roles in words of its own
        raise Refusal(f"the model's chat template takes no such messages: {error}"[:300], param="messages") from None


def input_of_chat(messages: Sequence[Message]) -> str:
    """What a chat asks of a foreword, whose template has one place for it.

    **Raises** `Refusal` for a conversation: there is no place for what was said before.
    """
    if len(messages) != 1 or messages[0].role != "user":
        raise Refusal(
            "a foreword is asked by one message of the user: its own template says the rest", param="messages"
        )
    return messages[0].text


def row_of_foreword(resident: Resident, given: Given) -> Row:
    """An input in the foreword's own template."""
    foreword = resident.foreword
    return foreword.reader.item(foreword.example(given), resident.key).rows[0]


def too_long(tokens: int, positions: int) -> Refusal:
    """A prompt for which the model has no room."""
    what = f"the prompt has {tokens} tokens, and the model takes {positions}"
    return Refusal(what, code="context_length_exceeded", do="shorten it")


def options_of(request: Writes, own: GenerationOptions | None, tokens: int) -> GenerationOptions:
    """How the answer is written: as the request says, as the foreword's `own` settings say, as OpenAI's do.

    **Raises** `Refusal` where a foreword answers by beam search, unless the request chooses a temperature.
    """
    asked, beams = request.temperature, 1 if own is None else own.num_beams
    if beams > 1 and asked is None:
        raise Refusal(
            f"this foreword answers by beam search (num_beams={beams}), which is not served",
            do="give a temperature, 0 for the likeliest tokens",
            param="temperature",
        )
    if asked is not None:
        temperature: float | None = asked
    elif own is not None:
        temperature = (1.0 if own.temperature is None else own.temperature) if own.do_sample else 0.0
    else:
        temperature = 1.0
    values: dict[str, Any] = {"max_new_tokens": request.wanted or (tokens if own is None else own.max_new_tokens)}
    if own is not None:
        values |= {"eos_token_ids": own.eos_token_ids, "stop_strings": own.stop_strings}
    if request.stops:
        values["stop_strings"] = request.stops
    if temperature:
        top_p = request.top_p if request.top_p is not None or own is None else own.top_p
        top_k = request.top_k if request.top_k is not None or own is None else own.top_k
        values |= {"do_sample": True, "temperature": temperature, "top_k": top_k}
        values["top_p"] = None if top_p == 1 else top_p
        values["seed"] = secrets.randbelow(2**31) if request.seed is None else request.seed
    return GenerationOptions(**values)
