"""From a PEFT checkpoint to an artifact: where its virtual tokens stand here, and what reads its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from foreword import registry
from foreword.artifacts import storage
from foreword.artifacts.manifest import IMPORTED
from foreword.artifacts.peft.files import check_output
from foreword.artifacts.peft.layout import check_segments, compiled
from foreword.artifacts.peft.reading import WINDOWED, PeftAdapter, read_peft
from foreword.assembly import Assembly, assemble
from foreword.backbone.backbone import Backbone
from foreword.config import RunConfig, build
from foreword.errors import ArtifactError, ConfigError, Unsupported
from foreword.injections import Injection, LowRank, ScaleInput, Sites, SoftTokens
from foreword.text.chat import turns
from foreword.text.checks import chat as require_chat
from foreword.text.pieces import Frame
from foreword.text.template import Template


@dataclass(frozen=True)
class Reading:
    """How the imported foreword's answers are read, which PEFT does not record.

    `task`: a registered one. `template`: the task's own by default, without soft slots. `labels` and `words`: the
    labels' names in the order of their numbers, and their words where the language-model head reads them. `chat`: the
    template is the user's message in the model's chat template.
    """

    task: str | None = None
    template: str | None = None
    labels: Sequence[str] | None = None
    words: Mapping[str, Sequence[str]] | None = None
    max_length: int | None = None
    chat: bool = False


@dataclass(frozen=True)
class Imported:
    """A new artifact's folder, what was read for it, and what a user has to know."""

    folder: Path
    adapter: PeftAdapter
    notes: tuple[str, ...]


def import_peft(
    folder: str | Path,
    backbone: Backbone,
    output: str | Path,
    reading: Reading | None = None,
    *,
    overwrite: bool = False,
) -> Imported:
    """Make an artifact of a PEFT checkpoint; it can be used, and trained further.

    **Raises** `ArtifactError` and `Unsupported` as `read_peft` does, and where an artifact cannot hold what the
    checkpoint does; `ConfigError` for options that do not fit it.
    """
    output, reading = Path(output).absolute(), reading or Reading()
    check_output(output, "foreword.json", overwrite=overwrite)
    adapter = read_peft(folder, backbone)
    injection, method, notes = _method(adapter, backbone, _begins(backbone, reading.chat))
    task, labels, readout, tensors = _answers(adapter, reading, backbone)
    if reading.template is not None and Template.parse(reading.template).has_soft:
        raise ConfigError("the template has soft slots, and PEFT's virtual tokens stand in front", do="take them out")
    settings = {
        "data": {"source": f"{IMPORTED}{Path(folder).absolute().name}"},
        "backbone": backbone.name,
        "task": task,
        "template": {"text": reading.template, "max_length": reading.max_length, "chat": reading.chat},
        "method": method,
        "readout": readout,
    }
    assembly = assemble(build(RunConfig, settings), backbone, registry.tasks.get(task)(), labels, [])
    check_segments(injection, assembly.reader.encoder, backbone)
    _fill(assembly, injection, tensors)
    storage.save(assembly, output, output.name)
    return Imported(output, adapter, (*adapter.notes, *notes))


def _leading(soft: SoftTokens, words: Sequence[int], backbone: Backbone) -> int:
    """How many virtual tokens are the tokenizer's own first words: saving with PEFT loses an export's note of it."""
    if not words or len(soft.vectors) <= len(words):
        return 0
    own = backbone.embed(torch.tensor([list(words)], device=backbone.device))[0].detach()
    return len(words) if torch.equal(soft.vectors[: len(words)].to(own), own) else 0


def _begins(backbone: Backbone, chat: bool) -> tuple[int, ...]:
    """The special tokens that every row begins with. **Raises** `TemplateError` for a chat that the model lacks."""
    tokenizer = backbone.tokenizer
    if not chat:
        return Frame.of(tokenizer, pair=False).prefix
    require_chat(Template(()), tokenizer, backbone.kind)
    bos = tokenizer.bos_token
    return (tokenizer.bos_token_id,) if bos and turns(tokenizer, [])[0].text.startswith(bos) else ()


