"""Adapters' settings: widths, presets, first values, and the defects of other libraries that must not be ours."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.assembly import Assembly, assemble
from foreword.bank import Bank
from foreword.batch import collate
from foreword.config import RunConfig, build
from foreword.errors import ConfigError, ForewordError, Unsupported
from foreword.methods.adapter import PRESETS, AdapterConfig
from foreword.registry import tasks
from support.backbones import FAMILIES, shared
from support.forewords import LABELS, ROWS, bank_of, close, hidden, items, stir


def made(family: str = "bert", seed: int = 0, **method: Any) -> Assembly:
    config = build(RunConfig, {"data": "toy", "backbone": family, "method": method, "seed": seed,
                               "readout": {"name": "linear", "position": "last"}})  # fmt: skip
    return assemble(config, shared(family), tasks.get("classification")(), LABELS, [])


def size(hidden: int, **settings: Any) -> int:
    return build(AdapterConfig, {"name": "adapter", **settings}).size(hidden)


def test_widths_are_exact() -> None:
    """A floor of floats gives 7679 for H / 0.1 and 3839 for H / 0.2, and 8/3 of 1024 no multiple of anything."""
    assert size(768, reduction_factor=0.1) == 7680 and size(768, reduction_factor=0.2) == 3840
    assert size(768, width="8/3") == 2048 and size(1024, width="8/3") == 2731
    assert size(1024, width="8/3", multiple_of=4) == 2732 and size(1024, width="8/3", multiple_of=64) == 2752
    assert size(768, reduction_factor=0.375) == 2048 and size(768, reduction_factor=16) == 48
    assert size(768, bottleneck_size=50) == 50 and size(768, bottleneck_size=50, multiple_of=8) == 56
    assert size(4, reduction_factor=16) == 1
    assert size(768) == 48 and size(768, config="parallel") == 384 and size(768, config="compacter") == 24


def test_a_width_may_be_a_number_and_has_a_bound() -> None:
    assert size(768, width=2) == 1536 and size(768, width=2.5) == 1920
    wrongs: list[dict[str, Any]] = [
        {"width": "1000000"}, {"reduction_factor": 1e-300}, {"bottleneck_size": 10**9}, {"multiple_of": 10**9},
    ]  # fmt: skip
    for wrong in wrongs:
        with pytest.raises(ConfigError, match="64 times as wide"):
            size(768, **wrong)
    assert size(768, phm=4, factor_rank=12) == 48
    with pytest.raises(ConfigError, match="factor_rank: 13 is above 12"):
        size(768, phm=4, factor_rank=13)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"width": "1e99999999"}, "no fraction"),
        ({"width": "1_0/3"}, "no fraction"),
        ({"width": "0/3"}, "no fraction"),
        ({"width": "3/0"}, "no fraction"),
        ({"scale": 0}, "nothing to train"),
        ({"scale": float("inf")}, "scale"),
        ({"config": ["houlsby"]}, "config"),
        ({"config": {"a": 1}}, "config"),
        ({"activation": "gellu"}, "did you mean"),
    ],
)
def test_settings_that_cannot_be_are_told(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ForewordError, match=said):
        size(768, **wrong)


@pytest.mark.parametrize("name", ["quick_gelu", "relu2", "linear", "mish", "gelu_new", "gelu_orig", "leakyrelu"])
def test_activations_are_those_of_transformers(name: str) -> None:
    from transformers.activations import ACT2FN

    from foreword.injections.sites import ACTIVATIONS

    theirs = ACT2FN[{"gelu_orig": "gelu", "leakyrelu": "leaky_relu"}.get(name, name)]
    x = torch.linspace(-3, 3, 41)
    torch.testing.assert_close(ACTIVATIONS[name](x), theirs(x))
    assert build(AdapterConfig, {"name": "adapter", "activation": name.upper()}).activation == name


@pytest.mark.parametrize("init", ["near-identity", "identity"])
@pytest.mark.parametrize("norm", ["none", "before", "after"])
@pytest.mark.parametrize("phm", [None, 4])
def test_every_number_of_an_adapter_learns(init: str, norm: str, phm: int | None) -> None:
    """With `up` at zero and a norm at zero behind it, neither would ever get a gradient."""
    from foreword.training.loop import Loop

    assembly = made(name="adapter", config="pfeiffer", bottleneck_size=8, init=init, layer_norm=norm, phm=phm)
    rows = items(assembly)
    before = {name: tensor.detach().clone() for name, tensor in assembly.trained().items()}
    optimizer = torch.optim.AdamW(assembly.trained().values(), lr=1e-2, weight_decay=0)
    loop = Loop(assembly, rows, rows)
    for _ in range(4):
        optimizer.zero_grad()
        loop.backward(rows)
        optimizer.step()
    for name, tensor in assembly.trained().items():
        assert not torch.equal(tensor, before[name]), name


@given(hidden=st.integers(1, 5000), top=st.integers(1, 50), bottom=st.integers(1, 50), multiple=st.integers(1, 64))
@settings(max_examples=60, deadline=None)
def test_a_width_is_the_next_multiple(hidden: int, top: int, bottom: int, multiple: int) -> None:
    found = size(hidden, width=f"{top}/{bottom}", multiple_of=multiple)
    assert found % multiple == 0 and 0 <= found * bottom - hidden * top < multiple * bottom


def test_phm_rounds_widths_that_it_may_choose_and_refuses_others() -> None:
    assert size(1024, width="8/3", phm=4) == 2732
    with pytest.raises(ConfigError, match="multiple_of"):
        size(1024, bottleneck_size=10, phm=4)
    assert size(1024, bottleneck_size=10, phm=4, multiple_of=4) == 12
    with pytest.raises(ConfigError, match="does not divide"):
        size(1024, width="8/3", phm=4, multiple_of=7)
    with pytest.raises(ConfigError, match="layers' width"):
        size(1023, bottleneck_size=8, phm=4)


def test_the_way_to_8_thirds_is_told():
    with pytest.raises(ConfigError) as caught:
        size(768, reduction_factor="8/3")
    assert "set width: 8/3" in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        size(768, reduction_factor=16, width="8/3")
    assert "--set method.reduction_factor=null" in str(caught.value)
    assert size(768, reduction_factor=None, width="8/3") == 2048


@pytest.mark.parametrize(
    "settings",
    [
        {"bottleneck_size": 4, "reduction_factor": 2},
        {"bottleneck_size": 4, "width": "1/2"},
        {"width": "0"},
        {"width": "-1/2"},
        {"width": "1/0"},
        {"width": "a third"},
        {"reduction_factor": 0},
        {"activation": "reluu"},
        {"where": "layer"},
        {"config": "parallel", "where": "layer"},
        {"config": "parallel", "residual": False},
        {"config": "compacter", "phm": None},
        {"config": "houlsbey"},
        {"init": "identity", "init_std": 0.5},
        {"config": "parallel", "init_std": 0.5},
        {"shared_rule": True},
        {"factor_rank": 2},
        {"layer_norm": "both"},
        {"scale": "channel"},
        {"dropout": 1.0},
        {"phm": 5},
        {"phm": 64},
        {"layers": [7]},
        {"nonsense": 1},
    ],
)
def test_settings_that_cannot_work_are_refused_in_words(settings: dict[str, Any]) -> None:
    with pytest.raises(ForewordError):
        made(name="adapter", **settings)


def test_an_unknown_activation_is_named() -> None:
    with pytest.raises(ConfigError, match="did you mean 'gelu'"):
        made(name="adapter", activation="gleu")


@pytest.mark.parametrize("kind", PRESETS)
@pytest.mark.parametrize("more", [{}, {"width": "8/3", "scale": "learned", "layer_norm": "before", "dropout": 0.1}])
def test_every_setting_survives_being_written(kind: str, more: dict[str, Any]) -> None:
    """AdapterHub's DiReFT lost one that had no annotation, and computed another function after loading."""
    config = build(AdapterConfig, {"name": "adapter", "config": kind, **more})
    assert build(AdapterConfig, config.model_dump(mode="json")) == config
    assert set(config.model_dump()) == set(AdapterConfig.model_fields)


