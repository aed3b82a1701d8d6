"""Several runs in one pass give what each gives alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from foreword.errors import Interrupted
from foreword.training.loop import Loop, run_together
from foreword.training.route import follow, route_of
from support.backbones import shared
from support.forewords import items, make


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREWORD_CACHE", str(tmp_path / "cache"))


def loop_of(number: int, family: str, method: str, readout: Any = None, folder: Path | None = None, **settings) -> Loop:
    values = {"batch_size": 3, "epochs": 2, "learning_rate": 0.01, **settings}
    assembly = make(family, method, readout, backbone=shared(family), **values)
    rows = {"train": items(assembly, owner=f"run{number}")}
    route = route_of(assembly, rows)
    routed = follow(route, assembly, rows)["train"]
    return Loop(assembly, routed, routed, folder, route=route)


GROUPS = {
    "seeds and rates": [
        ("v2-random", {"seed": 0}),
        ("v2-random", {"seed": 1, "learning_rate": 0.03}),
        ("v2-random", {"seed": 2, "schedule": "constant"}),
    ],
    "methods and lengths of training": [
        ("prompt-text", {"seed": 0}),
        ("v2-layers", {"seed": 1, "epochs": 1}),
        ("linear-probe", {"seed": 2, "batch_size": 8}),
    ],
    "routes": [("prompt-after", {}), ("prompt-text", {}), ("v2-top", {}), ("full", {"learning_rate": 1e-3})],
    "sites": [
        ("lora", {"seed": 0}),
        ("adapter-houlsby", {"seed": 1}),
        ("ia3", {"seed": 2, "learning_rate": 0.03}),
        ("combined", {"seed": 3}),
        ("v2-random", {"seed": 4}),
        ("adapter-pfeiffer", {"seed": 5}),
    ],
    "dropout": [
        ("p-tuning-dropout", {"seed": 3}),
        ("p-tuning-dropout", {"seed": 4}),
        ("lora-all", {"seed": 5}),
    ],
}


@pytest.mark.parametrize("family", ["bert", "llama"])
@pytest.mark.parametrize("group", GROUPS)
def test_runs_together_equal_runs_alone(family: str, group: str) -> None:
    readout = {"name": "linear", "position": "last", "dropout": 0.2 if group == "dropout" else 0.0}

    def made() -> list[Loop]:
        return [loop_of(i, family, method, readout, **values) for i, (method, values) in enumerate(GROUPS[group])]

    together, alone = made(), made()
    run_together(together)
    for loop in alone:
        loop.run()
    for one, other in zip(together, alone, strict=True):
        assert one.progress.step == other.progress.step > 0
        assert one.progress.best_step == other.progress.best_step
        for name, value in other._copy().items():
            scale = float(value.abs().max())
            torch.testing.assert_close(one._copy()[name], value, atol=2e-3 * scale + 1e-5, rtol=2e-2)
        for mine, theirs in zip(one.progress.curve, other.progress.curve, strict=True):
            assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-3, abs=1e-4)


def test_each_run_stops_early_by_itself() -> None:
    readout = {"name": "linear", "position": "last"}
    loops = [
        loop_of(0, "bert", "v2-random", readout, epochs=3),
        loop_of(1, "bert", "v2-random", readout, epochs=9, patience=1, learning_rate=1e-12),
    ]
    run_together(loops)
    assert loops[0].progress.step == 9 and not loops[0].progress.stopped_early
    assert loops[1].progress.step < 27 and loops[1].progress.stopped_early


def test_an_interrupt_keeps_all_runs_and_they_go_on(tmp_path: Path) -> None:
    import os
    import signal

    class Stopper:
        def step(self, done: int, steps: int, loss: float) -> None:
            if done == 4:
                os.kill(os.getpid(), signal.SIGINT)

        def kept(self, done: int, rows: int) -> None: ...

        def evaluated(self, step: int, metrics: dict[str, float]) -> None: ...

    def made(kept: bool) -> list[Loop]:
        return [
            loop_of(i, "bert", "v2-random", None, tmp_path / str(i) if kept else None, seed=i, epochs=3)
            for i in range(2)
        ]

    loops = made(kept=True)
    loops[0].reporter = Stopper()
    with pytest.raises(Interrupted, match="after step 4"):
        run_together(loops)
    again, whole = made(kept=True), made(kept=False)
    run_together(again, resume=True)
    run_together(whole)
    for one, other in zip(again, whole, strict=True):
        for name, value in other._copy().items():
            torch.testing.assert_close(one._copy()[name], value, rtol=0, atol=0)


def test_a_run_that_cannot_go_on_leaves_the_others_alone() -> None:
    def made() -> list[Loop]:
        return [loop_of(0, "bert", "v2-random"), loop_of(1, "bert", "v2-random", learning_rate=1e30)]

    together, alone = made(), made()[0]
    run_together(together)
    alone.run()
    assert together[1].failure is not None and "lower training.learning_rate" in str(together[1].failure)
    assert together[0].failure is None and together[0].progress.step == alone.progress.step
    for name, value in alone._copy().items():
        torch.testing.assert_close(together[0]._copy()[name], value, rtol=1e-2, atol=1e-3)
