"""From an artifact to a PEFT checkpoint, with what a user of PEFT has to know to get the same answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from foreword.artifacts import storage
from foreword.artifacts.peft.files import CONFIG, check_output
from foreword.artifacts.peft.layout import check_segments
from foreword.artifacts.peft.reading import WINDOWED
from foreword.artifacts.peft.writing import TaskType, write_peft
from foreword.assembly import Reader
from foreword.backbone.backbone import Backbone
from foreword.errors import Unsupported
from foreword.injections import Injection, SoftTokens
from foreword.text.encoder import Encoder
from foreword.text.template import Soft, Template

WITHOUT = "export it without its readout (--no-readout)"
CHAT = ", which is the user's message in the model's chat template"


@dataclass(frozen=True)
class Exported:
    """A new checkpoint's folder, its `adapter_config.json`, and what a user has to know."""

    folder: Path
    config: Mapping[str, Any]
    notes: tuple[str, ...]


def export_peft(
    artifact: storage.Artifact,
    backbone: Backbone,
    output: str | Path,
    *,
    with_readout: bool = True,
    base_model: str | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write an artifact as a PEFT checkpoint.

    **Arguments:** `with_readout`: refuse a readout that PEFT has no place for; otherwise it is left out.
    `base_model`: what the checkpoint calls its base model (default: the backbone's name).

    **Raises** `Unsupported` for what PEFT cannot express; `ArtifactError` for another backbone.
    """
    output = Path(output).absolute()
    check_output(output, CONFIG, overwrite=overwrite)
    reader = artifact.attach(backbone)
    injection, leading = artifact.injection, 0
    if injection.soft is not None:
        injection, leading = in_front_of_words(injection, reader.encoder, backbone)
    task_type, readout = _head(reader, backbone) if with_readout else (None, {})
    check_segments(injection, reader.encoder, backbone)
    notes = _usage(artifact, reader, backbone, injection, leading, task_type, with_readout)
    kind = "P_TUNING" if artifact.manifest.method.get("name") == "p-tuning" else "PROMPT_TUNING"
    config = write_peft(
        output,
        injection,
        backbone,
        task_type=task_type,
        readout=readout,
        soft_kind="P_TUNING" if kind == "P_TUNING" else "PROMPT_TUNING",
        leading=leading,
        base_model=base_model,
        usage=notes,
    )
    return Exported(output, config, notes)


@torch.no_grad()
def in_front_of_words(injection: Injection, encoder: Encoder, backbone: Backbone) -> tuple[Injection, int]:
    """Virtual tokens with the special token in front of them as the first of them, and how many words that are.

    PEFT puts its virtual tokens in front of everything. Given a text without that special token, it has the same row.
    **Raises** `Unsupported` for virtual tokens elsewhere.
    """
    parts = encoder.template.parts
    front = len(list(takewhile(lambda part: isinstance(part, Soft), parts)))
    if not front or any(isinstance(part, Soft) for part in parts[front:]):
        raise Unsupported(
            "the virtual tokens stand inside the text or behind it, and PEFT's in front alone",
            where=str(encoder.template),
            do="train with method.placement: front and no soft slots in the template",
        )
    row = encoder.encode({name: "a" for name in encoder.template.fields})
    ids = row.ids[: row.soft.index(0)]
    if not ids:
        return injection, 0
    assert injection.soft is not None
    words = backbone.embed(torch.tensor(ids, device=backbone.device)).to(injection.soft.vectors)
    return Injection(soft=SoftTokens(torch.cat([words, injection.soft.vectors]))), len(ids)


def _head(reader: Reader, backbone: Backbone) -> tuple[TaskType | None, dict[str, Tensor]]:
    """PEFT's task type for the readout, and the tensors of the task model's own head."""
    readout = reader.readout
    if readout.name in ("verbalizer", "lm"):
        return None, {}
    if readout.name != "linear":
        raise Unsupported(f"PEFT's task models have no head like the readout {readout.name}", do=WITHOUT)
    if backbone.kind != "causal":
        raise Unsupported(
            f"the readout is one matrix on a hidden state, and {backbone.family}'s classifier in PEFT stands behind a "
            "second layer",
            do=WITHOUT,
        )
    state = {name: tensor.detach() for name, tensor in readout.state_dict().items()}
    if getattr(readout, "position", "") != "last" or readout.stop is not None:
        raise Unsupported("a causal model's classifier in PEFT reads the last layer at the last token", do=WITHOUT)
    if bool(state["bias"].any()):
        raise Unsupported("the readout has a bias, and a causal model's classifier in PEFT has none", do=WITHOUT)
    return "SEQ_CLS", {"score.weight": state["weight"]}


def _usage(
    artifact: storage.Artifact,
    reader: Reader,
    backbone: Backbone,
    injection: Injection,
    leading: int,
    task_type: TaskType | None,
    with_readout: bool,
) -> tuple[str, ...]:
    template = Template(tuple(part for part in reader.encoder.template.parts if not isinstance(part, Soft)))
    notes = [f"texts are written as `{template}`" + (CHAT if reader.encoder.chat else "")]
    if leading:
        notes.append(
            f"the first {leading} virtual token(s) are the tokenizer's own first one(s): give PEFT the ids without them"
        )
    soft = injection.soft
    if soft is not None and backbone.kind == "causal":
        notes.append("pad on the right: in left-padded batches PEFT counts the padding as positions")
    if soft is not None and task_type == "SEQ_CLS":
        notes.append("one row at a time: with padding, PEFT's classifier reads the last place, padded or not")
    if soft is not None and backbone.kind == "masked":
        notes.append(f"PEFT's output has {len(soft.vectors)} places more than the text, in front")
    inside = backbone.anatomy.names[0].startswith(f"{backbone.model.base_model_prefix}.") if injection.sites else False
    if inside and task_type is None:
        name = type(backbone.model).__name__
        notes.append(
            f"base_model has to be a {name}, or another model with a head: modules are named as they are there"
        )
    if injection.key_values is not None and backbone.windowed:
        notes.append(WINDOWED)
    if not with_readout:
        notes.append(f"the readout ({reader.readout.name}) is not in it")
    elif task_type == "SEQ_CLS":
        notes.append(f"the classes are, in order: {', '.join(reader.labels)}")
    elif reader.readout.name == "verbalizer":
        words = artifact.manifest.readout.get("words") or {label: label.replace("_", " ") for label in reader.labels}
        notes.append(f"the answer is the likeliest of these words at the mask: {words}")
    return tuple(notes)
