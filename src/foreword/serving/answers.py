"""Answers in OpenAI's shapes: chats, completions, their chunks, and log-probabilities."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import time
from typing import Any

import numpy as np
from torch import Tensor

from foreword.generation.stopping import Reason
from foreword.serving.writing import Piece, Token

FINISHED: dict[Reason | None, str | None] = {None: None, "eos": "stop", "stop": "stop", "length": "length"}


def usage(prompt: int, written: int, cut: int) -> dict[str, int]:
    """How many tokens there were, virtual ones not counted; and how many of the input were `cut` off to fit, if any."""
    lost = {"cut_tokens": cut} if cut else {}
    return {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written, **lost}


@dataclass
class Shape:
    """How the answers of one request look. `logprobs`: whether they are told."""

    model: str
    chat: bool
    logprobs: bool
    tokenizer: Any
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time()))

    def chunk(self, piece: Piece, first: bool, offset: int) -> dict[str, Any]:
        """A piece of a stream. `offset`: characters of its answer that were told before."""
        choice: dict[str, Any] = {"index": piece.choice, "finish_reason": FINISHED[piece.finished]}
        choice["logprobs"] = self._logprobs(piece.tokens, offset)
        if self.chat:
            choice["delta"] = {**({"role": "assistant"} if first else {}), "content": piece.text}
        else:
            choice["text"] = piece.text
        return self._around(chunk=True) | {"choices": [choice]}

    def last(self, counted: dict[str, int]) -> dict[str, Any]:
        """The chunk that tells the usage."""
        return self._around(chunk=True) | {"choices": [], "usage": counted}

    def whole(self, answers: Sequence[Sequence[Piece]], counted: dict[str, int]) -> dict[str, Any]:
        """All answers, each in its pieces."""
        choices = []
        for number, pieces in enumerate(answers):
            text, tokens = "".join(one.text for one in pieces), [token for one in pieces for token in one.tokens]
            choice: dict[str, Any] = {"index": number, "finish_reason": FINISHED[pieces[-1].finished]}
            choice["logprobs"] = self._logprobs(tokens, 0)
            said = {"message": {"role": "assistant", "content": text, "refusal": None}} if self.chat else {"text": text}
            choices.append(choice | said)
        return self._around() | {"choices": choices, "usage": counted}

    def _around(self, chunk: bool = False) -> dict[str, Any]:
        kind = ("chat.completion.chunk" if chunk else "chat.completion") if self.chat else "text_completion"
        name = "chatcmpl" if self.chat else "cmpl"
        return {"id": f"{name}-{self.id}", "object": kind, "created": self.created, "model": self.model}

    def _logprobs(self, tokens: Sequence[Token], offset: int) -> dict[str, Any] | None:
        if not self.logprobs:
            return None
        if self.chat:
            return {"content": [self._token(token) for token in tokens], "refusal": None}
        texts, offsets = [self._word(token.id) for token in tokens], []
        for text in texts:
            offsets.append(offset)
            offset += len(text)
        return {
            "tokens": texts,
            "token_logprobs": [token.log_probability for token in tokens],
            "top_logprobs": [{self._word(i): value for i, value in token.likeliest} for token in tokens],
            "text_offset": offsets,
        }

    def _token(self, token: Token) -> dict[str, Any]:
        top = [self._scored(i, value) for i, value in token.likeliest]
        return {**self._scored(token.id, token.log_probability), "top_logprobs": top}

    def _scored(self, token: int, value: float) -> dict[str, Any]:
        text = self._word(token)
        whole = None if "\ufffd" in text else list(text.encode())  # a part of a character says nothing by itself
        return {"token": text, "logprob": value, "bytes": whole}

    def _word(self, token: int) -> str:
        text = self.tokenizer.decode([token])
        assert isinstance(text, str)
        return text


def embedding(vector: Tensor, coded: bool) -> list[float] | str:
    """A vector as numbers, or as base64 of little-endian float32, which OpenAI's own client asks for."""
    values = vector.numpy().astype(np.dtype("<f4"))
    return base64.b64encode(values.tobytes()).decode() if coded else [float(value) for value in values]
