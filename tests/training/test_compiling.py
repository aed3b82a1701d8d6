"""`training.compile`: what is compiled, that it computes the same, and that nothing of it stays."""

from __future__ import annotations

import pytest
import torch

from foreword.backbone.anatomy import Organ
from foreword.errors import ForewordError, Unsupported
from foreword.training import compiling
from foreword.training.loop import Loop
from support.backbones import shared, tiny
from support.forewords import items, make


def organ(path: str, role: str) -> Organ:
    return Organ(path, role, 8, 8, False, False)  # type: ignore[arg-type]


def test_a_feed_forward_that_stands_by_itself_is_compiled_whole():
    organs = (organ("input_norm", "norm"), organ("attention.q", "query"), organ("attention.o", "attention-output"),
              organ("mlp.up", "feed-forward-input"), organ("mlp.norm", "norm"),
              organ("mlp.down", "feed-forward-output"))  # fmt: skip
    assert compiling.parts(organs) == ["mlp", "input_norm"]


def test_one_that_is_spread_over_the_layer_is_left():
    organs = (organ("attention.o", "attention-output"), organ("intermediate.dense", "feed-forward-input"),
              organ("output.dense", "feed-forward-output"), organ("output.norm", "norm"))  # fmt: skip
    assert compiling.parts(organs) == ["output.norm"]


def test_one_that_holds_attention_is_left():
    organs = (organ("block.o", "attention-output"), organ("block.up", "feed-forward-input"),
              organ("block.down", "feed-forward-output"))  # fmt: skip
    assert compiling.parts(organs) == []


def test_methods_that_work_inside_the_layers_are_refused():
    assembly = make("llama", "lora", "last", backbone=shared("llama"), compile=True)
    with pytest.raises(Unsupported, match="lora works inside"):
        compiling.check_compiling(assembly)


def test_without_a_compiler_it_is_told(monkeypatch):
    from torch._inductor import cpp_builder

    def none() -> str:
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none)
    with pytest.raises(ForewordError, match="No working C"):
        compiling.need_compiler()


@pytest.mark.slow
def test_it_computes_the_same_and_leaves_nothing_behind():
    losses = []
    for wanted in (False, True):
        torch.manual_seed(0)
        assembly = make(
            "llama", "prompt-random", "last", backbone=tiny("llama"), compile=wanted, epochs=1, batch_size=3
        )
        loop = Loop(assembly, items(assembly), [])
        heard: list[float] = []
        loop.reporter = _Heard(heard)  # type: ignore[assignment]
        loop.run()
        losses.append(heard)
        left = [m for m in assembly.backbone.model.modules() if m._compiled_call_impl is not None]
        assert not left
    torch.testing.assert_close(torch.tensor(losses[0]), torch.tensor(losses[1]), rtol=1e-5, atol=1e-6)
    with compiling.compiled(assembly.backbone) as found:
        assert found == 9
        assert sum(m._compiled_call_impl is not None for m in assembly.backbone.model.modules()) == 9


class _Heard:
    def __init__(self, losses: list[float]) -> None:
        self.losses = losses

    def step(self, done: int, steps: int, loss: float) -> None:
        self.losses.append(loss)

    def evaluated(self, step: int, metrics: dict[str, float]) -> None: ...

    def kept(self, done: int, rows: int) -> None: ...
