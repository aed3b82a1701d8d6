"""PEFT's LoRA and IA3: operations at modules, which PEFT names by their place in the task model."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from foreword.backbone.backbone import Backbone
from foreword.errors import ArtifactError, Unsupported
from foreword.injections import Injection, LowRank, ScaleInput, ScaleOutput, Sites
from foreword.injections.sites import Operation, Place

BEYOND = (
    "alora_invocation_tokens", "arrow_config", "kasa_config", "layer_replication", "lora_bias", "megatron_config",
    "monteclora_config", "target_parameters", "trainable_token_indices", "use_bdlora", "use_dora", "use_qalora",
    "velora_config",
)  # fmt: skip
"""Options that make another function of the same tensors, or of more."""
CHANGING = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""First values that come with a change of the backbone's own weights."""
WRAPPED = "base_model.model."
"""What PEFT writes in front of a module's own name."""
AGAIN = "copy the whole folder again: its two files belong to different checkpoints, or one is not whole"
LARGEST = torch.finfo(torch.float32).max
Numbers = dict[str, Tensor]


def read_lora(config: Mapping[str, Any], tensors: Numbers, backbone: Backbone) -> Injection:
    """`lora_A` `[r, in]` and `lora_B` `[out, r]` of each module; takes them out of `tensors`."""
    backbone.require("parts")
    beyond = [name for name in BEYOND if config.get(name)]
    beyond += ["bias"] if config.get("bias", "none") not in ("none", None) else []
    if beyond:
        raise Unsupported(f"this LoRA is of another kind than the plain one: {', '.join(beyond)} is set")
    first = str(config.get("init_lora_weights", True))
    if first.startswith(CHANGING):
        raise Unsupported(
            f"init_lora_weights: {first} changed the backbone's own weights, which the checkpoint does not hold",
            do="let PEFT convert it to a plain LoRA (save_pretrained with path_initial_model_for_weight_conversion)",
        )
    if not isinstance(config.get("use_rslora", False), bool | None):
        raise ArtifactError(f"use_rslora is {config['use_rslora']!r}, neither true nor false")
    found: dict[Place, Operation] = {}
    names: dict[tuple[int, str], str] = {}
    for name, b in _taken(tensors, ".lora_B.weight"):
        a = tensors.pop(f"{name}.lora_A.weight", None)
        layer, path = _site(name, backbone)
        names[layer, path] = name
        widths = backbone.anatomy.widths[layer, path]
        if a is None or a.ndim != 2 or b.ndim != 2 or (a.shape[1], b.shape[0]) != widths or len(a) != b.shape[1]:
            raise _wrong(name, {"lora_A": a, "lora_B": b}, widths, config, backbone)
        if (rank := _own(config, "rank_pattern", name, config.get("r"))) not in (None, len(a)):
            raise ArtifactError(f"{name} has rank {len(a)}, and the configuration says {rank!r}", do=AGAIN)
        found[layer, path, LowRank.kind] = LowRank(a, b, _scale(config, name, len(a)))
    _check_whole(config, names, backbone)
    return _injection(found, tensors, "LoRA")


def read_ia3(config: Mapping[str, Any], tensors: Numbers, backbone: Backbone) -> Injection:
    """`ia3_l` of each module: `[out, 1]` behind it, or `[1, in]` in front of it; takes them out of `tensors`."""
    backbone.require("parts")
    found: dict[Place, Operation] = {}
    names: dict[tuple[int, str], str] = {}
    for name, vector in _taken(tensors, ".ia3_l"):
        layer, path = _site(name, backbone)
        names[layer, path] = name
        inputs, outputs = widths = backbone.anatomy.widths[layer, path]
        if tuple(vector.shape) not in ((1, inputs), (outputs, 1)):
            raise _wrong(name, {"ia3_l": vector}, widths, config, backbone)
        kind = ScaleInput if vector.shape[0] == 1 else ScaleOutput
        found[layer, path, kind.kind] = kind(vector.flatten())
    _check_whole(config, names, backbone)
    return _injection(found, tensors, "IA3")


def _injection(found: dict[Place, Operation], rest: Numbers, kind: str) -> Injection:
    if not found:
        held = ", ".join(sorted(rest)[:3]) or "none"
        raise ArtifactError(f"the checkpoint has no tensors of {kind}; it has {held}")
    return Injection(sites=Sites(dict(sorted(found.items()))))


