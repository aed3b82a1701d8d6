"""Writing and reading an artifact's folder."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from foreword import registry
from foreword.artifacts.card import card
from foreword.artifacts.manifest import (
    SCHEMA,
    BackboneInfo,
    Manifest,
    TemplateInfo,
    TensorInfo,
    read_manifest,
    versions,
)
from foreword.artifacts.replacing import replaced
from foreword.assembly import Assembly, Reader, encoder_of, reader_of
from foreword.backbone.backbone import Backbone
from foreword.config import ReadoutConfig, TemplateConfig, named
from foreword.errors import ArtifactError
from foreword.injections import Injection
from foreword.text.template import Template


@dataclass(frozen=True)
class Artifact:
    """A foreword read from disk, not yet on a backbone."""

    manifest: Manifest
    injection: Injection
    readout: Mapping[str, Tensor]
    folder: Path

    def attach(self, backbone: Backbone) -> Reader:
        """Encoder and readout on `backbone`. **Raises** `ArtifactError` for another backbone than it was made for."""
        info = self.manifest.backbone
        if backbone.fingerprint != info.fingerprint:
            raise ArtifactError(
                f"this foreword was made for {info.name} ({info.fingerprint[:12]}), and the backbone at hand is "
                f"{backbone.name} ({backbone.fingerprint[:12]})",
                where=str(self.folder),
                do="load it on the backbone that it was made for; forewords do not carry over",
            )
        template = self.manifest.template
        config = TemplateConfig(
            max_length=template.max_length, shorten=template.shorten, keep=template.keep, chat=template.chat
        )
        parsed = Template.parse(template.text).resolve(backbone.tokenizer)
        shown, offset = [(fields, answer) for fields, answer in template.demonstrations], self.manifest.position_offset
        encoder = encoder_of(config, parsed, backbone, shown, offset)
        readout = named(registry.readouts, self.manifest.readout, ReadoutConfig)
        task = registry.tasks.get(self.manifest.task)()
        if task.answer in ("class", "tags") and len(self.manifest.labels) < 2:
            raise ArtifactError(f"a foreword for {task.name} names fewer than two labels", where=str(self.folder))
        reader = reader_of(readout, backbone, task, self.manifest.labels, encoder, 0)
        try:
            reader.readout.load_state_dict(dict(self.readout))
        except RuntimeError:
            raise ArtifactError("the readout's tensors do not fit its settings", where=str(self.folder)) from None
        reader.readout.eval().requires_grad_(False)
        return reader


def save(assembly: Assembly, folder: Path, name: str, metrics: Mapping[str, Mapping[str, float]] | None = None) -> Path:
    """Write the trained parts as an artifact; an older one of that name is replaced whole.

    **Raises** `ArtifactError` when it cannot be written; nothing half-written stays.
    """
    with replaced(folder, "the artifact") as made:
        manifest = _write(assembly, made, name, metrics or {})
        (made / "foreword.json").write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
        (made / "README.md").write_text(card(manifest), encoding="utf-8")
    return folder


def describe(
    assembly: Assembly,
    name: str,
    metrics: Mapping[str, Mapping[str, float]],
    tensors: Mapping[str, Tensor] | None = None,
    weights_sha256: str = "0" * 64,
) -> Manifest:
    """The manifest of trained parts; with `tensors` and the hash of their file for one that is written."""
    encoder, config, backbone = assembly.reader.encoder, assembly.config, assembly.backbone
    assert config.readout is not None
    return Manifest(
        schema_version=SCHEMA,
        name=name,
        task=assembly.reader.task.name,
        labels=list(assembly.reader.labels),
        method=config.method.model_dump(mode="json"),
        readout=config.readout.model_dump(mode="json"),
        backbone=BackboneInfo(
            name=backbone.name, family=backbone.family, kind=backbone.kind, fingerprint=backbone.fingerprint
        ),
        template=TemplateInfo(
            text=str(encoder.template),
            max_length=encoder.max_length,
            shorten=None if encoder.shorten is None else list(encoder.shorten),
            keep=encoder.keep,
            chat=encoder.chat,
            demonstrations=[(dict(shown), answer) for shown, answer in encoder.demonstrations],
        ),
        position_offset=assembly.method.at_rest().position_offset,
        parameters={
            "trained": sum(p.numel() for p in assembly.trained().values()),
            "stored": assembly.stored(),
            "backbone": backbone.geometry.parameters,
        },
        metrics={split: dict(values) for split, values in metrics.items()},
        run=config.model_dump(mode="json"),
        versions=versions(),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        tensors={k: TensorInfo(shape=list(v.shape), dtype=str(v.dtype)) for k, v in sorted((tensors or {}).items())},
        weights_sha256=weights_sha256,
    )


def _write(assembly: Assembly, folder: Path, name: str, metrics: Mapping[str, Mapping[str, float]]) -> Manifest:
    injection = assembly.method.at_rest()
    tensors = {f"injection.{k}": v for k, v in injection.tensors().items()}
    tensors |= {f"readout.{k}": v for k, v in assembly.readout.state_dict().items()}
    tensors = {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}
    save_file(tensors, folder / "weights.safetensors", {"format": "foreword"})
    if injection.weights is None:
        state = {k: v.detach().cpu().clone().contiguous() for k, v in assembly.trained().items()}
        save_file(state, folder / "training.safetensors", {"format": "foreword"})
    digest = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    return describe(assembly, name, metrics, tensors, digest)


def read(folder: str | Path) -> Artifact:
    """Read an artifact; no code of it is run, and all of it is checked before any of it is used.

    **Raises** `ArtifactError` for a broken, truncated, foreign or non-finite one.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if manifest.schema_version > SCHEMA:
        raise ArtifactError(
            f"it was written by a newer foreword (schema {manifest.schema_version}, known here: {SCHEMA})",
            where=str(folder),
            do="update foreword",
        )
    tensors = _tensors(folder / "weights.safetensors", manifest)
    parts: dict[str, dict[str, Tensor]] = {"injection": {}, "readout": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        if part not in parts:
            raise ArtifactError(f"weights.safetensors holds a foreign tensor: {name}", where=str(folder))
        parts[part][rest] = tensor
    injection = Injection.from_tensors(parts["injection"], manifest.position_offset)
    return Artifact(manifest, injection, parts["readout"], folder)


def _tensors(path: Path, manifest: Manifest) -> dict[str, Tensor]:
    try:
        if hashlib.sha256(path.read_bytes()).hexdigest() != manifest.weights_sha256:
            raise ArtifactError(
                "weights.safetensors is not the file that was saved: its sha256 differs from foreword.json's",
                where=str(path),
                do="copy the artifact again; it is truncated or was changed",
            )
        with safe_open(path, "pt") as file:
            tensors: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise ArtifactError("the artifact has no weights.safetensors", where=str(path)) from None
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"weights.safetensors cannot be read: {error}", where=str(path)) from None
    found = {name: TensorInfo(shape=list(t.shape), dtype=str(t.dtype)) for name, t in tensors.items()}
    if found != manifest.tensors:
        differing = sorted(set(found) ^ set(manifest.tensors)) or [n for n in found if found[n] != manifest.tensors[n]]
        raise ArtifactError(f"weights.safetensors and foreword.json disagree about {differing[0]}", where=str(path))
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ArtifactError(f"{name} holds NaN or infinite values", where=str(path), do="train it again")
    return tensors
