"""The peers' models and rows: PEFT's wrappers at the common first values, and the same rows in the same batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.common import bert_shaped, fill, mrpc_data, named_model, prefix_table, random_rows
from benchmarks.side import Settings


class FirstToken(nn.Module):
    """In the pooler's place: the state of [CLS] as it is, which PEFT's virtual tokens would else push aside (D1)."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self.place = place

    def forward(self, hidden: Tensor) -> Tensor:
        """`[B, T, H]` to `[B, H]`."""
        return hidden[:, self.place]


class Batches:
    """The batches that our own loop makes of the same rows: similar lengths, the same seed."""

    def __init__(self, rows: Sequence[dict[str, Any]], settings: Settings) -> None:
        self._rows, self._settings = rows, settings
        self._lengths, self._epoch, self._order = [len(row["input_ids"]) for row in rows], -1, [[0]]

    def rows(self, number: int) -> list[dict[str, Any]]:
        """The rows of step `number`."""
        from foreword.training.batching import epoch_batches

        size, seed = self._settings["batch"], self._settings["seed"]
        epoch, at = divmod(number, -(-len(self._rows) // size))
        if epoch != self._epoch:
            self._epoch, self._order = epoch, epoch_batches(self._lengths, size, seed, epoch)
        return [self._rows[index] for index in self._order[at]]


def padded(rows: Sequence[Sequence[int]], fill_with: int) -> tuple[Tensor, Tensor]:
    """`[B, T]` values and mask, padded to the longest row."""
    parts = [torch.tensor(row) for row in rows]
    values = nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=fill_with)
    lengths = torch.tensor([len(part) for part in parts])
    return values, (torch.arange(values.shape[1]) < lengths[:, None]).long()


def mrpc_rows(settings: Settings, split: str = "train") -> tuple[list[dict[str, Any]], int]:
    """The pairs of a split tokenised, and the padding's id."""
    from transformers import AutoTokenizer

    data = mrpc_data(settings)
    tokenizer = AutoTokenizer.from_pretrained(named_model(settings.get("model", "minilm-l6")))
    rows = []
    for row in data.rows(split):
        made = tokenizer(row["text1"], row["text2"], truncation=True, max_length=settings["max_length"])
        rows.append({name: made[name] for name in ("input_ids", "token_type_ids")} | {"labels": int(row["label"])})
    return rows, tokenizer.pad_token_id


def mrpc_model(settings: Settings) -> Any:
    """MiniLM with a linear layer on [CLS], wrapped by PEFT, at the common first values.

    Prompt tuning alone starts where PEFT has it start best: at the words of `init_text`.
    """
    from peft import PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, TaskType, get_peft_model
    from transformers import AutoModelForSequenceClassification

    model: Any = AutoModelForSequenceClassification.from_pretrained(
        named_model(settings.get("model", "minilm-l6")), num_labels=2
    )
    prefix, tokens = settings["method"] == "p-tuning-v2", settings["tokens"]
    model.bert.pooler = FirstToken(0 if settings["method"] in ("p-tuning-v2", "lora") else tokens)
    fill([model.classifier.weight, model.classifier.bias], settings["seed"] + 2)
    if settings["method"] == "lora":
        return _with_lora(model, settings)
    if prefix:
        config: Any = PrefixTuningConfig(task_type=TaskType.SEQ_CLS, num_virtual_tokens=tokens)
    elif settings["method"] == "prompt-tuning":
        return get_peft_model(
            model,
            PromptTuningConfig(
                task_type=TaskType.SEQ_CLS,
                num_virtual_tokens=tokens,
                prompt_tuning_init="TEXT",
                prompt_tuning_init_text=settings["init_text"],
                tokenizer_name_or_path=str(named_model(settings.get("model", "minilm-l6"))),
            ),
        )
    else:
        width = model.config.hidden_size
        config = PromptEncoderConfig(task_type=TaskType.SEQ_CLS, num_virtual_tokens=tokens, encoder_hidden_size=width)
    wrapped: Any = get_peft_model(model, config)
    if prefix:
        sizes = model.config
        heads = sizes.num_attention_heads
        table = prefix_table(settings, sizes.num_hidden_layers, heads, sizes.hidden_size // heads)
        weight = wrapped.prompt_encoder["default"].embedding.weight
        with torch.no_grad():  # [L, 2, K, P, D] as PEFT has it: [P, 2 L K D]
            weight.copy_(table.permute(3, 0, 1, 2, 4).reshape(weight.shape))
    else:
        start(wrapped, settings)
    return wrapped


def _with_lora(model: Any, settings: Settings) -> Any:
    """LoRA on queries and values: all A at the common first values, then all B."""
    from peft import LoraConfig, TaskType, get_peft_model

    config = LoraConfig(
        task_type=TaskType.SEQ_CLS, r=settings["r"], lora_alpha=settings["alpha"], target_modules=["query", "value"]
    )
    wrapped: Any = get_peft_model(model, config)
    named = list(wrapped.named_parameters())
    fill([p for part in ("lora_A", "lora_B") for name, p in named if part in name], settings["seed"])
    return wrapped


def start(wrapped: Any, settings: Settings) -> None:
    """Put the common first values into the prompt encoder."""
    fill(wrapped.prompt_encoder["default"].parameters(), settings["seed"])


def causal_model(settings: Settings) -> Any:
    """The causal model wrapped for prompt tuning, at the common first values."""
    from peft import PromptTuningConfig, TaskType, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(named_model(settings["model"]), dtype=torch.float32)
    config = PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=settings["tokens"])
    wrapped: Any = get_peft_model(base, config)
    start(wrapped, settings)
    return wrapped


def causal_labels(settings: Settings) -> Tensor:
    """`[batches, B, T]`: the last tokens' own ids, and -100 elsewhere."""
    texts = random_rows(settings)
    labels = torch.full_like(texts, -100)
    labels[:, :, -settings["labels"] :] = texts[:, :, -settings["labels"] :]
    return labels


def verbalizer_rows(settings: Settings) -> tuple[Any, list[dict[str, Any]]]:
    """The tokenizer, and the training pairs in the template with their mask's place."""
    from transformers import AutoTokenizer

    from foreword.text.encoder import Encoder
    from foreword.text.template import Template

    data = mrpc_data(settings)
    tokenizer = AutoTokenizer.from_pretrained(named_model("minilm-l6"))
    template = Template.parse(settings["template"]).resolve(tokenizer)
    encoder, rows = Encoder(template, tokenizer, "masked", settings["max_length"] - settings["tokens"]), []
    for row in data.rows("train"):
        made = encoder.encode({name: row[name] for name in ("text1", "text2")})
        rows.append({"input_ids": list(made.ids), "places": made.answers[0], "labels": int(row["label"])})
    return tokenizer, rows


def word_ids(settings: Settings, tokenizer: Any) -> list[int]:
    """The label words' ids, in the order of the labels."""
    return [tokenizer.convert_tokens_to_ids(word) for word in settings["words"]]


def verbalizer_model(settings: Settings) -> Any:
    """The masked LM, head and all, wrapped for feature extraction: PEFT has no masked-LM task (D7)."""
    from peft import PromptTuningConfig, TaskType, get_peft_model

    config = PromptTuningConfig(task_type=TaskType.FEATURE_EXTRACTION, num_virtual_tokens=settings["tokens"])
    wrapped: Any = get_peft_model(bert_shaped(settings), config)
    start(wrapped, settings)
    return wrapped


def verbalizer_batch(rows: Sequence[dict[str, Any]], pad: int) -> dict[str, Tensor]:
    """Padded ids and mask, the masks' places, and the labels."""
    ids, mask = padded([row["input_ids"] for row in rows], pad)
    found = {name: torch.tensor([row[name] for row in rows]) for name in ("places", "labels")}
    return {"input_ids": ids, "attention_mask": mask, **found}


def verbalizer_loss(model: Any, batch: dict[str, Tensor], settings: Settings, words: list[int]) -> Tensor:
    """The label words' logits, out of those of all places and words."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    read = logits[torch.arange(len(logits)), batch["places"] + settings["tokens"]]
    return cross_entropy(read[:, words], batch["labels"])