def _method(
    adapter: PeftAdapter, backbone: Backbone, words: Sequence[int]
) -> tuple[Injection, dict[str, Any], list[str]]:
    """What the backbone is given, the method that holds it, and what to say about it; rows begin with `words`."""
    injection: Injection = adapter.injection
    notes: list[str] = []
    if injection.sites is not None:
        return injection, _sited(injection.sites, backbone), notes
    if (soft := injection.soft) is not None:
        if adapter.leading not in (0, len(words)) or adapter.leading == len(soft.vectors):
            raise ArtifactError(
                f"the first {adapter.leading} of the checkpoint's vectors are words that rows began with where it was "
                f"exported, and here they begin with {len(words)}: it is of a chat, of none, or of another tokenizer",
                do="import a foreword of a chat with --chat, and no other",
            )
        leading = adapter.leading or _leading(soft, words, backbone)
        if leading > adapter.leading:
            notes.append(
                f"it begins with {backbone.tokenizer.convert_ids_to_tokens(list(words))}, as every row does anyway: "
                "it is read as an export of a foreword that PEFT has saved anew"
            )
        if leading == len(words):
            own = soft.vectors[leading:]
            return Injection(soft=SoftTokens(own)), {"name": "prompt-tuning", "num_virtual_tokens": len(own)}, notes
        if backbone.kind != "causal":
            reads = ", where its own classifier reads one of them," if backbone.kind == "masked" else ""
            raise Unsupported(
                f"PEFT's virtual tokens stand in front of {backbone.tokenizer.cls_token}{reads} and a foreword's "
                "behind it",
                do=("use prefix tuning on encoders; " if reads else "")
                + "read_peft and layout.in_front give PEFT's places to your own code",
            )
        injection = compiled(soft, backbone)
        notes.append(
            f"PEFT's virtual tokens stand in front of {backbone.tokenizer.bos_token}: they are kept as the key/values "
            "that they have there, which is the same function"
        )
        notes += [WINDOWED] if backbone.windowed else []
    assert injection.key_values is not None
    length = injection.key_values.length
    settings = {"name": "p-tuning-v2", "num_virtual_tokens": length, "position_offset": injection.position_offset}
    return injection, settings, notes


def _sited(sites: Sites, backbone: Backbone) -> dict[str, Any]:
    """Settings of the method, or of several combined, that have these operations in these places.

    LoRA's ranks and scales may differ by module; every two that do are a part of their own.
    """
    names: dict[tuple[int, float] | None, list[tuple[int, str]]] = {}
    in_front: list[str] = []
    for (layer, path, _), operation in sites.at.items():
        name = f"{backbone.anatomy.names[layer]}.{path}"
        alike = (operation.a.shape[0], operation.scale) if isinstance(operation, LowRank) else None
        names.setdefault(alike, []).append((layer, name))
        in_front += [name] if isinstance(operation, ScaleInput) else []
    parts = []
    for alike, places in names.items():
        part: dict[str, Any] = {
            "target_modules": [name for _, name in places],
            "layers": sorted({layer for layer, _ in places}),
        }
        if alike is None:
            parts.append({"name": "ia3", "feedforward_modules": in_front, **part})
        else:
            parts.append({"name": "lora", "r": alike[0], "lora_alpha": alike[1] * alike[0], **part})
    return parts[0] if len(parts) == 1 else {"name": "combined", "parts": parts}


