"""The operations that a plan announces, against those that torch counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from foreword.training.cost import cost_of, matrix_rate
from foreword.training.loop import Loop
from foreword.training.route import WHOLE, follow, route_of
from support.backbones import shared
from support.forewords import items, make

RELATIVE = 0.12
CASES = [
    ("bert", "v2-random", "cls"),
    ("bert", "v2-random", "mean"),
    ("bert", "v2-top", "cls"),
    ("bert", "prompt-random", "cls"),
    ("llama", "prompt-random", "last"),
    ("llama", "prompt-after", "last"),
    ("llama", "v2-random", "last"),
    ("gpt2", "prompt-middle", "last"),
    ("bert", "full", "mean"),
    ("bert", "lora", "cls"),
    ("bert", "ia3", "mean"),
    ("bert", "bitfit", "mean"),
    ("bert", "adapter-houlsby", "mean"),
    ("bert", "adapter-houlsby", "cls"),
    ("bert", "adapter-pfeiffer", "cls"),
    ("llama", "adapter-parallel", "last"),
    ("llama", "lora", "mean"),
    ("gpt2", "lora-all", "mean"),
    ("gpt2", "bitfit", "last"),
    ("bert", "combined", "mean"),
    ("llama", "combined-soft", "last"),
    ("t5", "prompt-random", "words"),
    ("t5", "v2-random", "last"),
    ("t5", "v2-cross", "last"),
    ("t5", "lora", "words"),
    ("t5", "full", "words"),
    ("bart", "v2-decoder", "last"),
    ("bart", "v2-top", "words"),
    ("bart", "v2-encoder", "words"),
    ("bart", "adapter-houlsby", "last"),
    ("bart", "combined", "last"),
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREWORD_CACHE", str(tmp_path))


@pytest.mark.parametrize(("family", "method", "readout"), CASES)
def test_a_step_costs_what_was_announced(family: str, method: str, readout: str) -> None:
    assembly = make(family, method, readout, backbone=shared(family), batch_size=1)
    longest = [max(items(assembly), key=lambda item: item.tokens)]  # one row: no padding to guess
    route = route_of(assembly, {"train": longest})
    routed = follow(route, assembly, {"train": longest})["train"]
    loop = Loop(assembly, routed, [], route=route)
    # the kernel for CPUs is not among those that torch counts
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loop.backward(routed)
    announced = cost_of(assembly, route, longest, [], ready=True).step
    assert counter.get_total_flops() == pytest.approx(announced, rel=RELATIVE)


def test_every_route_is_cheaper_than_the_whole_way() -> None:
    for family, method, readout in (
        ("bert", "v2-top", "mean"),
        ("llama", "prompt-text", "last"),
        ("llama", "prompt-after", "last"),
    ):
        assembly = make(family, method, readout, backbone=shared(family), batch_size=4)
        rows = items(assembly)
        route = route_of(assembly, {"train": rows})
        assert route.kind != "whole"
        assert cost_of(assembly, route, rows, rows).step < cost_of(assembly, WHOLE, rows, rows).step


def test_reading_one_place_is_cheaper_than_reading_all() -> None:
    one, all_ = (make("bert", "v2-random", where, backbone=shared("bert")) for where in ("cls", "mean"))
    assert cost_of(one, WHOLE, items(one), []).step < cost_of(all_, WHOLE, items(all_), []).step
    assert cost_of(one, WHOLE, items(one), []).read == 1 and cost_of(all_, WHOLE, items(all_), []).read == 0


def test_what_is_kept_is_paid_once_and_not_when_it_lies_ready() -> None:
    assembly = make("bert", "linear-probe", "cls", backbone=shared("bert"))
    rows = items(assembly)
    route = route_of(assembly, {"train": rows})
    assert route.kind == "trunk"
    once = cost_of(assembly, route, rows, []).once
    assert once > 0 == cost_of(assembly, route, rows, [], ready=True).once
    more = route_of(assembly, {"train": rows, "test": rows})
    assert cost_of(assembly, more, rows, []).once == pytest.approx(2 * once), "test rows are kept, too"


def test_the_rate_is_one_of_a_machine() -> None:
    assert matrix_rate() > 1e8