def _taken(tensors: Numbers, ending: str) -> Iterator[tuple[str, Tensor]]:
    """Takes the tensors with this ending out: the module's name as PEFT writes it, and the tensor."""
    for key in [key for key in tensors if key.endswith(ending)]:
        yield key.removesuffix(ending), tensors.pop(key)


def _site(name: str, backbone: Backbone) -> tuple[int, str]:
    """Layer and path of a module. **Raises** `Unsupported` for one outside the layers."""
    anatomy, prefix = backbone.anatomy, f"{backbone.model.base_model_prefix}."
    inner = name.removeprefix(WRAPPED)
    for layer, own in enumerate(anatomy.names):
        for start in (own, own.removeprefix(prefix)):  # PEFT may have wrapped the trunk alone
            path = inner.removeprefix(f"{start}.")
            if path != inner and (layer, path) in anatomy.widths:
                return layer, path
    if re.search(r"\.\d+\.", inner):
        raise ArtifactError(
            f"the checkpoint adapts the module {inner}, and {backbone.name} ({backbone.family}) has none of that name",
            do="name the backbone that it was trained on",
        )
    raise Unsupported(f"the checkpoint adapts {inner}, which is outside the layers; that is not read")


def _own(config: Mapping[str, Any], option: str, name: str, default: Any) -> Any:
    """The value of the first pattern in `option` that the module's name fits, as PEFT looks it up, or the default."""
    patterns = config.get(option) or {}
    if not isinstance(patterns, Mapping):
        raise ArtifactError(f"{option} is {patterns!r}, no mapping")
    for pattern, own in patterns.items():
        try:
            if re.match(rf"(.*\.)?({pattern})$", name.removeprefix(WRAPPED)):
                return own
        except re.error:
            raise ArtifactError(f"{option} holds {pattern!r}, no regular expression") from None
    return default


def _scale(config: Mapping[str, Any], name: str, rank: int) -> float:
    """alpha / r, or alpha / sqrt(r); alpha may be the module's own."""
    alpha = _own(config, "alpha_pattern", name, config.get("lora_alpha", 8))
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not abs(alpha) <= LARGEST:
        raise ArtifactError(f"lora_alpha is {alpha!r:.40}, no number that float32 holds")
    if alpha <= 0:
        raise Unsupported(f"lora_alpha is {alpha}, and a LoRA that is turned round or off is not read")
    if rank < 1:
        raise ArtifactError(f"{name} has rank {rank}")
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _check_whole(config: Mapping[str, Any], names: Mapping[tuple[int, str], str], backbone: Backbone) -> None:
    """**Raises** `ArtifactError` unless the checkpoint has the modules that its configuration names, and no others.

    `names`: what each module that was found is called in the file. Where `layers_to_transform` chooses layers, those
    of which nothing is there are taken for not chosen.
    """
    targets, without = config.get("target_modules"), config.get("exclude_modules")
    if targets is None or not names:
        return
    anatomy, prefix = backbone.anatomy, f"{backbone.model.base_model_prefix}."
    bare = not any(name.removeprefix(WRAPPED).startswith(prefix) for name in names.values())
    there = {layer for layer, _ in names}
    chosen = there if config.get("layers_to_transform") is not None else range(len(anatomy.layers))
    for layer, organs in enumerate(anatomy.layers):
        for organ in organs:
            whole = f"{anatomy.names[layer]}.{organ.path}"
            whole = whole.removeprefix(prefix) if bare else whole
            meant = organ.role != "norm" and _named(whole, targets) and not (without and _named(whole, without))
            if meant and layer in chosen and (layer, organ.path) not in names:
                raise ArtifactError(f"target_modules names {whole}, and the checkpoint has no tensors of it", do=AGAIN)
            if not meant and (layer, organ.path) in names:
                raise ArtifactError(f"the checkpoint has tensors of {whole}, which target_modules does not name")


def _named(module: str, targets: Any) -> bool:
    """Whether PEFT's list of endings, regular expression, or "all-linear" means the module."""
    if targets == "all-linear":
        return True
    if isinstance(targets, str):
        try:
            return re.fullmatch(targets, module) is not None
        except re.error:
            raise ArtifactError(f"target_modules is {targets!r}, no regular expression") from None
    if not isinstance(targets, list) or not all(isinstance(name, str) for name in targets):
        raise ArtifactError(f"target_modules is {targets!r:.80}, no list of names")
    return any(f".{module}".endswith(f".{name}") for name in targets)


