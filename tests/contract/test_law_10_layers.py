"""Law 10: a subset of the layers equals all layers with the others masked."""

from __future__ import annotations

import pytest
import torch

from foreword.assembly import assemble
from foreword.backbone.attention import LayerPrefix
from foreword.bank import Bank
from foreword.batch import collate
from foreword.config import RunConfig, build
from foreword.errors import Unsupported
from foreword.registry import tasks
from support.backbones import FAMILIES, LAYERS, REFUSING, shared
from support.forewords import LABELS, ROWS, bank_of, close, hidden, items, make, stir


def noise(shape) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(5)) * 3


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("method", ["v2-layers", "v2-top"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_subset_equals_all_layers_with_the_others_masked(family, method, side, law):
    assembly = make(family, method, "last", backbone=shared(family))
    backbone, table = assembly.backbone, assembly.method.compiled().key_values
    assert 0 < len(table.layers) < LAYERS
    for rows in (items(assembly, owner="own"), items(assembly, owner="own")[:1]):
        expected = hidden(bank_of({"own": assembly}), rows, side)
        batch = collate(rows, backbone.pad_id, side)
        count, length = len(batch.owners), table.length
        layers, tables = {}, dict(zip(table.layers, table.tensor, strict=True))
        if (cross := assembly.method.compiled().cross) is not None:
            tables |= {LAYERS + layer: own for layer, own in zip(cross.layers, cross.tensor, strict=True)}
        assert len(tables) < len(backbone.slots)
        for slot in backbone.slots.values():
            own = tables.get(slot, noise(table.tensor.shape[1:]))
            layers[slot] = LayerPrefix(own[0][None], own[1][None], torch.full((count, length), slot in tables))
        with torch.no_grad():
            embeds = Bank(backbone).embeds(collate([type(r)(r.rows) for r in rows], backbone.pad_id, side))
            where, prefix = (batch.mask, batch.positions, batch.types), backbone.prefix(layers)
            found = backbone.forward(embeds, *where, prefix, border=batch.border)
        close([states[mask.bool()] for states, mask in zip(found, batch.mask, strict=True)], expected)
    law(10)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_masked_prefix_equals_none(family, side, law):
    assembly = make(family, "linear-probe", "last", backbone=shared(family))
    backbone, geometry = assembly.backbone, assembly.backbone.geometry
    for rows in (items(assembly, owner=None), items(assembly, owner=None)[:1]):
        batch = collate(rows, backbone.pad_id, side)
        shape = (1, geometry.kv_heads, 5, geometry.head_size)
        unseen = torch.zeros(len(rows), 5, dtype=torch.bool)
        slots = backbone.slots.values()
        prefix = backbone.prefix({slot: LayerPrefix(noise(shape), noise(shape), unseen) for slot in slots})
        where = batch.mask, batch.positions, batch.types
        with torch.no_grad():
            found = backbone.forward(backbone.embed(batch.ids), *where, prefix, border=batch.border)
        expected = hidden(Bank(backbone), rows, side)
        close([states[mask.bool()] for states, mask in zip(found, batch.mask, strict=True)], expected)
    law(10)


SUBSETS = [
    {"name": "lora", "r": 2, "target_modules": "all-linear"},
    {"name": "ia3"},
    {"name": "adapter", "bottleneck_size": 4},
    {"name": "adapter", "config": "parallel", "bottleneck_size": 4},
    {"name": "adapter", "config": "pfeiffer", "where": "layer", "bottleneck_size": 4, "activation": "tanh"},
]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("method", SUBSETS, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_sites_in_a_subset_equal_those_in_all_layers_with_the_others_at_nothing(family, method, side, law):
    made = []
    for layers in ([0, LAYERS - 1], "all"):
        config = build(RunConfig, {"data": "toy", "backbone": family, "method": {**method, "layers": layers}})
        made.append(assemble(config, shared(family), tasks.get("classification")(), LABELS, []))
    stir(made[0])
    own, whole = (dict(assembly.method.named_parameters()) for assembly in made)
    with torch.no_grad():
        for name, parameter in whole.items():
            nothing = torch.ones_like(parameter) if method["name"] == "ia3" else torch.zeros_like(parameter)
            parameter.copy_(own.get(name, nothing))
    assert 0 < len(own) < len(whole)
    states = [hidden(bank_of({"own": one}), items(one, owner="own"), side) for one in made]
    close(*states)
    law(10)


@pytest.mark.parametrize("family", REFUSING)
@pytest.mark.parametrize("method", ["v2-random", "v2-text", "v2-layers"])
def test_families_without_the_interface_are_refused_by_name(family, method, law):
    with pytest.raises(Unsupported, match=rf"{family}.*key_values"):
        make(family, method, "last", backbone=shared(family))
    law(10, "refused")


@pytest.mark.parametrize("family", REFUSING)
@pytest.mark.parametrize("method", ["prompt-text", "p-tuning-mlp", "linear-probe", "full"])
def test_families_without_the_interface_take_the_other_methods(family, method):
    assembly = make(family, method, "mean", backbone=shared(family))
    bank, rows = bank_of({"own": assembly}), items(assembly, ROWS[:4], "own")
    for side in ("left", "right"):
        close(hidden(bank, rows, side), [hidden(bank, [row])[0] for row in rows])
