"""A model's chat template, taken apart into what stands around the messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from foreword.errors import TemplateError
from foreword.text.pieces import Piece

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def turns(tokenizer: PreTrainedTokenizerBase, contents: Sequence[Sequence[Piece]]) -> list[Piece]:
    """The chat's text around the user's next message: all that comes before, and last what comes after.

    `contents`: of the messages so far, the user's and the model's in turn.

    **Raises** `TemplateError` for a chat template that does not show each message once, in order.
    """
    names = [f"foreword{index}sentinel" for index in range(len(contents) + 1)]
    roles = [("user", "assistant")[index % 2] for index in range(len(names))]
    messages = [{"role": role, "content": name} for role, name in zip(roles, names, strict=True)]
    text = str(tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
    pieces: list[Piece] = []
    for index, name in enumerate(names):
        before, found, text = text.partition(name)
        if not found or name in text:
            raise TemplateError(
                "the model's chat template does not show each message once, in order",
                do="leave `chat` out and write the model's turns into the template",
            )
        pieces += [Piece(before), *(contents[index] if index < len(contents) else ())]
    return [*pieces, Piece(text)]
