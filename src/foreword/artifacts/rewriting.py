"""Writing an artifact from another one's parts: the same readout and run, with a part of its prompt."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from foreword.artifacts.card import card
from foreword.artifacts.manifest import Manifest, TensorInfo, versions
from foreword.artifacts.replacing import replaced
from foreword.errors import ArtifactError
from foreword.injections import Injection
from foreword.text.template import Part, Soft, Template


def rewrite(manifest: Manifest, injection: Injection, readout: Mapping[str, Tensor], folder: Path) -> Path:
    """Write an artifact that `manifest` describes but for its tensors, their number, and its date.

    **Raises** `ArtifactError` where there is something already, and when it cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ArtifactError(f"there is something already: {folder}", do="name a new folder")
    tensors = {f"injection.{name}": tensor for name, tensor in injection.tensors().items()}
    tensors |= {f"readout.{name}": tensor for name, tensor in readout.items()}
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    stored = injection.size() + sum(tensor.numel() for tensor in readout.values())
    with replaced(folder, "the artifact") as made:
        save_file(tensors, made / "weights.safetensors", {"format": "foreword"})
        written = manifest.model_copy(
            update={
                "parameters": {**manifest.parameters, "stored": stored},
                "versions": versions(),
                "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                "tensors": {k: TensorInfo(shape=list(v.shape), dtype=str(v.dtype)) for k, v in sorted(tensors.items())},
                "weights_sha256": hashlib.sha256((made / "weights.safetensors").read_bytes()).hexdigest(),
            }
        )
        (made / "foreword.json").write_text(written.model_dump_json(indent=1) + "\n", encoding="utf-8")
        (made / "README.md").write_text(card(written), encoding="utf-8")
    return folder


def with_tokens(manifest: Manifest, kept: Sequence[int], length: int, template: Template | None = None) -> Manifest:
    """The manifest of a foreword with `kept` of its `length` virtual tokens.

    Where they stand among the words, in the soft slots of `template` (resolved), it has fewer, and the row is so much
    shorter: the text is cut where it was. `method.kept_tokens` says which of the trained ones they are. Key/values are
    numbered behind the tokens among the words.
    """
    before: Sequence[int] = manifest.method.get("kept_tokens") or range(length)
    method: dict[str, Any] = {**manifest.method, "kept_tokens": [before[i] for i in kept]}
    if method.get("num_virtual_tokens") is not None:
        method["num_virtual_tokens"] = len(kept)
    update: dict[str, Any] = {"method": method, "name": f"{manifest.name}-minimal", "metrics": {}}
    if template is not None:
        soft = {number for slot in slots_of(template) for number in slot}
        room = manifest.template.max_length - len(soft - set(kept))
        changes = {"text": str(fewer(template, kept)), "max_length": room}
        update["template"] = manifest.template.model_copy(update=changes)
    return manifest.model_copy(update=update)


def slots_of(template: Template) -> list[range]:
    """The numbers of the virtual tokens in each soft slot of a resolved template."""
    found, start = [], 0
    for part in template.parts:
        if isinstance(part, Soft):
            found.append(range(start, start + part.length))
            start += part.length
    return found


def fewer(template: Template, kept: Sequence[int]) -> Template:
    """The template with as many virtual tokens in each slot as are kept; a slot without any is gone."""
    parts: list[Part] = []
    slots = iter(slots_of(template))
    for part in template.parts:
        if isinstance(part, Soft):
            own = next(slots)
            count = sum(i in own for i in kept)
            parts += [replace(part, length=count, text=None)] if count else []
        else:
            parts.append(part)
    return Template(tuple(parts))