def test_presets_are_those_of_the_papers() -> None:
    houlsby, parallel, compacter = (build(AdapterConfig, {"name": "adapter", "config": kind})
                                    for kind in ("houlsby", "parallel", "compacter"))  # fmt: skip
    assert (houlsby.reduction_factor, houlsby.activation, houlsby.scale, houlsby.init) == (
        16,
        "gelu",
        1,
        "near-identity",
    )
    assert (parallel.reduction_factor, parallel.activation, parallel.scale, parallel.init) == (2, "relu", 4, "identity")
    assert (compacter.phm, compacter.shared_rule, compacter.factor_rank) == (4, True, 1)
    own = build(AdapterConfig, {"name": "adapter", "config": "compacter", "factor_rank": None, "width": "1/4"})
    assert own.factor_rank is None and own.reduction_factor is None


@pytest.mark.parametrize("config", PRESETS)
@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_stand_where_their_papers_put_them(family: str, config: str) -> None:
    anatomy = shared(family).anatomy
    places = {"bottleneck_size": 8, "config": config}
    sites = made(family, name="adapter", **places).method.compiled().sites
    for layer in range(3):
        own = {path: op.source for (number, path, _), op in sites.at.items() if number == layer}
        [last] = anatomy.of(layer, "feed-forward-output")
        attention = {organ.path: "" for organ in anatomy.of(layer, "attention-output")}
        assert len(attention) == 1 + (layer in shared(family).geometry.cross_layers)
        wide = anatomy.of(layer, "feed-forward-input")[0]
        expected = {last.path: wide.path if config == "parallel" else ""}
        assert own == expected | (attention if config in ("houlsby", "compacter") else {})


