"""Beginning a run where another one ended: `init_from` (prompt transfer, Vu et al. 2022, "SPoT", section 2).

What was trained is taken over by name where both runs use one method. Where they do not, or an artifact holds its
compiled injection alone, soft tokens and key/values are taken over as they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from foreword.artifacts import storage
from foreword.artifacts.storage import Artifact
from foreword.assembly import Assembly
from foreword.config import RunConfig
from foreword.errors import ArtifactError, ConfigError

COMPILED = {"prompt-tuning": "vectors", "p-tuning": "embedding", "p-tuning-v2": "table"}
"""The parameter of a method that is what it compiles to, as far as its settings let it be."""


def source_of(config: RunConfig) -> Artifact | None:
    """The artifact that a run begins with, checked as far as that goes without a model; None where there is none.

    **Raises** `ArtifactError` for a broken one; `ConfigError` where the run's method cannot begin with it.
    """
    if config.init_from is None:
        return None
    artifact = storage.read(config.init_from.artifact)
    manifest, method = artifact.manifest, config.method
    where = str(artifact.folder)
    if config.init_from.sha256 not in (None, manifest.weights_sha256):
        raise ConfigError(
            "the artifact to begin with holds other weights than it did when the run began",
            where=where,
            do="begin anew, without init_from.sha256",
        )
    if method.name in ("hard", "full") or manifest.method.get("name") == "full":
        raise ConfigError(f"{method.name} cannot begin with an artifact of {manifest.method.get('name')}", where=where)
    if not _values(artifact, method.name) and not config.init_from.readout:
        raise ConfigError(
            f"{method.name} has nothing to take over from an artifact of {manifest.method.get('name')}",
            where=where,
            do="give an artifact of the same method, or take init_from out",
        )
    given, length = getattr(method, "num_virtual_tokens", None), _length(artifact)
    if given is not None and length and given != length:
        raise ConfigError(
            f"the artifact has {length} virtual tokens, and method.num_virtual_tokens is {given}",
            where=where,
            do=f"set method.num_virtual_tokens: {length}",
        )
    if config.init_from.readout and config.readout is not None and config.readout.name != manifest.readout.get("name"):
        raise ConfigError(
            f"init_from.readout: the artifact reads by {manifest.readout.get('name')}, the run by "
            f"{config.readout.name}",
            where=where,
            do="take init_from.readout out",
        )
    return artifact


def pinned(config: RunConfig) -> RunConfig:
    """The run with the hash of the weights that it begins with, so that it can be told when they are others later.

    **Raises** as `source_of`.
    """
    artifact = source_of(config)
    if artifact is None or config.init_from is None:
        return config
    begun = config.init_from.model_copy(update={"sha256": artifact.manifest.weights_sha256})
    return config.model_copy(update={"init_from": begun})


def begin(assembly: Assembly) -> None:
    """Put the values of the run's `init_from` in the place of the first ones; nothing where it has none.

    **Raises** `ArtifactError` for an artifact of another backbone; `ConfigError` for one that does not fit.
    """
    config = assembly.config
    artifact = source_of(config)
    if artifact is None or config.init_from is None:
        return
    where, info = str(artifact.folder), artifact.manifest.backbone
    if info.fingerprint != assembly.backbone.fingerprint:
        raise ArtifactError(
            f"this foreword was made for {info.name} ({info.fingerprint[:12]}), and the run's backbone is "
            f"{assembly.backbone.name} ({assembly.backbone.fingerprint[:12]})",
            where=where,
            do="begin with a foreword of the same backbone; forewords do not carry over",
        )
    name, offset = config.method.name, artifact.manifest.position_offset
    values, own = _values(artifact, name), assembly.method.at_rest().position_offset
    if values and own != offset:
        raise ConfigError(
            f"the artifact's key/values stand {offset} positions in front of the text, and the run's {own}",
            where=where,
            do=f"set method.position_offset: {offset}",
        )
    if values:
        _fill(dict(assembly.method.named_parameters()), values, name, where)
        _check_begun(assembly, artifact, where)
    if config.init_from.readout:
        _begin_readout(assembly, artifact)


def _values(artifact: Artifact, method: str) -> dict[str, Tensor]:
    """The values of the method's parameters that the artifact gives, by name."""
    if artifact.manifest.method.get("name") == method:
        trained = _trained(artifact)
        if trained:
            return trained
    soft, table = artifact.injection.soft, artifact.injection.key_values
    if artifact.injection.cross is not None:  # an encoder-decoder's, which no single parameter holds
        return {}
    if method in ("prompt-tuning", "p-tuning") and soft is not None:
        return {COMPILED[method]: soft.vectors}
    return {COMPILED[method]: table.tensor} if method == "p-tuning-v2" and table is not None else {}


