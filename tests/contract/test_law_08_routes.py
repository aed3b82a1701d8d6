"""Law 8 for the routes: what is kept, run once a step, or read at one place alone changes no loss and no gradient."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from foreword.training.loop import Loop
from foreword.training.route import follow, route_of
from support.backbones import CAUSAL, TWO_STACKS, shared
from support.forewords import METHODS, TRAINED, gradients, grid, idle, items, loud, make, near, refused

EXPECTED = {"prompt-after": "documents", "linear-probe": "trunk", "v2-top": "trunk"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREWORD_CACHE", str(tmp_path))


@pytest.mark.parametrize(("family", "method"), grid(TRAINED))
def test_the_route_gives_the_loss_and_gradient_of_the_whole_way(family, method, law):
    kinds = set()
    for readout in ("cls", "last", "mean", "words", "long-words"):
        if refused(family, method, readout):
            continue
        assembly = loud(make(family, method, readout, backbone=shared(family), max_tokens=200))
        assembly.method.eval()
        rows = items(assembly)
        whole = Loop(assembly, rows, rows)
        whole.bank.whole = True
        slow, slow_gradients = whole.backward(rows), gradients(assembly)
        measured = whole.evaluate(rows)
        route = route_of(assembly, {"train": rows})
        routed = follow(route, assembly, {"train": rows})["train"]
        for parameter in assembly.trained().values():
            parameter.grad = None
        loop = Loop(assembly, routed, routed, route=route)
        assert loop.backward(routed) == pytest.approx(slow, rel=1e-4, abs=1e-5)
        near(gradients(assembly), {name: g for name, g in slow_gradients.items() if not idle(assembly, name)})
        torch.testing.assert_close(loop.evaluate(routed).probabilities, measured.probabilities, atol=1e-4, rtol=1e-3)
        kinds.add(route.kind)
        law(8)
    assert ("full" == method) <= (kinds == {"whole"}), "every weight learns, so no route is shorter"
    if family in TWO_STACKS:
        assert kinds == {"whole"}
        assert "two stacks" in route_of(assembly, {"train": items(assembly)}).why or method == "full"
    elif method in EXPECTED and (family in CAUSAL or EXPECTED[method] == "trunk"):
        assert EXPECTED[method] in kinds
    if family in CAUSAL and METHODS[method]["method"] != "full" and method.startswith(("prompt-r", "p-tuning-l")):
        assert "front" in kinds
