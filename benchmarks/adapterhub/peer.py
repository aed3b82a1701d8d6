"""AdapterHub's `adapters` at its best: a loop of its own, our batches, a frozen trunk in eval mode.

This runs in the peer's own environment, and so imports nothing of foreword.
"""

from __future__ import annotations

import json
import os
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.common import fill
from benchmarks.side import Settings, Side, Skip

PYTHON = "FOREWORD_BENCH_PYTHON"
"""The variable that names foreword's own Python."""
NAME = "bench"


class FirstToken(nn.Module):
    """In the pooler's place: the state of [CLS] as it is."""

    def forward(self, hidden: Tensor) -> Tensor:
        """`[B, T, H]` to `[B, H]`."""
        return hidden[:, 0]


class Mrpc(Side):
    """Classification of MRPC by [CLS] and a linear layer, with an adapter or LoRA; AdamW, gradients clipped as ours."""

    def __init__(self, settings: Settings) -> None:
        self.given = _given(settings)
        self.model = _model(settings, self.given["model"]).eval()
        self.trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=settings["rate"], weight_decay=0.0)
        count = sum(parameter.numel() for parameter in self.trained)
        used = ", ".join(f"{name} {metadata.version(name)}" for name in ("adapters", "transformers", "torch"))
        self.about = f"own loop, our batches of similar length, trunk in eval mode; {count:,} trained; {used}"

    def step(self, number: int) -> float:
        rows = [self.given["rows"][index] for index in self.given["order"][number]]
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.model(
            input_ids=_padded([row["input_ids"] for row in rows], self.given["pad"]),
            attention_mask=_padded([[1] * len(row["input_ids"]) for row in rows], 0),
            token_type_ids=_padded([row["token_type_ids"] for row in rows], 0),
            labels=torch.tensor([row["labels"] for row in rows]),
        ).loss
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        return float(loss.detach())


def mrpc(settings: Settings) -> Side:
    """As `Mrpc`. **Raises** `Skip` where the data or the model is not to be had."""
    return Mrpc(settings)


def _given(settings: Settings) -> dict[str, Any]:
    root = Path(__file__).resolve().parents[2]
    command = [os.environ[PYTHON], "-m", "benchmarks.adapterhub.given"]
    path = os.pathsep.join([str(root), str(root / "src")])
    made = subprocess.run(
        command,
        input=json.dumps(dict(settings)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    found: dict[str, Any] = json.loads(made.stdout)
    if "skip" in found:
        raise Skip(found["skip"])
    return found


def _model(settings: Settings, folder: str) -> Any:
    """MiniLM with a linear layer on [CLS] and what `adapters` puts into it, at the common first values."""
    import adapters
    from transformers import AutoModelForSequenceClassification

    model: Any = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    model.bert.pooler = FirstToken()
    adapters.init(model)
    model.add_adapter(NAME, config=_config(settings))
    model.train_adapter(NAME)
    fill([model.classifier.weight, model.classifier.bias], settings["seed"] + 2)
    fill(_first(model, settings["method"]), settings["seed"])
    return model


def _config(settings: Settings) -> Any:
    """The method where foreword has it: the bottleneck behind the feed-forward, in front of its residual and norm."""
    import adapters

    if settings["method"] == "lora":
        return adapters.LoRAConfig(r=settings["r"], alpha=settings["alpha"], attn_matrices=["q", "v"])
    return adapters.SeqBnConfig(original_ln_before=False, reduction_factor=settings["reduction_factor"])


def _first(model: Any, method: str) -> list[Tensor]:
    """What is trained, in the order in which foreword's own is filled."""
    layers = [layer for layer in model.bert.encoder.layer]
    if method == "lora":
        both = [getattr(layer.attention.self, name).loras[NAME] for layer in layers for name in ("query", "value")]
        return [*(low.lora_A for low in both), *(low.lora_B for low in both)]
    necks = [layer.output.adapters[NAME] for layer in layers]
    parts = [(neck.adapter_down[0], neck.adapter_up) for neck in necks]
    return [tensor for down, up in parts for tensor in (down.weight, up.weight, down.bias, up.bias)]


def _padded(rows: list[list[int]], fill_with: int) -> Tensor:
    parts = [torch.tensor(row) for row in rows]
    return nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=fill_with)