NOTHING = [
    {"name": "lora"},
    {"name": "lora", "init_lora_weights": "gaussian"},
    {"name": "ia3"},
    {"name": "bitfit"},
    {"name": "adapter", "config": "parallel"},
    {"name": "adapter", "init": "identity", "layer_norm": "after"},
    {"name": "adapter", "phm": 4, "init": "identity", "factor_rank": 1},
    {"name": "adapter", "layer_norm": "after"},
]


@pytest.mark.parametrize("method", NOTHING, ids=str)
@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_attaching_changes_nothing(family: str, method: dict[str, Any]) -> None:
    assembly = made(family, **method)
    own, bank = items(assembly, ROWS[:3], "own"), bank_of({"own": assembly})
    close(hidden(bank, own), hidden(Bank(shared(family)), [type(row)(row.rows) for row in own]), 1e-6)


@pytest.mark.parametrize("config", ["houlsby", "pfeiffer", "compacter"])
def test_near_identity_is_near(config: str) -> None:
    assembly = made(name="adapter", config=config)
    own, bank = items(assembly, ROWS[:3], "own"), bank_of({"own": assembly})
    for one, other in zip(hidden(bank, own), hidden(Bank(shared("bert")), [type(r)(r.rows) for r in own]), strict=True):
        assert 0 < float((one - other).norm() / other.norm()) < 0.02


def test_houlsby_starts_at_a_cut_normal() -> None:
    assembly = made(name="adapter", width="8/3", init_std=0.05)
    for op in assembly.method.compiled().sites.at.values():
        for matrix in (op.down, op.up):
            assert 0.03 < float(matrix.detach().std()) < 0.05 and float(matrix.detach().abs().max()) <= 0.1
        assert not op.down_bias.any() and not op.up_bias.any()


def test_a_whole_number_is_a_scale() -> None:
    """AdapterHub takes 4.0 and refuses 4."""
    one, other = (made(name="adapter", config="parallel", scale=scale).method.compiled() for scale in (4, 4.0))
    assert one.tensors().keys() == other.tensors().keys()


@pytest.mark.parametrize("method", [{"name": "adapter"}, {"name": "lora"}, {"name": "adapter", "config": "compacter"}])
def test_a_seed_of_zero_is_a_seed(method: dict[str, Any]) -> None:
    """AdapterHub takes 0 for none."""
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(found))
        found.append(next(iter(made(seed=seed, **method).method.parameters())).detach())
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


@pytest.mark.parametrize("start", ["identity", "near-identity"])
@pytest.mark.parametrize("config", ["parallel", "houlsby", "pfeiffer"])
def test_phm_goes_with_every_placement_and_start(config: str, start: str) -> None:
    """AdapterHub's par_bn with a PHM layer touches weights that it does not have."""
    assembly = made(name="adapter", config=config, init=start, phm=2, bottleneck_size=4)
    own = items(assembly, ROWS[:2], "own")
    assert torch.isfinite(hidden(bank_of({"own": assembly}), own)[0]).all()


def test_a_shared_rule_is_one_parameter() -> None:
    method = made(name="adapter", config="compacter", bottleneck_size=8).method
    rules = [name for name, _ in method.named_parameters() if "rule" in name]
    assert rules == ["rule"]
    loss = sum(t.square().sum() for t in method.compiled().tensors().values())
    loss.backward()
    assert all(p.grad is not None for p in method.parameters() if p.abs().max() > 0)


def test_the_plan_warns_of_wide_adapters() -> None:
    from foreword.training.plan import plan_of

    for width, warned in (("8/3", True), ("1/32", False)):
        assembly = made(name="adapter", width=width)
        lines = dict(plan_of(assembly, items(assembly, owner="run"), []).lines())
        assert ("warning" in lines) == warned
        assert f"{sum(p.numel() for p in assembly.trained().values()):,}" in lines["trained"]
    full = dict(plan_of(made(name="full"), items(made(name="full"), owner="run"), []).lines())
    assert "warning" not in full


