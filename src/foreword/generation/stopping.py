"""When a row ends, and what it then is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from foreword.config import GenerationOptions

Reason = Literal["eos", "stop", "length"]


@dataclass(frozen=True, slots=True)
class Generated:
    """One generated sequence.

    `ids`: all tokens, the end token and those of a stop string included. `text`: what they say, special tokens and
    everything from the first stop string on left out. `log_probability`: the sum of the tokens' own, in nats, under the
    model's distribution before temperature, top-k and top-p. `finished`: by an end token, a stop string, or the length.
    """

    ids: tuple[int, ...]
    text: str
    log_probability: float
    finished: Reason


class Stopping:
    """The rule by which rows end: tokens, strings, and a number of tokens."""

    def __init__(self, tokenizer: Any, options: GenerationOptions) -> None:
        own = () if tokenizer.eos_token_id is None else (tokenizer.eos_token_id,)
        self.eos = frozenset(own if options.eos_token_ids is None else options.eos_token_ids)
        self._tokenizer = tokenizer
        # a special token is left out of what is decoded, so one that is named as a stop is known by its number
        names = set(tokenizer.all_special_tokens)
        self._strings = tuple(stop for stop in options.stop_strings if stop not in names)
        self._stops = frozenset(tokenizer.convert_tokens_to_ids([s for s in options.stop_strings if s in names]))
        self._limit = options.max_new_tokens

    def reason(self, ids: Sequence[int]) -> Reason | None:
        """Why the new tokens `ids` end here, or None when they go on."""
        if ids[-1] in self.eos:
            return "eos"
        if ids[-1] in self._stops:
            return "stop"
        if self._strings and self._cut(self._decode(ids)) is not None:
            return "stop"
        return "length" if len(ids) >= self._limit else None

    def finish(self, ids: Sequence[int], log_probability: float, reason: Reason) -> Generated:
        """The ended sequence with its text."""
        text = self._decode(ids)
        return Generated(tuple(ids), text[: self._cut(text)], log_probability, reason)

    def _decode(self, ids: Sequence[int]) -> str:
        text = self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text

    def _cut(self, text: str) -> int | None:
        """Where the first stop string begins."""
        return min((place for stop in self._strings if (place := text.find(stop)) >= 0), default=None)
