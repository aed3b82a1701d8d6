"""The memory that a plan announces, against the bytes that tensors hold while a whole step runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from foreword.assembly import Assembly
from foreword.batch import Item
from foreword.training import memory
from foreword.training.live import Live
from foreword.training.loop import Loop
from foreword.training.memory import ALIKE, LENGTHS, UNLIKE, Memory, heap, memory_of, together
from foreword.training.route import WHOLE, Route, follow, likened, route_of
from support.backbones import shared
from support.forewords import ROWS, items, make

BAND = 0.25
CASES = [
    ("bert", "v2-random", "cls"),
    ("bert", "v2-top", "mean"),
    ("bert", "full", "mean"),
    ("bert", "lora", "cls"),
    ("bert", "adapter-houlsby", "mean"),
    ("llama", "prompt-after", "last"),
    ("llama", "v2-text", "words"),
    ("llama", "lora", "mean"),
    ("gpt2", "prompt-middle", "last"),
    ("t5", "prompt-random", "words"),
    ("bart", "v2-cross", "last"),
]
LONG: tuple[dict[str, Any], ...] = tuple(
    {"text": " ".join([row["text"]] * times), "label": row["label"]} for row in ROWS[1:5] for times in (1, 2, 3)
)
"""Rows of many lengths; none so short that next to nothing is held of it."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREWORD_CACHE", str(tmp_path))


def step_of(assembly: Assembly, route: Route, rows: Sequence[Item]) -> float:
    """Bytes at the most in a real step on these rows, optimiser aside; gradients of full fine-tuning do not count."""
    routed = follow(route, assembly, {"train": rows})["train"]
    loop = Loop(assembly, routed, [], route=route)
    parts = (assembly.backbone.model, assembly.method, assembly.readout)
    live = Live(tensor for part in parts for tensor in (*part.parameters(), *part.buffers()))
    for parameter in loop.trained.values():
        parameter.register_post_accumulate_grad_hook(lambda own: live.forget(own.grad))
    with live:
        loop.backward(routed)
    for parameter in loop.trained.values():
        parameter.grad = None
    return live.peak


@pytest.mark.parametrize(("family", "method", "readout"), CASES)
def test_a_step_holds_what_was_announced(family: str, method: str, readout: str) -> None:
    assembly = make(family, method, readout, backbone=shared(family), rows=LONG, batch_size=6)
    rows = items(assembly, LONG)
    route = route_of(assembly, {"train": rows})
    expected = memory_of(assembly, route, rows, [])
    longest = sorted(rows, key=lambda item: item.tokens)[-6:]
    assert expected.items == 6
    measured = step_of(assembly, route, longest)
    assert expected.step + expected.row * expected.items == pytest.approx(measured, rel=BAND)


def test_a_front_is_held_once_a_step() -> None:
    assembly = make("llama", "prompt-text", "last", backbone=shared("llama"), rows=LONG, batch_size=6)
    rows = items(assembly, LONG)
    route = route_of(assembly, {"train": rows})
    assert route.kind == "front"
    whole, short = (memory_of(assembly, way, rows, []) for way in (WHOLE, route))
    assert short.step > 0 == whole.step
    states = assembly.backbone.geometry.layers * assembly.backbone.geometry.hidden * 4 * len(route.front or ())
    assert short.step > 5 * states, "its history, of several states a layer and token"


def test_a_kept_trunk_is_mapped_and_its_making_is_counted() -> None:
    assembly = make("bert", "v2-top", "mean", backbone=shared("bert"), rows=LONG, batch_size=6)
    rows = items(assembly, LONG)
    route = route_of(assembly, {"train": rows})
    assert route.kind == "trunk"
    whole, kept, ready = (memory_of(assembly, way, rows, []) for way in (WHOLE, route, replace(route, ready=True)))
    tokens = sum(item.tokens for item in rows)
    assert kept.mapped == ready.mapped == 4 * tokens * assembly.backbone.geometry.hidden and whole.mapped == 0
    assert kept.aside > ready.aside == whole.aside == 0
    assert kept.row == pytest.approx(whole.row, rel=0.15), "no gradient runs below it on the whole way either"


def test_reading_one_place_holds_less_than_reading_all() -> None:
    one, all_ = (make("bert", "v2-random", where, backbone=shared("bert"), rows=LONG) for where in ("cls", "mean"))
    held = [memory_of(assembly, WHOLE, items(assembly, LONG), []).row for assembly in (one, all_)]
    assert held[0] < 0.9 * held[1]


