"""`foreword.json`: what an artifact is, for which backbone, and how it came to be."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from foreword.config import Settings
from foreword.errors import ArtifactError

SCHEMA = 1
IMPORTED = "peft:"
"""Begins the data source of a foreword that was imported: what it was trained on is not known."""
LIBRARIES = ("foreword", "torch", "transformers", "tokenizers", "safetensors", "numpy")


class BackboneInfo(Settings):
    """The backbone that the foreword was made for; `fingerprint` decides whether another one is the same."""

    name: str
    family: str
    kind: Literal["masked", "causal", "encoder-decoder"]
    fingerprint: str = Field(pattern=r"^[0-9a-f]{64}$")


class TemplateInfo(Settings):
    """The template as it was used, its soft slots counted."""

    text: str
    max_length: int
    shorten: list[str] | None
    keep: Literal["start", "end"]
    chat: bool
    demonstrations: list[tuple[dict[str, str], str]] = []


class TensorInfo(Settings):
    """What `weights.safetensors` must hold under one name."""

    shape: list[int]
    dtype: str


class Manifest(Settings):
    """The whole of `foreword.json`. `run` is the resolved run, `parameters` counts what was trained and is stored."""

    schema_version: int
    name: str
    task: str
    labels: list[str]
    method: dict[str, Any]
    readout: dict[str, Any]
    backbone: BackboneInfo
    template: TemplateInfo
    position_offset: int = Field(0, ge=0)
    parameters: dict[str, int]
    metrics: dict[str, dict[str, float]] = {}
    run: dict[str, Any]
    versions: dict[str, str]
    created: str
    tensors: dict[str, TensorInfo]
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


def read_manifest(folder: Path) -> Manifest:
    """**Raises** `ArtifactError` for a folder that is no artifact, and for one of a newer program."""
    path = folder / "foreword.json"
    if not folder.is_dir() or not path.is_file():
        raise ArtifactError(
            f"no foreword here: {folder}", where=str(path), do="give the folder that foreword train wrote (artifact/)"
        )
    try:
        text = path.read_text(encoding="utf-8")
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"]) or "the file"
        raise ArtifactError(f"foreword.json is broken or foreign: {place}: {first['msg']}", where=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"foreword.json cannot be read: {error}", where=str(path)) from None


def versions() -> dict[str, str]:
    """The versions that a result depends on."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for library in LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            found[library] = "not installed"
    return found


def machine() -> dict[str, str | int]:
    """What a time depends on."""
    import os

    import torch

    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    return {
        "processor": model,
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
    }