def _wrong(
    name: str,
    parts: Mapping[str, Tensor | None],
    widths: tuple[int, int],
    config: Mapping[str, Any],
    backbone: Backbone,
) -> ArtifactError:
    shapes = ", ".join(f"{part} {'missing' if t is None else tuple(t.shape)}" for part, t in parts.items())
    return ArtifactError(
        f"{name}: {shapes}, and {backbone.name} has a module of {widths[0]} inputs and {widths[1]} outputs there",
        do=f"name the backbone that it was trained on ({config.get('base_model_name_or_path')})",
    )


# -- writing ----------------------------------------------------------------------------------------------------------


def written_sites(sites: Sites, backbone: Backbone) -> tuple[str, dict[str, Any], Numbers]:
    """PEFT's kind, its settings and its tensors. **Raises** `Unsupported` where no kind does the same."""
    kinds = {kind for _, _, kind in sites.at}
    if kinds == {LowRank.kind}:
        return ("LORA", *_lora(sites, backbone))
    if kinds <= {ScaleInput.kind, ScaleOutput.kind}:
        return ("IA3", *_ia3(sites, backbone))
    said = {"bottleneck": "bottleneck adapters", "shift": "BitFit's trained biases"}
    alone = [said[kind] for kind in sorted(kinds) if kind in said]
    raise Unsupported(
        f"PEFT has no {' and no '.join(alone)}"
        if alone
        else "the foreword combines LoRA and IA3, and a PEFT checkpoint holds one of the two",
        do="export a foreword of lora, ia3, or a method with virtual tokens or key/values",
    )


def _name(backbone: Backbone, layer: int, path: str) -> str:
    return f"{backbone.anatomy.names[layer]}.{path}" if path else backbone.anatomy.names[layer]


def _lora(sites: Sites, backbone: Backbone) -> tuple[dict[str, Any], Numbers]:
    tensors: Numbers = {}
    ranks: dict[str, int] = {}
    alphas: dict[str, float] = {}
    for (layer, path, _), low in sites.at.items():
        assert isinstance(low, LowRank)
        name = _name(backbone, layer, path)
        ranks[name] = low.a.shape[0]
        alphas[name] = _plain(low.scale * low.a.shape[0])
        tensors[f"base_model.model.{name}.lora_A.weight"] = low.a
        tensors[f"base_model.model.{name}.lora_B.weight"] = low.b
    rank, alpha = next(iter(ranks.values())), next(iter(alphas.values()))
    settings = {
        "bias": "none",
        "fan_in_fan_out": _turned(sites, backbone),
        "init_lora_weights": True,
        "layers_pattern": None,
        "layers_to_transform": None,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "r": rank,
        "alpha_pattern": {re.escape(name): own for name, own in alphas.items() if own != alpha},
        "rank_pattern": {re.escape(name): own for name, own in ranks.items() if own != rank},
        "target_modules": sorted(ranks),
        "use_dora": False,
        "use_rslora": False,
    }
    return settings, tensors


def _plain(alpha: float) -> float:
    """alpha as it was, whose quotient by r was stored."""
    near = round(alpha, 6)
    near = near if math.isclose(near, alpha, rel_tol=1e-12) else alpha
    return int(near) if near == int(near) else near


def _ia3(sites: Sites, backbone: Backbone) -> tuple[dict[str, Any], Numbers]:
    tensors: Numbers = {}
    in_front: list[str] = []
    for (layer, path, _), scale in sites.at.items():
        assert isinstance(scale, ScaleInput | ScaleOutput)
        name = _name(backbone, layer, path)
        key = f"base_model.model.{name}.ia3_l"
        if key in tensors:
            raise Unsupported(f"{name} is scaled in front and behind, and PEFT's IA3 does one of the two")
        if isinstance(scale, ScaleInput):
            in_front.append(name)
        tensors[key] = scale.vector[None] if isinstance(scale, ScaleInput) else scale.vector[:, None]
    settings = {
        "fan_in_fan_out": _turned(sites, backbone),
        "feedforward_modules": sorted(in_front),
        "init_ia3_weights": True,
        "target_modules": sorted(key.removeprefix("base_model.model.").removesuffix(".ia3_l") for key in tensors),
    }
    return settings, tensors


def _turned(sites: Sites, backbone: Backbone) -> bool:
    """Whether the modules keep their weights turned, as GPT-2's do; PEFT wants it said."""
    modules = dict(backbone.model.named_modules())
    found = [modules[_name(backbone, layer, path)] for layer, path, _ in sites.at]
    return any(type(module).__name__ == "Conv1D" for module in found)