def _answers(
    adapter: PeftAdapter, reading: Reading, backbone: Backbone
) -> tuple[str, list[str], dict[str, Any], dict[str, Tensor]]:
    """The task, its labels, the readout that gives them, and the readout's tensors."""
    if reading.labels is not None and not 2 <= len(set(reading.labels)) == len(reading.labels):
        raise ConfigError(
            f"{len(set(reading.labels))} different labels of {len(reading.labels)}", do="give two or more"
        )
    if adapter.task_type in ("TOKEN_CLS", "QUESTION_ANS"):
        raise Unsupported(
            f"checkpoints for {adapter.task_type} have a head that reads every token, which is not imported",
            do="read_peft gives the adapter and the head's tensors",
        )
    asked = None if reading.task is None else registry.tasks.get(reading.task).answer
    if adapter.task_type == "SEQ_CLS" and asked not in (None, "class"):
        raise ConfigError(
            f"the checkpoint has a classifier, which cannot answer {reading.task}", do="leave the task out"
        )
    if adapter.task_type == "SEQ_CLS":
        tensors = _linear(adapter, backbone)
        labels = list(reading.labels or [f"LABEL_{i}" for i in range(len(tensors["weight"]))])
        if len(labels) != len(tensors["weight"]):
            raise ConfigError(f"{len(labels)} labels were given, and the classifier has {len(tensors['weight'])}")
        if reading.words:
            raise ConfigError("words are for checkpoints without a classifier", do="leave --word out")
        return reading.task or "classification", labels, {"name": "linear", "position": "last"}, tensors
    if adapter.readout:
        raise Unsupported(f"the checkpoint brings a head of its own ({', '.join(sorted(adapter.readout))})")
    if reading.labels:
        words = {label: list(own) for label, own in (reading.words or {}).items()}
        return (
            reading.task or "classification",
            list(reading.labels),
            {"name": "verbalizer", "words": words or None},
            {},
        )
    writing = [name for name in registry.tasks.names if getattr(registry.tasks.get(name), "answer", "") == "text"]
    if reading.task not in writing:
        raise ConfigError(
            "the checkpoint has no classifier, so PEFT's file does not say what it answers",
            do=f"give the labels (--labels good,bad), or a task whose answer is written: --task {' or '.join(writing)}",
        )
    return reading.task, [], {"name": "lm"}, {}


def _linear(adapter: PeftAdapter, backbone: Backbone) -> dict[str, Tensor]:
    """Weight `[C, H]` and bias `[C]` of a classifier that is one matrix on the last token."""
    if backbone.kind != "causal":
        raise Unsupported(
            f"{backbone.family}'s classifier stands behind a second layer (a pooler, which PEFT does not even store, "
            "or the head's own), and a linear readout is one matrix on [CLS]",
            do="read_peft gives the adapter and the head's tensors",
        )
    found = dict(adapter.readout)
    weight = found.pop("score.weight", None)
    bias = found.pop("score.bias", None)
    if weight is None or found:
        held = ", ".join(sorted(adapter.readout)) or "nothing"
        raise Unsupported(f"a causal model's classifier is one matrix, score.weight, and the checkpoint has {held}")
    if weight.ndim != 2 or weight.shape[1] != backbone.geometry.hidden or len(weight) < 2:
        raise ArtifactError(
            f"score.weight has the shape {tuple(weight.shape)}, and {backbone.name} needs "
            f"[labels, {backbone.geometry.hidden}], of two labels or more"
        )
    return {"weight": weight, "bias": weight.new_zeros(len(weight)) if bias is None else bias}


@torch.no_grad()
def _fill(assembly: Assembly, injection: Injection, readout: Mapping[str, Tensor]) -> None:
    """Put the checkpoint's numbers in the place of the first values."""
    parameters: dict[str, Any] = dict(assembly.method.named_parameters())
    if injection.soft is not None:
        parameters["vectors"].copy_(injection.soft.vectors)
    elif injection.key_values is not None:
        parameters["table"].copy_(injection.key_values.tensor)
    elif injection.sites is not None:
        _fill_sites(assembly, injection.sites)
    for name, tensor in readout.items():
        assembly.readout.get_parameter(name).copy_(tensor)


def _fill_sites(assembly: Assembly, sites: Sites) -> None:
    """Each operation's numbers into those that the method compiles to: the same tensors, as nothing is copied."""
    made = assembly.method.compiled().sites
    assert made is not None
    assert made.at.keys() == sites.at.keys()
    for place, operation in sites.at.items():
        own = made.at[place]
        for part in ("a", "b", "vector"):
            if hasattr(operation, part):
                getattr(own, part).copy_(getattr(operation, part))