def test_llama_has_no_biases_and_bitfit_says_so() -> None:
    with pytest.raises(Unsupported, match=r"bitfit.*llama.*no biases"):
        made("llama", name="bitfit")
    assert made("gpt2", name="bitfit", which="norm").method.places


def test_bitfit_trains_what_is_asked_and_no_idle_bias() -> None:
    paths = {which: {path for _, path in made(name="bitfit", which=which, layers=[0]).method.places}
             for which in ("all", "attention", "feed-forward", "norm")}  # fmt: skip
    assert paths["attention"] == {"attention.self.query", "attention.self.value", "attention.output.dense"}
    assert paths["feed-forward"] == {"intermediate.dense", "output.dense"}
    assert paths["norm"] == {"attention.output.LayerNorm", "output.LayerNorm"}
    assert paths["all"] == paths["attention"] | paths["feed-forward"] | paths["norm"]


def test_of_a_fused_projection_bitfit_trains_no_part_that_is_idle() -> None:
    from foreword.training.loop import Loop

    assembly = made("gpt2", name="bitfit", which="attention", layers=[0])
    fused = next(organ for organ in shared("gpt2").anatomy.layers[0] if organ.role == "fused")
    [shift] = [p for name, p in assembly.trained().items() if "c_attn" in name]
    assert len(shift) == fused.outputs // 3 * 2
    stir(assembly)
    rows = items(assembly)
    Loop(assembly, rows, rows).backward(rows)
    assert shift.grad is not None
    largest = shift.grad.abs().max()
    assert all(part.abs().max() > 1e-3 * largest for part in shift.grad.chunk(2))


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "lora", "target_modules": ["query", "valu"]},
        {"name": "lora", "target_modules": []},
        {"name": "lora", "target_modules": "nothing"},
        {"name": "lora", "target_modules": ["LayerNorm"]},
        {"name": "lora", "r": 0},
        {"name": "lora", "init_lora_weights": False},
        {"name": "lora", "layers": [9]},
        {"name": "ia3", "feedforward_modules": ["output.dense"]},
        {"name": "ia3", "target_modules": ["key"], "feedforward_modules": ["output.dense"]},
        {"name": "ia3", "target_modules": ["key"], "feedforward_modules": ["outputdense"]},
        {"name": "bitfit", "which": "biases"},
    ],
)
def test_targets_that_cannot_be_are_refused_in_words(settings: dict[str, Any]) -> None:
    with pytest.raises(ForewordError):
        made(**settings)


@pytest.mark.parametrize("method", [{"name": "lora"}, {"name": "adapter", "where": "layer", "config": "pfeiffer"}])
def test_no_site_stands_above_the_layers_that_the_readout_runs(method: dict[str, Any]) -> None:
    values = {"data": "toy", "backbone": "bert", "readout": {"name": "linear", "position": "mean", "layers": 2}}
    for layers in ("all", "top-half", [2]):
        with pytest.raises(ConfigError, match="readout.layers runs 2 layers"):
            config = build(RunConfig, {**values, "method": {**method, "layers": layers}})
            assemble(config, shared("bert"), tasks.get("classification")(), LABELS, [])
    config = build(RunConfig, {**values, "method": {**method, "layers": [0, 1]}})
    assembly = assemble(config, shared("bert"), tasks.get("classification")(), LABELS, [])
    stir(assembly)
    rows, bank = items(assembly, owner="own"), bank_of({"own": assembly})
    with torch.no_grad():
        [(_, together)] = bank.scores(collate(rows, shared("bert").pad_id))
        alone = [bank.scores(collate([row], shared("bert").pad_id))[0][1][0] for row in rows]
    close(list(together), alone)


def test_a_text_in_front_of_a_prompt_is_not_kept_where_sites_change_it(tmp_path, monkeypatch) -> None:
    from foreword.training.route import route_of

    monkeypatch.setenv("FOREWORD_CACHE", str(tmp_path))
    after = {"name": "prompt-tuning", "placement": "after", "num_virtual_tokens": 2}
    above = [{"name": "lora", "layers": [1]}, {"name": "ia3", "layers": [2]}]
    for parts, kind in (([after, {"name": "lora"}], "whole"), (above, "trunk")):
        assembly = made("llama", name="combined", parts=parts)
        route = route_of(assembly, {"train": items(assembly)})
        assert route.kind == kind and route.layer == (1 if kind == "trunk" else 0)
