"""PEFT's own models around the tiny ones: what it writes, and what it answers."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from foreword.artifacts.peft.layout import in_front
from foreword.artifacts.peft.reading import PeftAdapter
from foreword.backbone.backbone import Backbone
from foreword.bank import Bank
from foreword.batch import Item, collate
from foreword.injections import Injection
from foreword.text.encoder import Encoder
from foreword.text.rows import Row
from foreword.text.template import Template
from support.backbones import bare, kind

COUNT = 4
TEXTS = ("The film was great.", "A boring and awful movie, it was not worth the money", "good")
SOFT = ("prompt", "p-tuning-mlp", "p-tuning-lstm")
PREFIX = ("prefix", "prefix-projection")
KINDS = (*SOFT, *PREFIX)
SITES = ("lora", "lora-patterns", "ia3")
TARGETS = {
    "gpt2": ("c_attn", "mlp.c_proj"), "llama": ("q_proj", "down_proj"), "opt": ("q_proj", "fc2"),
    "bert": ("query", "output.dense"), "roberta": ("query", "output.dense"), "distilbert": ("q_lin", "lin2"),
    "opt-projected": ("q_proj", "fc2"),
}  # fmt: skip
"""A projection and what is the feed-forward's output, in each family's names."""


def library() -> Any:
    """The package, or a skipped test. Its own warnings are not ours to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("peft", reason="the extra `peft` is not installed")


@cache
def _classifier(family: str) -> Any:
    from transformers import AutoModelForSequenceClassification

    whole = bare(family)
    config = copy.deepcopy(whole.config)
    config.num_labels, config.pad_token_id = 3, config.pad_token_id or 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model: Any = AutoModelForSequenceClassification.from_config(config)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.data.normal_(0, 0.3)
    model.base_model.load_state_dict(whole.base_model.state_dict(), strict=False)
    return model.eval()


def model_for(family: str, task: str) -> Any:
    """A fresh copy of the bare task model."""
    return copy.deepcopy(_classifier(family)) if task == "SEQ_CLS" else bare(family)


def default_task(family: str) -> str:
    return "CAUSAL_LM" if kind(family) == "causal" else "FEATURE_EXTRACTION"


def config_of(name: str, task: str, **changes: Any) -> Any:
    peft = library()
    family = changes.pop("family")
    if name in SITES:
        return _sited(name, task, TARGETS[family], changes)
    common = {"task_type": task, "num_virtual_tokens": COUNT, **changes}
    if name == "prompt":
        return peft.PromptTuningConfig(**common)
    if name.startswith("p-tuning"):
        kind_ = name.removeprefix("p-tuning-").upper()
        return peft.PromptEncoderConfig(encoder_reparameterization_type=kind_, encoder_hidden_size=24, **common)
    projected = {"prefix_projection": True, "encoder_hidden_size": 24} if name == "prefix-projection" else {}
    return peft.PrefixTuningConfig(**projected, **common)


def _sited(name: str, task: str, targets: tuple[str, str], changes: dict[str, Any]) -> Any:
    peft = library()
    common: dict[str, Any] = {"task_type": task, "target_modules": list(targets), **changes}
    if name == "ia3":
        return peft.IA3Config(feedforward_modules=[targets[1]], **common)
    if name == "lora":
        return peft.LoraConfig(r=3, lora_alpha=5, use_rslora=True, **common)
    patterns = {"rank_pattern": {targets[1]: 2}, "alpha_pattern": {targets[1]: 7}}
    return peft.LoraConfig(r=4, lora_alpha=8, layers_to_transform=[0, 2], **patterns, **common)


def written(family: str, name: str, folder: Path, task: str | None = None, **changes: Any) -> Path:
    """A checkpoint that PEFT wrote, with values so large that they show."""
    peft, task = library(), task or default_task(family)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(11)
        model = peft.get_peft_model(model_for(family, task), config_of(name, task, family=family, **changes))
        with torch.no_grad():
            for path, parameter in model.named_parameters():
                if parameter.requires_grad and "prompt_encoder" in path:
                    parameter.normal_(0, 0.4)
                elif "lora" in path or "ia3" in path:
                    parameter.add_(torch.randn_like(parameter) * 0.15)
                elif parameter.requires_grad and ("score" in path or "classifier" in path):
                    parameter.normal_(0, 0.5)
        model.save_pretrained(folder)
    return folder


@torch.no_grad()
def theirs(family: str, folder: Path, rows: Sequence[Sequence[int]], task: str | None = None) -> list[Tensor]:
    """PEFT's own logits of each row of ids, run alone, so that no padding is in play."""
    model = loaded(family, folder, task)
    return [model(**one_row(ids)).logits[0].float() for ids in rows]


def loaded(family: str, folder: Path, task: str | None = None, labels: int | None = None) -> Any:
    """PEFT's model with the checkpoint; `labels`: of a causal classifier, where it has others than three."""
    peft, model = library(), model_for(family, task or default_task(family))
    if labels is not None:
        model.score = torch.nn.Linear(model.score.in_features, labels, bias=False)
        model.config.num_labels = model.num_labels = labels
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return peft.PeftModel.from_pretrained(model, folder).eval()


def one_row(ids: Sequence[int]) -> dict[str, Tensor]:
    tensor = torch.tensor([list(ids)])
    return {"input_ids": tensor, "attention_mask": torch.ones_like(tensor)}


def encoder(backbone: Backbone) -> Encoder:
    return Encoder(Template.parse("{text}"), backbone.tokenizer, backbone.kind, 64)


def plain_rows(backbone: Backbone, texts: Sequence[str] = TEXTS) -> list[Row]:
    """The texts as the tokenizer makes them, without virtual tokens."""
    made = encoder(backbone)
    return [made.encode({"text": text}) for text in texts]


def placed(rows: Sequence[Row], adapter: PeftAdapter | Injection) -> list[Row]:
    """The rows with PEFT's virtual tokens where PEFT has them."""
    injection = adapter.injection if isinstance(adapter, PeftAdapter) else adapter
    return [in_front(row, len(injection.soft.vectors)) if injection.soft is not None else row for row in rows]


@torch.no_grad()
def ours(backbone: Backbone, injection: Injection, rows: Sequence[Row], side: str = "right") -> list[Tensor]:
    """Our logits `[T, V]` of each row, run together."""
    bank = Bank(backbone)
    bank.put("peft", injection)
    batch = collate([Item((row,), "peft") for row in rows], backbone.pad_id, side)  # type: ignore[arg-type]
    where = torch.arange(batch.ids.shape[1]).expand(len(rows), -1)
    logits = bank.logits(batch, where)
    return [one[mask.bool()] for one, mask in zip(logits, batch.mask, strict=True)]


@torch.no_grad()
def states(backbone: Backbone, injection: Injection, rows: Sequence[Row], side: str = "right") -> list[Tensor]:
    """Our last hidden states `[T, H]` of each row, run together."""
    bank = Bank(backbone)
    bank.put("peft", injection)
    batch = collate([Item((row,), "peft") for row in rows], backbone.pad_id, side)  # type: ignore[arg-type]
    return [one[mask.bool()] for one, mask in zip(bank.hidden(batch), batch.mask, strict=True)]


def difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest, over all rows; shapes have to agree."""
    assert [one.shape for one in found] == [one.shape for one in expected]
    return max(float((one - other).abs().max()) for one, other in zip(found, expected, strict=True))
