"""Law 2: the backbone stays as it is, and exactly the declared parameters get a gradient."""

from __future__ import annotations

import pytest
import torch

from foreword.backbone.backbone import fingerprint
from foreword.errors import Unsupported
from foreword.training.loop import Loop
from support.backbones import FAMILIES, shared
from support.forewords import READOUTS, TRAINED, bank_of, grid, idle, items, make, refused


@pytest.mark.parametrize(("family", "method"), grid(TRAINED))
def test_training_moves_what_is_declared_and_nothing_else(family, method, law):
    for readout in ("last", "words"):
        if refused(family, method, readout):
            with pytest.raises(Unsupported):
                make(family, method, readout)
            law(2, "refused")
            continue
        backbone = shared(family)
        before = (fingerprint(backbone.trunk), fingerprint(backbone.model))
        assembly = make(family, method, readout, backbone=backbone, max_steps=2, batch_size=4, learning_rate=0.02)
        start = {name: value.detach().clone() for name, value in assembly.trained().items()}
        loop = Loop(assembly, items(assembly), [])
        loop.run()
        assert (fingerprint(backbone.trunk), fingerprint(backbone.model)) == before
        assert all(p.grad is None and not p.requires_grad for p in backbone.model.parameters())
        loop.optimizer.zero_grad()
        loop.backward(items(assembly))
        for name, parameter in assembly.trained().items():
            assert parameter.grad is not None, f"{name} got no gradient"
            if not idle(assembly, name):
                assert parameter.grad.abs().max() > 0, f"{name} got a gradient of zero"
                assert not torch.equal(parameter, start[name]), f"{name} did not move"
        law(2)


@pytest.mark.parametrize(("family", "method"), grid([m for m in TRAINED if m.startswith(("prompt", "v2"))]))
def test_every_virtual_token_gets_a_gradient(family, method, law):
    assembly = make(family, method, "last", backbone=shared(family))
    loop = Loop(assembly, items(assembly), [])
    loop.backward(items(assembly))
    for name, parameter in assembly.trained().items():
        if name in ("method.vectors", "method.table"):
            assert (parameter.grad.abs().amax(-1) > 0).all(), name
    law(2)


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_exactly_the_named_modules_are_declared(family, readout):
    for method in TRAINED:
        if refused(family, method, readout):
            continue
        assembly = make(family, method, readout, backbone=shared(family))
        declared = {id(parameter) for parameter in assembly.trained().values()}
        assert declared == {id(p) for part in (assembly.method, assembly.readout) for p in part.parameters()}
        assert not declared & {id(p) for p in assembly.backbone.model.parameters()}


@pytest.mark.parametrize("family", FAMILIES)
def test_full_fine_tuning_declares_each_weight_that_is_read_once(family):
    model = shared(family).model
    own = dict(model.named_parameters())
    for readout in ("last", "words"):
        names = make(family, "full", readout, backbone=shared(family)).method.names
        left = set(own) - set(names)
        assert len(set(names)) == len(names)
        tied_or_trunk = {n for n in own if n.startswith((model.base_model_prefix + ".", "encoder.", "decoder."))}
        assert tied_or_trunk <= set(names)
        assert readout == "last" or not left


@pytest.mark.parametrize("family", FAMILIES)
def test_a_trained_bank_entry_leaves_no_trace_in_the_backbone(family):
    """A fine-tuned copy is in place only while its own rows run."""
    backbone = shared(family)
    before = dict(backbone.model.named_parameters())
    assembly = make(family, "full", "last", backbone=backbone)
    bank_of({"own": assembly}).scores(_batch(assembly))
    after = dict(backbone.model.named_parameters())
    assert before.keys() == after.keys()
    assert all(before[name] is after[name] for name in before)


def _batch(assembly):
    from foreword.batch import collate

    return collate(items(assembly, owner="own"), assembly.backbone.pad_id)
