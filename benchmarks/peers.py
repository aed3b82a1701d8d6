"""PEFT at its best: a loop of its own, batches of similar length, a frozen trunk in eval mode, nothing needless.

`*_sliced` go beyond PEFT's own interface: the head is applied by hand to the places that have a label.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.common import REQUESTS, bert_shaped, fill, named_model, random_rows
from benchmarks.peer_models import (
    Batches,
    causal_labels,
    causal_model,
    mrpc_model,
    mrpc_rows,
    padded,
    start,
    verbalizer_batch,
    verbalizer_loss,
    verbalizer_model,
    verbalizer_rows,
    word_ids,
)
from benchmarks.side import Settings, Side


class Own(Side):
    """AdamW, the gradient clipped as ours is, the trunk in eval mode and the prompt encoder in train mode."""

    def __init__(self, model: Any, loss: Callable[[Any, int], Tensor], rate: float, about: str) -> None:
        self.model, self.loss = model.eval(), loss
        for encoder in getattr(model, "prompt_encoder", {}).values():  # LoRA has none
            encoder.train()
        self.trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=rate, weight_decay=0.0)
        self.about = about

    def step(self, number: int) -> float:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.model, number)
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        return float(loss.detach())


BEST = "own loop, our batches of similar length, trunk in eval mode"


def mrpc(settings: Settings) -> Side:
    """Classification of MRPC by [CLS] and a linear layer, with prefix tuning, P-tuning or LoRA."""
    rows, pad = mrpc_rows(settings)
    batches = Batches(rows, settings)

    def loss(model: Any, number: int) -> Tensor:
        picked = batches.rows(number)
        ids, mask = padded([row["input_ids"] for row in picked], pad)
        types, _ = padded([row["token_type_ids"] for row in picked], 0)
        labels = torch.tensor([row["labels"] for row in picked])
        return model(input_ids=ids, attention_mask=mask, token_type_ids=types, labels=labels).loss

    return Own(mrpc_model(settings), loss, settings["rate"], BEST)


def verbalizer(settings: Settings) -> Side:
    """Two label words of a masked LM: PEFT's wrapper for feature extraction, logits of all places and words."""
    tokenizer, rows = verbalizer_rows(settings)
    batches, words = Batches(rows, settings), word_ids(settings, tokenizer)

    def loss(model: Any, number: int) -> Tensor:
        return verbalizer_loss(model, verbalizer_batch(batches.rows(number), tokenizer.pad_token_id), settings, words)

    return Own(verbalizer_model(settings), loss, settings["rate"], f"{BEST}; logits of all places and words")


def verbalizer_sliced(settings: Settings) -> Side:
    """The same with only the trunk wrapped, and the head applied by hand to the masks."""
    from peft import PromptTuningConfig, TaskType, get_peft_model

    tokenizer, rows = verbalizer_rows(settings)
    batches, words = Batches(rows, settings), word_ids(settings, tokenizer)
    whole = bert_shaped(settings).eval().requires_grad_(False)
    config = PromptTuningConfig(task_type=TaskType.FEATURE_EXTRACTION, num_virtual_tokens=settings["tokens"])
    wrapped: Any = get_peft_model(whole.bert, config)
    start(wrapped, settings)

    def loss(model: Any, number: int) -> Tensor:
        batch = verbalizer_batch(batches.rows(number), tokenizer.pad_token_id)
        hidden = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        read = hidden[torch.arange(len(hidden)), batch["places"] + settings["tokens"]]
        return cross_entropy(whole.cls(read)[:, words], batch["labels"])

    return Own(wrapped, loss, settings["rate"], f"{BEST}; the head by hand, at the masks alone")


def causal(settings: Settings) -> Side:
    """Prompt tuning of a causal model, labels given to the model: logits of all places."""
    texts, labels = random_rows(settings), causal_labels(settings)

    def loss(model: Any, number: int) -> Tensor:
        at = number % len(texts)
        # No padding, so no mask: attention takes its quick way.
        return model(input_ids=texts[at], labels=labels[at], use_cache=False).loss

    about = "own loop, trunk in eval mode, no mask and no cache; labels given to the model, so logits of all places"
    return Own(causal_model(settings), loss, settings["rate"], about)


def causal_sliced(settings: Settings) -> Side:
    """The same with `logits_to_keep` and a loss by hand: logits of the labelled places alone."""
    texts, count = random_rows(settings), settings["labels"]

    def loss(model: Any, number: int) -> Tensor:
        at = number % len(texts)
        logits = model(input_ids=texts[at], logits_to_keep=count + 1, use_cache=False).logits[:, :-1]
        return cross_entropy(logits.flatten(0, 1), texts[at][:, -count:].flatten())

    about = "own loop, trunk in eval mode, no mask and no cache; logits_to_keep and a loss by hand"
    return Own(causal_model(settings), loss, settings["rate"], about)


def generation(settings: Settings) -> Side:
    """Requests of eight tasks: an adapter each, switched between requests."""
    return Generation(settings)


class Generation(Side):
    """Eight prompt-tuning adapters; `set_adapter`, then `generate` for one request."""

    def __init__(self, settings: Settings) -> None:
        from peft import PromptTuningConfig, TaskType, get_peft_model
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder = named_model(settings["model"])
        tokenizer = AutoTokenizer.from_pretrained(folder)
        self.requests = [torch.tensor([tokenizer(text)["input_ids"]]) for text in REQUESTS]
        base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        config = PromptTuningConfig(
            task_type=TaskType.CAUSAL_LM, num_virtual_tokens=settings["tokens"], inference_mode=True
        )
        self.model: Any = get_peft_model(base, config, adapter_name="task-0")
        for number in range(1, len(REQUESTS)):
            self.model.add_adapter(f"task-{number}", config)
        for number in range(len(REQUESTS)):
            encoder: Any = self.model.prompt_encoder[f"task-{number}"]
            fill([encoder.embedding.weight], settings["seed"] + number)
        self.model.eval()
        for holder in (self.model, base):  # no request ends before its length
            holder.generation_config.eos_token_id = None
            holder.generation_config.pad_token_id = 0
        self.new = settings["new"]
        self.about = "set_adapter and generate, one request after the other; greedy, with a cache"

    def step(self, number: int) -> float:
        self._round()
        return 0.0

    def check(self, count: int) -> list[float]:
        return [float(token) for ids in self._round() for token in ids]

    @torch.inference_mode()
    def _round(self) -> list[list[int]]:
        found = []
        for number, ids in enumerate(self.requests):
            self.model.set_adapter(f"task-{number}")
            mask = torch.ones_like(ids)
            made = self.model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=self.new, do_sample=False)
            tokens = made[0, -self.new :].tolist()
            if len(made[0]) < self.new:
                raise RuntimeError("a request ended early")
            found.append(tokens)
        return found
