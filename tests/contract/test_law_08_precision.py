"""Law 8 for `training.precision`: in bfloat16 a step's loss and gradient are those of float32 but for rounding."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.functional import cosine_similarity

from foreword.evaluation.scoring import GROUP
from foreword.training.gradient import backward
from foreword.training.loop import Loop, run_together
from foreword.training.route import follow, route_of
from support.backbones import shared
from support.forewords import METHODS, SITED, TRAINED, gradients, grid, items, make, refused

LEAST = 0.97
"""Cosine of the whole gradients, of tiny models with random weights; a real one had 0.9997."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREWORD_CACHE", str(tmp_path))


@pytest.mark.parametrize(("family", "method"), grid(TRAINED))
def test_a_step_in_bfloat16_is_the_step_but_for_rounding(family, method, law):
    readout = next(name for name in ("last", "cls", "mean", "words") if not refused(family, method, name))
    losses, flat, scores = {}, {}, {}
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)
        assembly = make(family, method, readout, backbone=shared(family), max_tokens=200, precision=precision)
        assembly.method.eval()
        rows = items(assembly)
        route = route_of(assembly, {"train": rows})
        rows = follow(route, assembly, {"train": rows})["train"]
        loop = Loop(assembly, rows, rows, route=route)
        losses[precision] = loop.backward(rows)
        found = gradients(assembly)
        assert all(gradient.dtype == torch.float32 for gradient in found.values())
        flat[precision] = torch.cat([found[name].flatten() for name in sorted(found)])
        scores[precision] = loop.evaluate(rows).probabilities
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.05, abs=0.02)
    assert cosine_similarity(flat["bfloat16"], flat["float32"], dim=0) > LEAST
    torch.testing.assert_close(scores["bfloat16"], scores["float32"], atol=0, rtol=0)
    law(8)


@pytest.mark.parametrize(("family", "method"), [("llama", "prompt-random"), ("bert", "v2-random")])
def test_the_products_are_in_bfloat16_and_what_is_trained_is_not(family, method):
    kinds = set()
    readout = "last" if family == "llama" else "cls"
    assembly = make(family, method, readout, backbone=shared(family), precision="bfloat16")
    hooks = [
        module.register_forward_hook(lambda module, given, out: kinds.add(out.dtype))
        for layer in assembly.backbone.layers
        for module in layer.modules()
        if isinstance(module, torch.nn.Linear)
    ]
    rows = items(assembly)
    loop = Loop(assembly, rows, rows)
    try:
        loop.backward(rows)
        assert kinds == {torch.bfloat16}
        kinds.clear()
        loop.evaluate(rows)
        assert kinds == {torch.float32}
    finally:
        for hook in hooks:
            hook.remove()
    assert all(p.dtype == torch.float32 for p in assembly.trained().values())


@pytest.mark.parametrize(
    "method", [*(name for name in SITED if "dropout" not in str(METHODS[name])), "adapter-of-layer"]
)
def test_one_pass_of_several_runs_in_bfloat16_is_the_runs_alone(method):
    """What is added to rows of several owners has the type of what it is added to."""
    method = {"name": "adapter", "config": "pfeiffer", "where": "layer"} if method == "adapter-of-layer" else method

    def found(*seeds: int) -> list[dict[str, torch.Tensor]]:
        loops = []
        for seed in seeds:
            assembly = make("bert", method, "cls", backbone=shared("bert"), precision="bfloat16", seed=seed)
            rows = items(assembly, owner=str(seed))
            loops.append(Loop(assembly, rows, rows))
            loops[-1].prepare(False)
        shares = [loop.share(loop.begin()) for loop in loops]
        backward(loops[0].bank, shares, 400, GROUP)
        return [gradients(loop.assembly) for loop in loops]

    for seed, together in enumerate(found(0, 1)):
        [alone] = found(seed)
        for name, gradient in together.items():
            assert cosine_similarity(gradient.flatten(), alone[name].flatten(), dim=0) > LEAST, name


def test_runs_of_two_precisions_side_by_side_are_the_runs_alone():
    def run(*precisions: str) -> list[dict[str, torch.Tensor]]:
        loops = []
        for number, precision in enumerate(precisions):
            assembly = make(
                "llama", "prompt-random", "last", backbone=shared("llama"), precision=precision, max_steps=3
            )
            rows = items(assembly, owner=str(number))
            loops.append(Loop(assembly, rows, rows))
        run_together(loops)
        return [{k: v.detach().clone() for k, v in loop.assembly.trained().items()} for loop in loops]

    both = run("float32", "bfloat16")
    for one, kind in zip(both, ("float32", "bfloat16"), strict=True):
        [alone] = run(kind)
        for name, tensor in alone.items():
            torch.testing.assert_close(one[name], tensor, atol=1e-5, rtol=1e-4)
