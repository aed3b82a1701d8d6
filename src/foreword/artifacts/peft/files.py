"""PEFT's two files, `adapter_config.json` and `adapter_model.safetensors`: read with suspicion, written whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from foreword.artifacts.replacing import replaced
from foreword.errors import ArtifactError, ConfigError, Unsupported

CONFIG, WEIGHTS, PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"


def read_config(folder: Path) -> dict[str, Any]:
    """`adapter_config.json`, a mapping with a `peft_type`. **Raises** `ArtifactError`."""
    path = folder / CONFIG
    if not path.is_file():
        inside = sorted(p.parent.name for p in folder.glob(f"*/{CONFIG}")) if folder.is_dir() else []
        raise ArtifactError(
            f"no PEFT checkpoint here: there is no {CONFIG}",
            where=str(folder),
            do=f"give one of the adapters inside: {', '.join(inside)}"
            if inside
            else "give the folder that PEFT's save_pretrained wrote",
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{CONFIG} cannot be read: {error}", where=str(path)) from None
    if not isinstance(values, dict) or not isinstance(values.get("peft_type"), str):
        raise ArtifactError(f"{CONFIG} names no peft_type, so it is not PEFT's", where=str(path))
    return values


def read_tensors(folder: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of `adapter_model.safetensors` as float32, and the file's metadata. **Raises** `ArtifactError`."""
    path = folder / WEIGHTS
    if not path.is_file() and (folder / PICKLE).is_file():
        raise Unsupported(
            f"the checkpoint is a pickle ({PICKLE}), which runs code when it is opened, and is not opened here",
            where=str(folder / PICKLE),
            do="where you trust it, load it with PEFT and call save_pretrained: it then writes safetensors",
        )
    if not path.is_file():
        raise ArtifactError(f"the checkpoint has no {WEIGHTS}", where=str(folder), do="copy the whole folder")
    try:
        with safe_open(path, "pt") as file:
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise ArtifactError(
            f"{WEIGHTS} cannot be read: {error}",
            where=str(path),
            do="copy it again; it is truncated, or a pointer to a large file that was never fetched",
        ) from None
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise ArtifactError(f"{name} holds {tensor.dtype}, not floating-point numbers", where=str(path))
        if not bool(torch.isfinite(tensor.float()).all()):  # eight-bit types know no isfinite
            raise ArtifactError(f"{name} holds NaN or infinite values", where=str(path), do="train it again")
    return {name: tensor.float() for name, tensor in tensors.items()}, metadata


def write(
    folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor], metadata: Mapping[str, str], readme: str
) -> Path:
    """Write the checkpoint; an older one is replaced whole.

    **Raises** `ArtifactError` when it cannot be written; nothing half-written stays.
    """
    with replaced(folder, "the checkpoint") as made:
        text = json.dumps(dict(config), indent=2, sort_keys=True)
        (made / CONFIG).write_text(text + "\n", encoding="utf-8")
        kept = {name: tensor.detach().cpu().float().clone().contiguous() for name, tensor in tensors.items()}
        save_file(kept, made / WEIGHTS, {"format": "pt", **metadata})
        (made / "README.md").write_text(readme, encoding="utf-8")
    return folder


def check_output(folder: Path, mark: str, *, overwrite: bool) -> None:
    """**Raises** `ConfigError` where something is in the way; with `overwrite`, where it is not the like of it."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not overwrite:
        raise ConfigError("something is there already", where=str(folder), do="choose another --output, or --overwrite")
    if not (folder / mark).is_file():
        raise ConfigError(
            f"what is there has no {mark}, and is not overwritten", where=str(folder), do="choose another --output"
        )
