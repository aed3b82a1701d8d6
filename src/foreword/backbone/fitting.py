"""Whether an injection fits a backbone: sizes, layers, and the modules that it names."""

from __future__ import annotations

from foreword.backbone.backbone import Backbone
from foreword.errors import ConfigError
from foreword.injections import Bottleneck, Injection, KeyValues, LowRank, Sites
from foreword.injections.sites import Operation


def check_fits(name: str, injection: Injection, backbone: Backbone) -> None:
    """**Raises** `ConfigError` or `Unsupported` where the injection of the foreword `name` cannot enter."""
    geometry = backbone.geometry
    if injection.weights is not None and backbone.rounded:
        raise ConfigError(f"'{name}' brings weights of its own, and {backbone.name} is rounded to int8")
    if injection.virtual_tokens >= geometry.positions:
        raise ConfigError(
            f"'{name}' takes {injection.virtual_tokens} positions for virtual tokens, and {backbone.name} has "
            f"{geometry.positions} in all",
            do="use fewer virtual tokens",
        )
    if injection.position_offset and backbone.two_stacks:
        raise ConfigError(f"'{name}' moves positions, and those of {backbone.name}'s two stacks are not moved")
    if injection.soft is not None and injection.soft.vectors.shape[1] != geometry.embedding:
        raise ConfigError(
            f"'{name}' has virtual tokens {injection.soft.vectors.shape[1]} wide, and {backbone.name}'s word "
            f"embeddings are {geometry.embedding} wide"
        )
    if injection.key_values is not None:
        _check_key_values(name, injection.key_values, backbone)
    if injection.cross is not None:
        if not set(injection.cross.layers) <= set(geometry.cross_layers):
            raise ConfigError(
                f"'{name}' has key/values for the attention of layers {injection.cross.layers} to an encoder, and in "
                f"{backbone.name} the layers that attend to one are {tuple(geometry.cross_layers) or 'none'}"
            )
        _check_key_values(name, injection.cross, backbone)
    if injection.sites is not None:
        _check_sites(name, injection.sites, backbone)


def _check_key_values(name: str, table: KeyValues, backbone: Backbone) -> None:
    backbone.require("key_values")
    geometry, shape = backbone.geometry, (table.tensor.shape[2], table.tensor.shape[4])
    if shape != (geometry.kv_heads, geometry.head_size) or max(table.layers) >= geometry.layers:
        raise ConfigError(
            f"'{name}' has key/values of shape {tuple(table.tensor.shape)} up to layer {max(table.layers)}, and "
            f"{backbone.name} has {geometry.layers} layers of {geometry.kv_heads} heads of {geometry.head_size}"
        )


def _check_sites(name: str, sites: Sites, backbone: Backbone) -> None:
    """**Raises** `ConfigError` for a site that the backbone does not have, or one of other sizes."""
    backbone.require("parts")
    widths = backbone.anatomy.widths
    for (layer, path, kind), operation in sites.at.items():
        where = f"'{name}' has a {kind} at {path or 'the output'} of layer {layer}"
        if (layer, path) not in widths:
            raise ConfigError(f"{where}, and {backbone.name} has no such module that runs once")
        source = getattr(operation, "source", "")
        if source and (layer, source) not in widths:
            raise ConfigError(f"{where} beside {source}, and {backbone.name} has no such module that runs once")
        inputs, outputs = widths[layer, path]
        if isinstance(operation, Bottleneck):
            inputs = widths[layer, source][0] if source else outputs
        own = _widths(operation, inputs, outputs)
        if own != (inputs, outputs):
            raise ConfigError(
                f"{where} from {own[0]} to {own[1]}, and that module of {backbone.name} goes from {inputs} to {outputs}"
            )


def _widths(operation: Operation, inputs: int, outputs: int) -> tuple[int, int]:
    """From how many to how many an operation goes; where it says nothing of one of them, as given."""
    if isinstance(operation, LowRank):
        return operation.a.shape[1], operation.b.shape[0]
    if isinstance(operation, Bottleneck):
        return operation.down.shape[1], operation.up.shape[0]
    own = len(operation.vector)
    return (own, outputs) if operation.kind == "scale_input" else (inputs, own)
