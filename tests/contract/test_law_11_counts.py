"""Law 11: the parameter count that is announced is the count that is trained and stored."""

from __future__ import annotations

import pytest
import torch

from foreword.training.loop import Loop
from support.backbones import FAMILIES, shared
from support.forewords import METHODS, READOUTS, SITED, make, refused

SOFT = ("prompt-", "p-tuning-")


def _is_tensor(value) -> bool:
    return isinstance(value, torch.Tensor)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", FAMILIES)
def test_announced_trained_and_stored_counts_agree(family, method, law):
    for readout in READOUTS:
        if refused(family, method, readout):
            law(11, "refused")
            continue
        assembly = make(family, method, readout, backbone=shared(family))
        announced = sum(parameter.numel() for parameter in assembly.trained().values())
        injection = assembly.method.compiled()
        kept = sum(t.numel() for name, t in injection.tensors().items() if not name.endswith(".layers"))
        assert assembly.stored() == kept + sum(p.numel() for p in assembly.readout.parameters())
        geometry = assembly.backbone.geometry
        virtual = assembly.reader.encoder.template.soft_count
        own = sum(parameter.numel() for parameter in assembly.method.parameters())
        if method.startswith("bitfit"):  # stored are zeros, too, where a part of a bias is idle
            idle = [part for part in assembly.method.idle.values() if part]
            assert kept == own + sum(behind - first for first, behind in idle)
            assert bool(idle) == (family == "gpt2")
        elif method in SITED and "phm" not in method and "compacter" not in method:
            assert kept == own > 0
        elif method in SITED:  # stored are the matrices, trained their factors
            assert kept == sum(
                t.numel() for op in injection.sites.at.values() for t in vars(op).values() if _is_tensor(t)
            )
            assert kept != own > 0
        elif method.startswith(SOFT):
            assert kept == virtual * geometry.embedding > 0
        elif method.startswith("v2"):
            tables = [table for table in (injection.key_values, injection.cross) if table is not None]
            layers = sum(len(table.layers) for table in tables)
            assert kept == layers * 2 * geometry.kv_heads * tables[0].length * geometry.head_size
        elif method != "full":
            assert kept == 0
        if not method.startswith("hard"):
            loop = Loop(assembly, [assembly.reader.item({"text": "good", "label": 1}, "run")], [])
            held = [p for group in loop.optimizer.param_groups for p in group["params"]]
            assert sum(p.numel() for p in held) == announced > 0
            assert len({id(p) for p in held}) == len(held)
        law(11)
