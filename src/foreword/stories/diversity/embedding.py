"""Texts as vectors, by the MiniLM backbone: the mean of its last hidden states, as sentence-transformers has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from foreword.backbone.backbone import Backbone
from foreword.bank import Bank
from foreword.batch import Item, collate, pieces
from foreword.errors import Unsupported
from foreword.stories.diversity.corpus import Embed, Floats
from foreword.text.pieces import Frame
from foreword.text.rows import Row, as_row

MODEL = "minilm-l6"
WINDOW = 256
"""Tokens that the model was trained to embed at once; longer texts are the mean of such windows."""
MAX_TOKENS = 8192


def embedder(backbone: Backbone, advance: Callable[[int], None] = lambda n: None) -> Embed:
    """Texts to vectors `[N, H]` of unit length. `advance` is told of windows done.

    **Raises** `Unsupported` for a model that is no encoder: what its states mean is another question.
    """
    if backbone.kind != "masked":
        raise Unsupported(f"{backbone.name} is no encoder, and stories are embedded by one", do=f"use {MODEL}")
    return lambda texts: embed(backbone, texts, advance)


@torch.no_grad()
def embed(backbone: Backbone, texts: Sequence[str], advance: Callable[[int], None] = lambda n: None) -> Floats:
    """`[N, H]`: the mean over a text's tokens, window by window, each window counting by its length; of unit length."""
    rows = [(number, row) for number, text in enumerate(texts) for row in _rows(backbone, text)]
    items = [Item((row,)) for _, row in rows]
    totals: list[Floats] = [np.zeros(0)] * len(texts)
    bank = Bank(backbone)
    for group in pieces(items, MAX_TOKENS, 32):
        batch = collate([items[i] for i in group], backbone.pad_id, device=str(backbone.device))
        hidden = bank.hidden(batch).float() * batch.mask[:, :, None]
        for i, total in zip(group, hidden.sum(1).double().cpu().numpy(), strict=True):
            number = rows[i][0]
            totals[number] = totals[number] + total if totals[number].size else total
        advance(len(group))
    found = np.stack(totals)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    unit: Floats = found / np.where(lengths > 0, lengths, 1.0)
    return unit


def _rows(backbone: Backbone, text: str) -> list[Row]:
    """The text in windows between the tokenizer's own special tokens."""
    tokenizer = backbone.tokenizer
    frame = Frame.of(tokenizer, pair=False)
    room = min(WINDOW, backbone.geometry.positions) - len(frame.prefix) - len(frame.suffix)
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    starts = range(0, max(len(ids), 1), room)
    return [as_row((*frame.prefix, *ids[start : start + room], *frame.suffix)) for start in starts]
