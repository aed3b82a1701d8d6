"""PEFT with transformers' Trainer, as the first report has it.

Rows are tokenised in chunks of 1,000 and padded to the chunk's longest; batches are drawn at random; the whole model is
in train mode, so that the frozen trunk drops out. What is timed is `Trainer.train()` itself, step by step.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments, default_data_collator

from benchmarks.common import random_rows
from benchmarks.peer_models import (
    causal_labels,
    causal_model,
    mrpc_model,
    mrpc_rows,
    verbalizer_loss,
    verbalizer_model,
    verbalizer_rows,
    word_ids,
)
from benchmarks.side import Settings, Side

CHUNK = 1000
Row = Mapping[str, Any]


class Rows(Dataset[Row]):
    """Lists as torch wants a data set."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Row:
        return self._rows[index]


class Clock(TrainerCallback):
    """The moments at which optimiser steps are over."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.perf_counter())


class Trained(Side):
    """A block is one `Trainer.train()` of `count` + 1 steps, of which the first is dropped."""

    about = "Trainer's defaults: train mode (dropout in the frozen trunk), random batches, rows padded by chunk"

    def __init__(
        self,
        model: Any,
        rows: Sequence[Row],
        settings: Settings,
        collate: Callable[[list[Any]], dict[str, Any]],
        loss: Callable[[Any, Row], Tensor] | None = None,
    ) -> None:
        self.model, self.rows, self.settings, self.collate, self.loss = model, Rows(rows), settings, collate, loss
        self.folder = tempfile.TemporaryDirectory(prefix="foreword-bench-")

    def check(self, count: int) -> list[float]:
        return []

    def block(self, start: int, count: int) -> tuple[float, list[float]]:
        arguments = TrainingArguments(
            output_dir=self.folder.name,
            per_device_train_batch_size=self.settings["batch"],
            learning_rate=self.settings["rate"],
            max_steps=count + 1,
            seed=self.settings["seed"] + start,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        clock = Clock()
        kind = Trainer if self.loss is None else _with_loss(self.loss)
        trainer = kind(
            model=self.model, args=arguments, train_dataset=self.rows, data_collator=self.collate, callbacks=[clock]
        )
        trainer.remove_callback(PrinterCallback)
        mean = trainer.train().training_loss
        return (clock.ends[-1] - clock.ends[0]) / count, [mean]

    def operations(self, start: int, count: int) -> float:
        """As of every side, of `count` + 1 steps."""
        return super().operations(start, count) * count / (count + 1)


def mrpc(settings: Settings) -> Side:
    """Classification of MRPC by [CLS] and a linear layer, with prefix tuning, P-tuning or LoRA."""
    rows, pad = mrpc_rows(settings)
    chunked = padded_by_chunk([row | {"attention_mask": [1] * len(row["input_ids"])} for row in rows], pad)
    return Trained(mrpc_model(settings), chunked, settings, _to_longest(pad))


def verbalizer(settings: Settings) -> Side:
    """Two label words of a masked LM; the loss is ours, since PEFT has none for it."""
    tokenizer, rows = verbalizer_rows(settings)
    pad, words = tokenizer.pad_token_id, word_ids(settings, tokenizer)
    chunked = padded_by_chunk([row | {"attention_mask": [1] * len(row["input_ids"])} for row in rows], pad)

    def loss(model: Any, batch: Any) -> Tensor:
        return verbalizer_loss(model, batch, settings, words)

    return Trained(verbalizer_model(settings), chunked, settings, _to_longest(pad), loss)


def causal(settings: Settings) -> Side:
    """Prompt tuning of a causal model on its last tokens; rows of one length, and so no padding."""
    texts, labels = random_rows(settings).flatten(0, 1), causal_labels(settings).flatten(0, 1)
    rows = [
        {"input_ids": text, "attention_mask": torch.ones_like(text), "labels": label}
        for text, label in zip(texts, labels, strict=True)
    ]
    side = Trained(causal_model(settings), rows, settings, default_data_collator)
    side.about = "Trainer's defaults: train mode (this model has no dropout), random batches; no padding in these rows"
    return side


def padded_by_chunk(rows: Sequence[Row], pad: int) -> list[Row]:
    """Rows padded to the longest of their 1,000: what a data set's batched map with `padding=True` gives."""
    found: list[Row] = []
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        width = max(len(row["input_ids"]) for row in chunk)
        found += [_padded(row, width, pad) for row in chunk]
    return found


def _padded(row: Row, width: int, pad: int) -> Row:
    """The row's lists at that width; its single numbers as they are."""
    return {
        name: value + [pad if name == "input_ids" else 0] * (width - len(value)) if isinstance(value, list) else value
        for name, value in row.items()
    }


def _to_longest(pad: int) -> Callable[[list[Any]], dict[str, Any]]:
    """A batch may hold rows of several chunks, so it is padded once more."""

    def collate(rows: list[Any]) -> dict[str, Any]:
        width = max(len(row["input_ids"]) for row in rows)
        whole = [_padded(row, width, pad) for row in rows]
        return {name: torch.tensor([row[name] for row in whole]) for name in whole[0]}

    return collate


def _with_loss(loss: Callable[[Any, Row], Tensor]) -> type[Trainer]:
    class WithLoss(Trainer):
        """A Trainer that is told its loss."""

        def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Tensor:
            return loss(model, inputs)

    return WithLoss
