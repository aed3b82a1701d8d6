"""A style prompt in use, as strongly as is wanted.

Strength moves the compiled prompt along the straight line from where its training began, the plain words of its initial
text, to where it ended. The other way, mixing the next-token distributions with and without the prompt, costs a second
pass for every token and a generation loop of its own; a moved prompt is one injection like any other, costs nothing,
and stands beside others in a batch. What it gives up: at strength 0 the initial words are still read, so 0 is that
sentence in front of the request, and not the bare model. The loss along the line is measured when a style is trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from foreword import config as configs
from foreword import registry
from foreword.artifacts import storage
from foreword.artifacts.manifest import Manifest
from foreword.artifacts.storage import Artifact
from foreword.assembly import assemble
from foreword.backbone.backbone import Backbone
from foreword.backbone.loading import load as load_backbone
from foreword.bank import Bank
from foreword.config import RunConfig
from foreword.errors import ArtifactError, ConfigError, Unsupported
from foreword.injections import Injection
from foreword.stories.writers.local import LocalWriter


@dataclass(frozen=True)
class Styled:
    """A bank with one style prompt in it, for a writer whose rows name `owner`."""

    bank: Bank
    owner: str
    strength: float


def styled(folder: str | Path, strength: float = 1.0, backbone: Backbone | None = None) -> Styled:
    """The style prompt of an artifact, at a strength from 0 to 1, on its backbone (loaded, unless one is given).

    **Raises** `ConfigError` for another strength; `ArtifactError` for a broken artifact or another's backbone;
    `Unsupported` for one that no story can be written with.
    """
    check_strength(strength)
    artifact = storage.read(folder)
    check_style(artifact.manifest, artifact.injection, str(artifact.folder))
    found = backbone if backbone is not None else load_backbone(artifact.manifest.backbone.name)
    artifact.attach(found)
    injection = artifact.injection
    if strength < 1:
        injection = interpolated(initial(artifact, found), injection, strength)
    name = artifact.manifest.name if strength == 1 else f"{artifact.manifest.name} at {strength:g}"
    bank = Bank(found)
    bank.put(name, injection)
    return Styled(bank, name, strength)


def writer(folder: str | Path, strength: float = 1.0, **settings: Any) -> LocalWriter:
    """Who writes with a style prompt; `settings` and errors are those of `LocalWriter`, and of `styled`."""
    made = styled(folder, strength)
    return LocalWriter(made.bank, made.owner, **settings)


def check_strength(strength: float) -> None:
    """**Raises** `ConfigError` for a strength outside of 0 … 1."""
    if not 0 <= strength <= 1:
        raise ConfigError(
            f"a strength of {strength:g}", do="give a number from 0 (the words it began as) to 1 (as it was trained)"
        )


def check_style(manifest: Manifest, injection: Injection, where: str) -> None:
    """**Raises** `Unsupported` for a foreword that does not write, or that needs places inside of the text."""
    if manifest.readout.get("name") != "lm":
        raise Unsupported(
            f"'{manifest.name}' answers by {manifest.readout.get('name')}, and writes no text",
            where=where,
            do="train a style: foreword story style FOLDER",
        )
    if injection.soft is not None:
        raise Unsupported(
            "a style prompt stands in front of any request as keys and values, and this one has virtual tokens inside "
            "its own template",
            where=where,
            do="train it with p-tuning-v2: foreword story style FOLDER",
        )


def initial(artifact: Artifact, backbone: Backbone) -> Injection:
    """Where the artifact's training began: its method as it is first made. **Raises** `ArtifactError`."""
    manifest = artifact.manifest
    if not manifest.run:
        raise ArtifactError(
            "the artifact does not say how it was trained, so where it began is not known",
            where=str(artifact.folder),
            do="use it at strength 1",
        )
    run = configs.build(RunConfig, manifest.run, str(artifact.folder / "foreword.json"))
    if run.init_from is not None:
        raise ArtifactError(
            "its training began with another foreword, so there are no words at strength 0",
            where=str(artifact.folder),
            do="use it at strength 1",
        )
    task = registry.tasks.get(manifest.task)()
    return assemble(run, backbone, task, manifest.labels, ()).method.at_rest()


def interpolated(start: Injection, end: Injection, strength: float) -> Injection:
    """The injection at `strength` of the line from `start` (0) to `end` (1), both exact at their ends.

    **Raises** `Unsupported` where they are not of one shape.
    """
    first, last = start.tensors(), end.tensors()
    shapes = [{name: tensor.shape for name, tensor in one.items()} for one in (first, last)]
    if shapes[0] != shapes[1] or start.position_offset != end.position_offset:
        raise Unsupported("the prompt's shape changed in training, so there is nothing between", do="use strength 1")
    made = {
        name: torch.lerp(first[name].to(tensor), tensor, strength) if tensor.is_floating_point() else tensor
        for name, tensor in last.items()
    }
    return Injection.from_tensors(made, end.position_offset)