def test_half_precision_halves_what_is_mapped_and_not_what_is_computed_with() -> None:
    found = []
    for precision in ("float32", "float16"):
        assembly = make("bert", "v2-top", "cls", backbone=shared("bert"), rows=LONG, cache=precision)
        rows = items(assembly, LONG)
        found.append(memory_of(assembly, route_of(assembly, {"train": rows}), rows, []))
    assert found[0].mapped == 2 * found[1].mapped > 0
    assert found[0].row == found[1].row


def test_counting_changes_nothing() -> None:
    assembly = make("bert", "p-tuning-dropout", "cls", backbone=shared("bert"), rows=LONG)
    rows, before = items(assembly, LONG), torch.get_rng_state()
    values = {name: p.detach().clone() for name, p in assembly.trained().items()}
    modes = [module.training for module in (*assembly.method.modules(), *assembly.readout.modules())]
    memory_of(assembly, WHOLE, rows, rows)
    assert torch.equal(torch.get_rng_state(), before)
    assert [module.training for module in (*assembly.method.modules(), *assembly.readout.modules())] == modes
    for name, parameter in assembly.trained().items():
        assert torch.equal(parameter, values[name]) and parameter.grad is None


def test_a_step_in_pieces_holds_the_largest_piece() -> None:
    whole, cut = (
        make("bert", "v2-random", "cls", backbone=shared("bert"), rows=LONG, batch_size=12, max_tokens=tokens)
        for tokens in (16384, 100)
    )
    found = [memory_of(assembly, WHOLE, items(assembly, LONG), []) for assembly in (whole, cut)]
    assert found[0].items == 12 and 1 <= found[1].items < 12
    assert found[1].row * found[1].items < 0.6 * found[0].row * found[0].items


def test_full_fine_tuning_holds_its_checkpoint() -> None:
    assembly = make("bert", "full", "cls", backbone=shared("bert"), rows=LONG)
    numbers = sum(parameter.numel() for parameter in assembly.trained().values())
    found = memory_of(assembly, WHOLE, items(assembly, LONG), [])
    assert found.trained == 16 * numbers, "gradients, two moments and the best parameters, in float32"
    assert found.saving == 4 * memory.SAVED * numbers


def test_runs_of_one_pass_add_up_and_share_its_rows() -> None:
    one = Memory(
        held=9, highest=10, trained=3, step=2, row=5, items=16, room=100, aside=1, saving=0, heap=1.5, mapped=7
    )
    several = together([one, one, replace(one, trained=5, room=20)])
    assert (several.trained, several.step, several.mapped) == (11, 6, 21)
    assert (several.row, several.items, several.held) == (5, 20, 9), "as many rows as the smallest budget has room for"
    assert several.added == 11 + 1.5 * (6 + 5 * 20) + 1 and several.peak == 9 + several.added + 21


def test_what_was_held_in_loading_is_no_less_than_the_peak() -> None:
    small = Memory(held=1, highest=50, trained=1, step=0, row=1, items=1, room=1, aside=0, saving=0, heap=1, mapped=0)
    assert small.peak == 50 and "after 0 MB in loading" in small.told


def test_the_heap_has_more_gaps_the_more_lengths_come_up() -> None:
    assert heap(1, 500) == heap(300, 1) == ALIKE
    assert heap(300, 500) == heap(LENGTHS + 1, 500) == UNLIKE
    assert ALIKE < heap(10, 500) == heap(500, 10) < heap(20, 500) < UNLIKE


def test_live_bytes_are_counted_as_long_as_they_live() -> None:
    start = torch.randn(1000, requires_grad=True)
    with Live([start]) as live:
        kept = start.exp()  # which its backward pass needs
        total = kept.sum()
        assert live.now == 4004
        del kept
        assert live.now == 4004, "autograd holds it"
        total.backward()
        assert live.peak > 8000, "and the gradient beside it"
        del total
        assert live.now == 4000
        live.forget(start.grad)
        assert live.now == 0


def test_items_are_likened_to_what_the_route_makes_of_them() -> None:
    for family, method in (("bert", "v2-top"), ("llama", "prompt-after"), ("llama", "prompt-random")):
        assembly = make(family, method, "last" if family == "llama" else "cls", backbone=shared(family), rows=LONG)
        rows = items(assembly, LONG)
        route = route_of(assembly, {"train": rows})
        real = follow(route, assembly, {"train": rows})["train"]
        for one, other in zip(likened(route, rows), real, strict=True):
            assert (one.rows, one.start, one.tokens) == (other.rows, other.start, other.tokens)
            assert [part.shape for part in one.states + one.memory] == [p.shape for p in other.states + other.memory]
