"""A causal model of this machine, its batches under our own generation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch

from foreword.backbone.backbone import Backbone
from foreword.backbone.loading import load as load_backbone
from foreword.bank import Bank
from foreword.config import GenerationOptions
from foreword.errors import ConfigError, Unsupported
from foreword.generation.stopping import Stopping
from foreword.stories.language import Prose
from foreword.stories.writers.base import Advance, Done, Draft, Finished, Request, Writer
from foreword.stories.writers.decoding import Decoding, TextRow
from foreword.stories.writers.drawing import LIKELY, Drawing, Rules

BATCH = 8
# Tried on SmolLM2-135M-Instruct (docs/stories.md): without a penalty it goes in circles, with 1.2 it is word salad, and
# runs of 3 or 4 tokens are too short to forbid, for a name has as many, and came out as another one every time.
TEMPERATURE = 0.5
REPETITION_PENALTY = 1.1
NO_REPEAT_NGRAM_SIZE = 8
MARGIN = 1.15
"""A text may have so many times the tokens that its most words are expected to have."""
GUIDED = 1.4
"""The same of a text with a guide, which counts the words itself."""


class LocalWriter(Writer):
    """Writes with a causal backbone and its chat template; a batch of requests at a time.

    **Arguments:** `bank` and the `owner` of its rows, a foreword's name or None for the bare model; `temperature` and
    `top_p` of sampling; `batch`, the most requests side by side; `repetition_penalty`, by which the logits of tokens
    that a text has already are made less (Keskar et al. 2019, CTRL, section 4.1; 1 for no such rule);
    `no_repeat_ngram_size`, no run of so many tokens comes twice in a text (0 for no such rule). Names and meanings are
    those of transformers, but that the prompt does not count, only the text: the lead, and what is written behind it.

    A text ends where the model ends it, neither before its least words nor behind its most: counted in tokens, by how
    many a word of the prompt has.

    **Raises** `Unsupported` for a model that cannot generate.
    """

    strong = False
    leads = True
    guides = True

    def __init__(
        self,
        bank: Bank,
        owner: str | None = None,
        *,
        temperature: float = TEMPERATURE,
        top_p: float = 0.95,
        batch: int = BATCH,
        repetition_penalty: float = REPETITION_PENALTY,
        no_repeat_ngram_size: int = NO_REPEAT_NGRAM_SIZE,
    ) -> None:
        if bank.backbone.kind != "causal":
            raise Unsupported(f"{bank.backbone.name} is a masked model and cannot write", do="use a causal model")
        bank.backbone.require("head")
        self.bank, self.owner = bank, owner
        self.name = bank.backbone.name if owner is None else f"{bank.backbone.name} with {owner}"
        self.temperature, self.top_p, self.batch = temperature, top_p, batch
        self.repetition_penalty, self.no_repeat_ngram_size = repetition_penalty, no_repeat_ngram_size

    @classmethod
    def load(cls, model: str | Backbone, **settings: Any) -> LocalWriter:
        """The bare model of a name."""
        return cls(Bank(load_backbone(model) if isinstance(model, str) else model), **settings)

    def describe(self) -> dict[str, Any]:
        """The model with its fingerprint, and how it is sampled."""
        return {
            "model": self.name,
            "fingerprint": self.bank.backbone.fingerprint,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": LIKELY,
            "repetition_penalty": self.repetition_penalty,
            "no_repeat_ngram_size": self.no_repeat_ngram_size,
            "length_margin": MARGIN,
            "guided_length_margin": GUIDED,
            "batch": self.batch,
        }

    def rendered(self, prompt: str) -> str:
        """The prompt as the model sees it, in its chat template where it has one.

        **Raises** `ConfigError` for a prompt that holds one of the tokenizer's control tokens.
        """
        tokenizer = self.bank.backbone.tokenizer
        if control := next((token for token in tokenizer.all_special_tokens if token in prompt), None):
            raise ConfigError(f"the prompt holds '{control}', a control token of {self.name}", do="take it out")
        if not getattr(tokenizer, "chat_template", None):
            return prompt + "\n\n"
        messages = [{"role": "user", "content": prompt}]
        return str(tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))

    def capacity(self, prompt: str) -> int:
        """The words that fit behind the prompt, by the tokens a word of it has."""
        return max(0, int(self._room(self._ids(prompt, "")) / self._per_word(prompt) / MARGIN))

    def write(self, requests: Sequence[Request], done: Done, advance: Advance) -> None:
        """Batch by batch, in order. **Raises** `ConfigError` for a request that does not fit the context."""
        for first in range(0, len(requests), self.batch):
            self._write_batch(requests[first : first + self.batch], first, done, advance)

    def _write_batch(self, requests: Sequence[Request], first: int, done: Done, advance: Advance) -> None:
        began = time.perf_counter()
        prompts, rows = zip(*(self._row(request) for request in requests), strict=True)

        def ready(number: int, made: TextRow) -> None:
            share = (time.perf_counter() - began) / len(requests)
            finished: Finished = "interrupted" if made.interrupted else "length" if made.cut else "end"
            done(first + number, draft(made.drawing, self.bank.backbone.tokenizer, share, finished))

        with torch.no_grad(), self.bank.backbone.weights(self._weights()):
            Decoding(self.bank, self.owner, prompts, rows).go(ready, advance)

    def _row(self, request: Request) -> tuple[list[int], TextRow]:
        """The prompt's ids, and the text behind them."""
        tokenizer = self.bank.backbone.tokenizer
        ids, most = self._fitted(request)
        return ids, TextRow(self._drawing(request, ids, tokenizer), most)

    def _fitted(self, request: Request) -> tuple[list[int], int]:
        """The prompt's ids, and the most tokens of the text. **Raises** `ConfigError` where they do not fit."""
        row, margin = self._ids(request.prompt, request.lead), MARGIN if request.guide is None else GUIDED
        most = max(1, int(request.most * self._per_word(request.prompt) * margin))
        if most > self._room(row):
            raise ConfigError(
                f"a text of {most} tokens does not fit behind a prompt of {len(row)} into the "
                f"{self.bank.backbone.geometry.positions} positions of {self.name}",
                do="ask for fewer words, or write in planned parts (approach plan)",
            )
        return row, most

    def _drawing(self, request: Request, ids: Sequence[int], tokenizer: Any) -> Drawing:
        """A request's text; `tokenizer`: of the thread that draws it."""
        options = GenerationOptions(do_sample=True, temperature=self.temperature, top_p=self.top_p)
        ends = Stopping(self.bank.backbone.tokenizer, options).eos
        return Drawing(
            tokenizer, Rules(options, self.repetition_penalty, self.no_repeat_ngram_size, ends), ids, request.seed,
            lead=request.lead, before=self._text_ids(request.lead), guide=request.guide,
            least=int(request.least * self._per_word(request.prompt)),
        )  # fmt: skip

    def _weights(self) -> Any:
        weights = self.bank.injection(self.owner).weights
        return weights.tensors if weights else None

    def _ids(self, prompt: str, lead: str) -> list[int]:
        tokenizer = self.bank.backbone.tokenizer
        chat = bool(getattr(tokenizer, "chat_template", None))
        found: list[int] = tokenizer(self.rendered(prompt) + lead, add_special_tokens=not chat)["input_ids"]
        return found

    def _per_word(self, prompt: str) -> float:
        words = len(Prose(prompt).words)
        return len(self._text_ids(prompt)) / max(1, words)

    def _text_ids(self, text: str) -> list[int]:
        found: list[int] = self.bank.backbone.tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        return found

    def _room(self, row: Sequence[int]) -> int:
        offset = self.bank.injection(self.owner).position_offset
        return self.bank.backbone.geometry.positions - offset - len(row)


def draft(drawing: Drawing, tokenizer: Any, seconds: float, finished: Finished) -> Draft:
    """What a text is at its end."""
    text = tokenizer.decode(drawing.ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return Draft(text, drawing.spent, seconds, finished, tuple(drawing.given), tuple(drawing.undone))
