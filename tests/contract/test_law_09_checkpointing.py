"""Law 9: layers that are run again for their gradient, instead of being kept, give the same gradient."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from foreword.backbone.backbone import Backbone
from foreword.bank import Bank
from foreword.batch import collate
from support.backbones import TWO_STACKS, shared, tiny
from support.forewords import SITED, close, grid, items, loud, make, near

METHODS = ("prompt-text", "p-tuning-lstm", "v2-random", *SITED)


def checkpointing(family: str) -> Backbone:
    """The family with checkpointing on; it is in training mode for it, with a dropout of nothing."""
    backbone = tiny(family)
    for module in backbone.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name in ("dropout", "attention_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
        if isinstance(module, GradientCheckpointingLayer):
            module.gradient_checkpointing = True
            module._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
    backbone.model.train()
    return backbone


@pytest.mark.parametrize(("family", "method"), grid(METHODS))
def test_recomputed_layers_give_the_same_gradient(family, method, law):
    found, ran, readout = [], [], "long-words" if family in TWO_STACKS else "mean"
    for backbone in (shared(family), checkpointing(family)):
        assembly = loud(make(family, method, readout, backbone=backbone))
        assembly.method.train()  # with its own dropout: a layer that is run again draws the same numbers
        bank = Bank(backbone, whole=True)
        torch.manual_seed(3)
        bank.put("run", assembly.method.compiled(), assembly.readout)
        modules = [module for module in backbone.model.modules() if isinstance(module, nn.Linear)]
        counted: list[int] = []
        hooks = [module.register_forward_hook(lambda *_, counted=counted: counted.append(1)) for module in modules]
        [(_, scores)] = bank.scores(collate(items(assembly, owner="run"), backbone.pad_id))
        once = len(counted)
        scores.square().sum().backward()
        for hook in hooks:
            hook.remove()
        ran.append(len(counted) > once > 0)
        found.append((scores.detach(), {n: p.grad.clone() for n, p in assembly.method.named_parameters()}))
    assert ran == [False, family != "gpt2"], "layers were run again"
    close([found[1][0]], [found[0][0]])
    near(found[1][1], found[0][1])
    law(9)
