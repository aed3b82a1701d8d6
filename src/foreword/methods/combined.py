"""Several methods in one foreword: what each compiles to, merged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, SerializeAsAny, field_validator
from torch import nn

from foreword import registry
from foreword.config import MethodConfig, named
from foreword.errors import ConfigError
from foreword.injections import Injection, KeyValues
from foreword.injections.sites import merged
from foreword.methods.base import Method, MethodSetup
from foreword.text.template import Template

ALONE = {
    "combined": "name its parts here",
    "full": "it trains every weight already",
    "hard": "it trains nothing",
    "linear-probe": "it trains the readout alone, as every method does",
}

SAID = {
    "soft": "virtual tokens among the words",
    "key_values": "key/values",
    "cross": "key/values beside an encoder's",
}


class Combined(Method):
    """The parts' injections in one: say, key/values of p-tuning-v2 and an adapter's bottlenecks.

    What two parts would do at the same place is refused; where different kinds of operation meet at one module, they
    act in the order that `foreword.injections.sites` gives, whatever the order of the parts.
    """

    name: ClassVar[str] = "combined"

    class Config(MethodConfig):
        """`parts`: the methods, each with its name and its own settings."""

        name: Literal["combined"] = "combined"
        parts: list[SerializeAsAny[MethodConfig]] = Field(min_length=2)

        @field_validator("parts", mode="before")
        @classmethod
        def _parts(cls, value: Any) -> Any:
            if not isinstance(value, list):
                return value
            parts = [named(registry.methods, part, MethodConfig) for part in value]
            for part in parts:
                if part.name in ALONE:
                    raise ConfigError(f"{part.name} is no part of combined", do=ALONE[part.name])
            return parts

    def __init__(self, config: Config, setup: MethodSetup) -> None:
        super().__init__(config, setup)
        self.titles = _titles(config)
        classes: list[type[Method]] = [registry.methods.get(part.name) for part in config.parts]
        made: dict[int, Method] = {}
        for number in sorted(range(len(classes)), key=lambda number: not classes[number].brings_keys):
            keyed = frozenset(layer for part in made.values() for layer in _keyed(part.at_rest()))
            own = replace(setup, seed=(setup.seed + number * 2**20) % 2**63, keyed=keyed)
            made[number] = classes[number](config.parts[number], own)
        self.parts = nn.ModuleList(made[number] for number in range(len(made)))
        self.at_rest()  # what does not go together is refused now

    @classmethod
    def place(cls, config: MethodConfig, template: Template) -> Template:
        assert isinstance(config, Combined.Config)
        classes: list[type[Method]] = [registry.methods.get(part.name) for part in config.parts]
        soft = [number for number, one in enumerate(classes) if one.place.__func__ is not Method.place.__func__]  # type: ignore[attr-defined]
        if len(soft) > 1:
            one, other = (_titles(config)[number] for number in soft[:2])
            raise ConfigError(f"{one} and {other} both have virtual tokens among the words", do="take one of them out")
        if soft:
            return classes[soft[0]].place(config.parts[soft[0]], template)
        return super().place(config, template)

    def compiled(self) -> Injection:
        found: dict[str, Injection] = {}
        for title, part in zip(self.titles, self.parts, strict=True):
            assert isinstance(part, Method)
            found[title] = part.compiled()
        return _merged(found)


def _titles(config: Combined.Config) -> list[str]:
    return [f"part {number} ({part.name})" for number, part in enumerate(config.parts, 1)]


def _keyed(injection: Injection) -> tuple[int, ...]:
    """The layers with key/values."""
    tables = (injection.key_values, injection.cross)
    return tuple(layer for table in tables if table is not None for layer in table.layers)


def _joined(held: Mapping[str, KeyValues], parts: Mapping[str, Injection], said: str) -> KeyValues:
    """Key/values of several parts in one: of layers that are not shared, all of one length."""
    layers = [layer for own in held.values() for layer in own.layers]
    same = len({own.length for own in held.values()}) == len({parts[title].position_offset for title in held}) == 1
    if len(set(layers)) < len(layers) or not same:
        raise ConfigError(
            f"{' and '.join(held)} both have {said}",
            do="take one of them out, or give them other layers (places of an encoder-decoder) and one length",
        )
    order = sorted(range(len(layers)), key=layers.__getitem__)
    tensor = torch.cat([own.tensor for own in held.values()])
    return KeyValues(tuple(sorted(layers)), tensor[torch.tensor(order, device=tensor.device)])


def _merged(parts: Mapping[str, Injection]) -> Injection:
    values: dict[str, Any] = {"position_offset": sum(part.position_offset for part in parts.values())}
    for kind, said in SAID.items():
        held = {title: own for title, part in parts.items() if (own := getattr(part, kind)) is not None}
        if len(held) > 1 and kind != "soft":
            values[kind] = _joined(held, parts, said)
            values["position_offset"] = max(part.position_offset for part in parts.values())
            continue
        if len(held) > 1:
            raise ConfigError(f"{' and '.join(held)} both have {said}", do="take one of them out")
        values[kind] = next(iter(held.values()), None)
    sites = {title: part.sites for title, part in parts.items() if part.sites is not None}
    try:
        return Injection(**values, sites=merged(sites) if sites else None)
    except ValueError as error:
        one, other, (layer, path, kind) = error.args
        raise ConfigError(
            f"{one} and {other} both have a {kind.replace('_', ' ')} at {path or 'the output'} of layer {layer}",
            do="give one of them other layers or modules",
        ) from None
