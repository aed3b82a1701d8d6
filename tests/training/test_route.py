"""Which way a run goes, and when it must not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from foreword.backbone.backbone import Backbone
from foreword.bank import Bank
from foreword.evaluation.scoring import score_items
from foreword.training.batching import epoch_batches
from foreword.training.loop import Loop
from foreword.training.route import follow, route_of
from support import tokenizers
from support.backbones import shared
from support.forewords import gradients, items, loud, make, near

SHAPE = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREWORD_CACHE", str(tmp_path))


def windowed(window: int | None) -> Backbone:
    tokenizer = tokenizers.llama_tokenizer()
    torch.manual_seed(0)
    config = MistralConfig(vocab_size=len(tokenizer), num_key_value_heads=2, sliding_window=window, **SHAPE)
    return Backbone(MistralForCausalLM(config), tokenizer, "causal", "mistral")


@pytest.mark.parametrize("method", ["prompt-random", "prompt-after"])
def test_a_model_that_looks_back_over_a_window_goes_the_whole_way(method: str) -> None:
    assembly = make("llama", method, "last", backbone=windowed(5))
    route = route_of(assembly, {"train": items(assembly)})
    assert route.kind == "whole" and "window" in route.why
    assembly = make("llama", method, "last", backbone=windowed(None))
    assert route_of(assembly, {"train": items(assembly)}).kind in ("front", "documents")


def test_what_is_kept_belongs_to_the_settings_of_the_model_too() -> None:
    tokenizer = tokenizers.llama_tokenizer()
    made = []
    for theta in (10000.0, 500.0):
        torch.manual_seed(0)
        rope = {"rope_type": "default", "rope_theta": theta}
        config = LlamaConfig(vocab_size=len(tokenizer), num_key_value_heads=2, rope_parameters=rope, **SHAPE)
        made.append(Backbone(LlamaForCausalLM(config), tokenizer, "causal", "llama"))
    assert made[0].fingerprint == made[1].fingerprint and made[0].identity != made[1].identity
    again = Backbone(made[0].detach(), tokenizer, "causal", "another name")
    assert again.identity == made[0].identity


def test_batches_are_the_same_whether_documents_are_kept_or_not() -> None:
    assembly = make("llama", "prompt-after", "last", backbone=shared("llama"))
    rows = items(assembly)
    route = route_of(assembly, {"train": rows})
    assert route.kind == "documents"
    routed = follow(route, assembly, {"train": rows})["train"]
    assert [item.tokens for item in routed] == [item.tokens for item in rows]
    assert epoch_batches([i.tokens for i in routed], 2, 0, 0) == epoch_batches([i.tokens for i in rows], 2, 0, 0)


def test_a_prompt_in_front_takes_its_positions_once() -> None:
    template = "{soft:40}{text}{soft:30}"
    assembly = loud(make("gpt2", "prompt-middle", "last", backbone=shared("gpt2"), template=template))
    rows = items(assembly)
    route = route_of(assembly, {"train": rows})
    assert route.kind == "front"
    routed = follow(route, assembly, {"train": rows})["train"]
    whole = Loop(assembly, rows, [])
    slow, expected = whole.backward(rows), gradients(assembly)
    for parameter in assembly.trained().values():
        parameter.grad = None
    assert Loop(assembly, routed, [], route=route).backward(routed) == pytest.approx(slow, rel=1e-4)
    near(gradients(assembly), expected)


@pytest.mark.parametrize("method", ["v2-top", "prompt-after"])
def test_float16_says_what_it_loses(method: str) -> None:
    readout = {"name": "linear", "position": "last"}
    exact, half = (make("llama", method, readout, backbone=shared("llama"), cache=c) for c in ("float32", "float16"))
    found = []
    for assembly in (exact, half):
        rows = {"train": items(assembly)}
        route = route_of(assembly, rows)
        assert route.kind in ("trunk", "documents")
        lost: list[float] = []
        routed = follow(route, assembly, rows, lost=lost.append)["train"]
        found.append((Loop(assembly, routed, [], route=route).backward(routed), lost))
    assert found[0][1] == [] and 0 < found[1][1][0] < 1e-2
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-2)


def test_nothing_is_kept_where_it_is_switched_off() -> None:
    for method in ("v2-top", "prompt-after", "linear-probe"):
        assembly = make("llama", method, "last", backbone=shared("llama"), cache="off")
        assert route_of(assembly, {"train": items(assembly)}).kind in ("whole", "front")


def test_worked_examples_are_run_once_and_change_nothing() -> None:
    assembly = make("llama", "hard-2-shot", "words", backbone=shared("llama"))
    rows = items(assembly)
    route = route_of(assembly, {"test": rows})
    assert route.kind == "front" and route.front is not None and len(route.front) > 20
    routed = follow(route, assembly, {"test": rows})["test"]
    plain, short = Bank(assembly.backbone, whole=True), Bank(assembly.backbone)
    plain.put("run", assembly.method.at_rest(), assembly.readout)
    with torch.no_grad():
        short.put("run", route.compiled(assembly.backbone, assembly.method.at_rest()), assembly.readout)
    for one, other in zip(score_items(plain, rows, 4096), score_items(short, routed, 4096), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-4)
