"""From a PEFT checkpoint to an injection, checked against the backbone that it is to stand on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from foreword.artifacts.peft.files import WEIGHTS, read_config, read_tensors
from foreword.artifacts.peft.layout import key_values_of
from foreword.artifacts.peft.sites import read_ia3, read_lora
from foreword.backbone.backbone import Backbone
from foreword.errors import ArtifactError, ForewordError, Unsupported, did_you_mean
from foreword.injections import Injection, KeyValues, SoftTokens

PROMPT = "prompt_embeddings"
SOFT = ("PROMPT_TUNING", "P_TUNING")
HEADS = ("classifier", "score", "qa_outputs")
"""What PEFT stores beside the adapter without being asked."""
WINDOWED = (
    "some layers look back over a window alone: beyond it, PEFT's prefix falls out of sight, and ours stays visible; "
    "for rows within the window the two are equal"
)


TWO_STACKS = (
    "stands in front of the decoder as text does: BART's decoder is moved by it, and T5's bias by distance falls on "
    "its keys. No key/values here do that, so it is not exchanged"
)
"""And layers share rows; with an even number of them, half of the rows are in none (peft 0.21)."""
TWICE = "PEFT stores the prompt of an encoder-decoder twice over and uses the first half, in front of the encoder"


@dataclass(frozen=True)
class PeftAdapter:
    """What a PEFT checkpoint holds.

    `kind` is its `peft_type`. `readout`: what was saved whole beside the adapter, such as the task model's
    `score.weight`. `leading`: how many of the first virtual tokens are words of the tokenizer's own, which only our
    export writes. Virtual tokens stand in front of everything: see `foreword.artifacts.peft.layout.in_front`.
    `notes`: what a user has to know.
    """

    kind: str
    task_type: str | None
    injection: Injection
    readout: Mapping[str, Tensor]
    config: Mapping[str, Any]
    leading: int = 0
    notes: tuple[str, ...] = ()


def read_peft(folder: str | Path, backbone: Backbone) -> PeftAdapter:
    """The adapter that PEFT's `save_pretrained` wrote into `folder`. No code of it is run.

    **Raises** `ArtifactError` for a broken checkpoint and for one that does not fit the backbone; `Unsupported` for a
    kind that is not read here, and for a pickle.
    """
    folder = Path(folder)
    config = read_config(folder)
    kind, task_type = config["peft_type"], config.get("task_type")
    if kind not in READERS:
        raise Unsupported(
            f"PEFT's {kind} is none of the kinds that are read here",
            where=str(folder),
            do=did_you_mean(kind, READERS),
        )
    two = task_type == "SEQ_2_SEQ_LM" or config.get("num_transformer_submodules") not in (None, 1)
    if two and not backbone.two_stacks:
        raise Unsupported("the checkpoint is for an encoder-decoder", where=str(folder), do="name its base model")
    if backbone.two_stacks and kind == "PREFIX_TUNING":
        raise Unsupported(f"PEFT's {kind} on an encoder-decoder {TWO_STACKS}", where=str(folder), do="use PEFT for it")
    if backbone.two_stacks and kind in SOFT and task_type != "SEQ_2_SEQ_LM":
        raise Unsupported(
            f"PEFT's {kind} of an encoder-decoder is read for the task type SEQ_2_SEQ_LM, and this is {task_type}",
            where=str(folder),
        )
    tensors, metadata = read_tensors(folder)
    try:
        injection = READERS[kind](config, tensors, backbone)
        readout = _readout(tensors, config)
        leading = _leading(metadata, injection)
    except ForewordError as error:
        raise type(error)(error.what, where=str(folder / WEIGHTS), do=error.do) from None
    base = config.get("base_model_name_or_path") or "a base model without a name"
    notes = [f"trained on {base}, says PEFT, and records no fingerprint: that {backbone.name} is it is taken on trust"]
    if injection.key_values is not None and backbone.windowed:
        notes.append(WINDOWED)
    if backbone.two_stacks and injection.soft is not None:
        notes.append(TWICE)
    return PeftAdapter(kind, task_type, injection, readout, config, leading, tuple(notes))


def _soft(config: Mapping[str, Any], tensors: dict[str, Tensor], backbone: Backbone) -> Injection:
    """`prompt_embeddings` `[P, E]`; a prompt encoder is not stored, only what it gave."""
    vectors, geometry = _prompt(config, tensors, twice=backbone.two_stacks), backbone.geometry
    if vectors.shape[1] != geometry.embedding:
        raise ArtifactError(
            f"the virtual tokens are {vectors.shape[1]} wide, and {backbone.name}'s word embeddings are "
            f"{geometry.embedding} wide",
            do=_base(config),
        )
    return Injection(soft=SoftTokens(vectors))


def _prefix(config: Mapping[str, Any], tensors: dict[str, Tensor], backbone: Backbone) -> Injection:
    """`prompt_embeddings` `[P, 2 L K D]`; of a projected prefix too, whose MLP is not stored."""
    backbone.require("key_values")
    matrix, geometry = _prompt(config, tensors), backbone.geometry
    expected = 2 * geometry.layers * geometry.kv_heads * geometry.head_size
    layers = _count(config, "num_layers")
    if matrix.shape[1] != expected or layers not in (None, geometry.layers):
        raise ArtifactError(
            f"the prefix has {matrix.shape[1]} numbers a virtual token for {layers} layers, and {backbone.name} needs "
            f"{expected}: 2 x {geometry.layers} layers x {geometry.kv_heads} heads x {geometry.head_size}",
            do=_base(config),
        )
    table = KeyValues(tuple(range(geometry.layers)), key_values_of(matrix, geometry))
    return Injection(key_values=table, position_offset=len(matrix))


def _prompt(config: Mapping[str, Any], tensors: dict[str, Tensor], *, twice: bool = False) -> Tensor:
    """Takes `prompt_embeddings` out of the tensors: P rows, of which PEFT may have written twice as many (`TWICE`)."""
    if PROMPT not in tensors:
        raise ArtifactError(f"the checkpoint has no tensor {PROMPT}; it has {', '.join(sorted(tensors)) or 'none'}")
    prompt, stated = tensors.pop(PROMPT), _count(config, "num_virtual_tokens")
    if twice and prompt.ndim == 2 and stated is not None and len(prompt) == 2 * stated:
        prompt = prompt[:stated].contiguous()
    if prompt.ndim != 2 or not len(prompt) or stated not in (None, len(prompt)):
        raise ArtifactError(
            f"{PROMPT} has the shape {tuple(prompt.shape)}, and num_virtual_tokens is {stated}",
            do="copy the whole folder again: its two files belong to different checkpoints",
        )
    return prompt


def _count(config: Mapping[str, Any], name: str) -> int | None:
    """A number of things that the configuration may state. **Raises** `ArtifactError` for anything else."""
    count = config.get(name)
    if count is None or (isinstance(count, int) and not isinstance(count, bool)):
        return count
    raise ArtifactError(f"{name} is {count!r:.40} in the configuration, no whole number")


def _base(config: Mapping[str, Any]) -> str:
    named = config.get("base_model_name_or_path")
    return f"name the backbone that it was trained on ({named})" if named else "name the backbone of its training"


def _readout(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """The head's tensors by their names in the task model. **Raises** `ArtifactError` for any other tensor."""
    more = config.get("modules_to_save") or []
    if not isinstance(more, list) or not all(isinstance(name, str) for name in more):
        raise ArtifactError(f"modules_to_save is {more!r}, no list of names")
    saved = (*HEADS, *more)
    found = {}
    for name, tensor in tensors.items():
        inner = name.removeprefix("base_model.").removeprefix("model.")
        if not any(part in saved for part in inner.split(".")[:-1]):
            raise ArtifactError(
                f"the checkpoint holds a tensor that is not read here: {name}",
                do="adapted embeddings, and weights of the backbone itself, such as resized ones, have no place here",
            )
        found[inner] = tensor
    return found


def _leading(metadata: Mapping[str, str], injection: Injection) -> int:
    try:
        count = json.loads(metadata.get("foreword", "{}")).get("leading", 0)
    except (ValueError, AttributeError):
        raise ArtifactError("the file's own description of its virtual tokens is broken") from None
    length = 0 if injection.soft is None else len(injection.soft.vectors)
    if not isinstance(count, int) or not 0 <= count <= length:
        raise ArtifactError(f"the file says that {count} of {length} virtual tokens are words")
    return count


Reader = Callable[[Mapping[str, Any], dict[str, Tensor], Backbone], Injection]
READERS: dict[str, Reader] = {
    "PROMPT_TUNING": _soft,
    "P_TUNING": _soft,
    "PREFIX_TUNING": _prefix,
    "LORA": read_lora,
    "IA3": read_ia3,
}
