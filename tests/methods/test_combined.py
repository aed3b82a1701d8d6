"""Several methods in one foreword."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from foreword.assembly import Assembly, assemble
from foreword.bank import Bank
from foreword.config import RunConfig, build, dump
from foreword.errors import ConfigError, ForewordError, Unsupported
from foreword.injections import Injection
from foreword.registry import tasks
from support.backbones import shared
from support.forewords import LABELS, bank_of, close, hidden, items, stir

V2 = {"name": "p-tuning-v2", "num_virtual_tokens": 3, "init_std": 0.3}
SOFT = {"name": "prompt-tuning", "num_virtual_tokens": 2}
ADAPTER = {"name": "adapter", "bottleneck_size": 4}
LORA = {"name": "lora", "r": 2}


def made(*parts: Any, family: str = "bert", template: str | None = None) -> Assembly:
    values: dict[str, Any] = {"data": "toy", "backbone": family, "method": {"name": "combined", "parts": list(parts)},
                              "readout": {"name": "linear", "position": "last"}}  # fmt: skip
    config = build(RunConfig, values | ({"template": template} if template else {}))
    return assemble(config, shared(family), tasks.get("classification")(), LABELS, [])


def test_the_parts_are_all_there() -> None:
    assembly = made(V2, ADAPTER, LORA, SOFT, {"name": "ia3"}, {"name": "bitfit"})
    injection = assembly.method.compiled()
    assert injection.key_values is not None and injection.soft is not None and injection.sites is not None
    kinds = {kind for _, _, kind in injection.sites.at}
    assert kinds == {"bottleneck", "low_rank", "scale_input", "scale_output", "shift"}
    names = {name.split(".")[2] for name in assembly.trained() if name.startswith("method.")}
    assert names == {"0", "1", "2", "3", "4", "5"}
    assert assembly.reader.encoder.template.soft_count == 2


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_the_order_of_the_parts_means_nothing(family: str) -> None:
    found = []
    for turn in (1, -1):
        parts = [ADAPTER, {"name": "ia3", "target_modules": "all-linear"}, {**LORA, "target_modules": "all-linear"}][
            ::turn
        ]
        assembly = made(*parts, family=family)
        stir(made(*parts, family=family))
        generator = torch.Generator().manual_seed(1)
        by_name = sorted(assembly.method.named_parameters(), key=lambda pair: pair[0].split(".", 2)[2])
        with torch.no_grad():
            for _, parameter in by_name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
        found.append(hidden(bank_of({"own": assembly}), items(assembly, owner="own")))
    close(found[0], found[1], 1e-6)


def test_one_module_takes_all_kinds_in_the_stated_order() -> None:
    ia3 = {"name": "ia3", "target_modules": ["query"], "feedforward_modules": []}
    assembly = made(ia3, {**LORA, "target_modules": ["query"]}, {"name": "bitfit", "which": "attention"})
    stir(assembly)
    backbone, at = shared("bert"), assembly.method.compiled().sites.at
    states = torch.randn(1, 5, 32)
    layer = backbone.twins(("own",), {"own": assembly.method.compiled().sites}).layers[0]
    place = "attention.self.query"
    low, shift, scale = (at[0, place, kind] for kind in ("low_rank", "shift", "scale_output"))
    own = backbone.model.bert.encoder.layer[0].attention.self.query
    expected = (own(states) + low.scale * states @ low.a.T @ low.b.T + shift.vector) * scale.vector
    close([layer.attention.self.query(states)], [expected], 1e-5)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([V2, {**V2, "layers": [0]}], "key/values"),
        ([SOFT, {"name": "p-tuning", "num_virtual_tokens": 2}], "virtual tokens"),
        ([LORA, {**LORA, "r": 4}], r"part 1 \(lora\) and part 2 \(lora\).*low rank at .*query"),
        ([ADAPTER, {"name": "adapter", "config": "parallel", "bottleneck_size": 2}], "bottleneck at output.dense"),
        ([LORA], "at least 2"),
        ([LORA, {"name": "hard"}], "trains nothing"),
        ([LORA, {"name": "full"}], "every weight"),
        ([LORA, {"name": "combined", "parts": [V2, ADAPTER]}], "parts here"),
        ([LORA, {"name": "loraa"}], "did you mean 'lora'"),
        ([LORA, {"name": "adapter", "bottlenecksize": 3}], "bottlenecksize"),
        ([LORA, "linear-probe"], "linear-probe"),
        ([LORA, 3], "name"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(parts: list[Any], said: str) -> None:
    with pytest.raises(ForewordError, match=said):
        made(*parts)


def test_the_same_kind_in_other_layers_goes_together() -> None:
    sites = made({**LORA, "layers": [0]}, {**LORA, "layers": [1], "r": 4}).method.compiled().sites
    assert {len(op.a) for (layer, _, _), op in sites.at.items() if layer == 0} == {2}
    assert {len(op.a) for (layer, _, _), op in sites.at.items() if layer == 1} == {4}


def test_biases_of_keys_count_beside_keys_that_no_bias_moves() -> None:
    alone, beside = made({"name": "bitfit"}, LORA), made({"name": "bitfit"}, V2)
    keys = [{name for name in one.trained() if "attention/self/key" in name.replace("-", "/").replace(".", "/")}
            for one in (alone, beside)]  # fmt: skip
    assert not keys[0] and len(keys[1]) == 3
    upper = made({"name": "bitfit"}, {**V2, "layers": [2]})
    assert [name for name in upper.trained() if "attention/self/key" in name.replace("-", "/").replace(".", "/")] == [
        sorted(keys[1])[-1]
    ]
    stir(beside)
    at_rest = beside.method.at_rest()
    rows = items(beside)
    moved = hidden(bank_of({"run": beside}), rows)
    assert at_rest.sites is not None
    for (_, path, _), shift in at_rest.sites.at.items():
        if path == "attention.self.key":
            shift.vector.zero_()  # type: ignore[union-attr]
    bank = bank_of({"run": beside})
    bank.put(rows[0].owner or "", at_rest, beside.readout)
    assert max(float((one - two).abs().max()) for one, two in zip(hidden(bank, rows), moved, strict=True)) > 1e-3


@pytest.mark.parametrize("places", [("encoder", "decoder"), ("decoder", "encoder")])
def test_key_values_of_other_layers_go_together(places: tuple[str, str]) -> None:
    both = [{**V2, "places": [place]} for place in places]
    config = build(RunConfig, {"data": "toy", "backbone": "bart", "method": {"name": "combined", "parts": both},
                               "readout": {"name": "verbalizer", "words": {"bad": "bad", "good": "good"}}})  # fmt: skip
    assembly = assemble(config, shared("bart"), tasks.get("classification")(), ["bad", "good"], [])
    found = assembly.method.compiled().key_values
    parts = [part.compiled().key_values for part in assembly.method.parts]  # type: ignore[union-attr, operator]
    assert found is not None and found.layers == tuple(sorted(found.layers))
    for part in parts:
        for number, layer in enumerate(part.layers):
            assert torch.equal(found.tensor[found.layers.index(layer)], part.tensor[number])
    alike = [{**V2, "layers": [0]}, {**V2, "layers": [0, 1]}]
    other = [{**V2, "layers": [0]}, {**V2, "layers": [1], "num_virtual_tokens": 4}]
    for parts in (alike, other):
        with pytest.raises(ConfigError, match="one length"):
            made(*parts)


def test_parts_of_one_method_start_at_other_values() -> None:
    sites = made({**LORA, "layers": [0]}, {**LORA, "layers": [1]}).method.compiled().sites
    one, other = (sites.at[layer, "attention.self.query", "low_rank"].a for layer in (0, 1))
    assert not torch.equal(one, other)


def test_slots_of_the_template_go_to_the_part_that_has_virtual_tokens() -> None:
    assembly = made(LORA, {"name": "prompt-tuning"}, template="{soft:2} {text} {soft}")
    assert assembly.method.compiled().soft.vectors.shape[0] == 3
    with pytest.raises(Unsupported, match="no virtual tokens"):
        made(LORA, V2, template="{soft:2} {text}")


def test_settings_survive_being_written(tmp_path) -> None:
    config = made(V2, ADAPTER).config
    (tmp_path / "run.yaml").write_text(dump(config), encoding="utf-8")
    from foreword.config import load

    assert load(tmp_path / "run.yaml") == config


def test_a_real_text_in_front_moves_the_positions_of_the_whole() -> None:
    text = {"name": "p-tuning-v2", "init": "text", "init_text": "Is the film good?"}
    injection = made(text, LORA, family="llama").method.compiled()
    assert injection.position_offset == injection.key_values.length > 0
    bank = Bank(shared("llama"))
    bank.put("own", injection)
    assert bank.injection("own").position_offset and bank.injection(None) == Injection()
    with pytest.raises(ConfigError):
        bank.injection("other")
