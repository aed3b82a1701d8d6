"""What a template, a tokenizer and a kind of model must have for rows to be made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from foreword.errors import TemplateError, did_you_mean
from foreword.text.template import Mask, Template, Text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Kind = Literal["masked", "causal", "encoder-decoder"]


def answer_place(template: Template, tokenizer: PreTrainedTokenizerBase, kind: Kind, demonstrated: bool) -> None:
    """**Raises** `TemplateError` where the answer's place is not one that this kind of model has."""
    where = str(template)
    _ = template.soft_count
    if kind != "masked" and any(isinstance(part, Mask) for part in template.parts[:-1]):
        reason = "a causal model reads from left to right" if kind == "causal" else "a decoder writes the answer"
        raise TemplateError(
            f"{reason}, so {{mask}} must be the last thing in its template",
            where=where,
            do="move {mask} to the end, or use a masked model",
        )
    token = tokenizer.mask_token
    if kind == "masked" and template.has_mask and token is None:
        raise TemplateError("the tokenizer has no mask token for {mask}", where=where, do="use a masked model")
    written = token is not None and any(isinstance(part, Text) and str(token) in part.text for part in template.parts)
    if kind == "masked" and written:
        raise TemplateError(
            f"{token} stands in the template as text, and no answer would be read there",
            where=where,
            do="write {mask} for the place of the answer",
        )
    if demonstrated and not template.has_mask:
        raise TemplateError(
            "demonstrations need a place for their answers", where=where, do="put {mask} into the template"
        )


def shortened(template: Template, fields: Sequence[str]) -> None:
    """**Raises** `TemplateError` for a field that may be shortened and is not there."""
    for name in fields:
        if name not in template.fields:
            raise TemplateError(
                f"the field '{name}' that may be shortened is not in the template",
                where=str(template),
                do=did_you_mean(name, template.fields),
            )


def chat(template: Template, tokenizer: PreTrainedTokenizerBase, kind: Kind) -> None:
    """**Raises** `TemplateError` for a model that has no chat."""
    where = str(template)
    if kind != "causal":
        raise TemplateError("a model that is not causal has no chat", where=where, do="leave `chat` out")
    if not tokenizer.chat_template:
        raise TemplateError(
            "the model's tokenizer has no chat template", where=where, do="leave `chat` out, or use a chat model"
        )