def _trained(artifact: Artifact) -> dict[str, Tensor]:
    """The method's trained parameters, where the artifact has them."""
    path = artifact.folder / "training.safetensors"
    if not path.is_file():
        return {}
    try:
        with safe_open(path, "pt") as file:
            names = [name for name in file.keys() if name.startswith("method.")]  # noqa: SIM118
            values = {name.removeprefix("method."): file.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"training.safetensors cannot be read: {error}", where=str(path)) from None
    for name, tensor in values.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ArtifactError(f"{name} holds NaN or infinite values", where=str(path), do="train it again")
    return values


def _length(artifact: Artifact) -> int:
    soft, table = artifact.injection.soft, artifact.injection.key_values
    if soft is not None:
        return len(soft.vectors)
    return 0 if table is None else table.length


@torch.no_grad()
def _fill(parameters: Mapping[str, torch.nn.Parameter], values: Mapping[str, Tensor], method: str, where: str) -> None:
    """**Raises** `ConfigError`, before anything is changed, for a parameter that is not there or of another shape."""
    for name, tensor in values.items():
        own = parameters.get(name)
        if own is None or own.shape != tensor.shape:
            found = "none" if own is None else str(list(own.shape))
            raise ConfigError(
                f"the artifact has {name} {list(tensor.shape)}, and the run's {method} has {found}",
                where=where,
                do="give the run the settings of the artifact's method: the number of virtual tokens, layers, widths",
            )
    for name, tensor in values.items():
        parameters[name].copy_(tensor)


def _check_begun(assembly: Assembly, artifact: Artifact, where: str) -> None:
    """**Raises** `ConfigError` where the run's settings make another injection of the artifact's values.

    So do other layers of the same number, another `lora_alpha`, or a prompt encoder that is not the artifact's.
    """
    ours, theirs = assembly.method.at_rest().tensors(), artifact.injection.tensors()
    same = ours.keys() == theirs.keys() and all(
        ours[name].shape == theirs[name].shape and torch.allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-6)
        for name in ours
    )
    if not same:
        encoder = assembly.config.method.name == "p-tuning" and artifact.manifest.method.get("name") != "p-tuning"
        raise ConfigError(
            f"the run's {assembly.config.method.name} makes something else of the artifact's values",
            where=where,
            do="set method.residual: true, under which a prompt begins where it is put"
            if encoder
            else "give the run the settings of the artifact's method, as its foreword.json has them",
        )


def _begin_readout(assembly: Assembly, artifact: Artifact) -> None:
    manifest, where = artifact.manifest, str(artifact.folder)
    if tuple(manifest.labels) != assembly.reader.labels:
        raise ConfigError(
            f"init_from.readout: the artifact's labels are {', '.join(manifest.labels)}, and the data's "
            f"{', '.join(assembly.reader.labels)}",
            where=where,
            do="take init_from.readout out",
        )
    try:
        assembly.readout.load_state_dict(dict(artifact.readout))
    except RuntimeError:
        raise ConfigError(
            "init_from.readout: the artifact's readout has other tensors than the run's", where=where,
            do="take init_from.readout out",
        ) from None  # fmt: skip
