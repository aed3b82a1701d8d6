"""The methods at modules of the layers, against PEFT itself and against computations written out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from foreword.assembly import Assembly, assemble
from foreword.batch import collate
from foreword.config import RunConfig, build
from foreword.registry import tasks
from support.backbones import FAMILIES, bare, shared, states_of
from support.forewords import LABELS, bank_of, close, hidden, items, stir


def made(family: str, readout: str = "last", **method: Any) -> Assembly:
    """One run's parts with its method's parameters moved from their start."""
    position = {"name": "linear", "position": readout}
    config = build(RunConfig, {"data": "toy", "backbone": family, "method": method, "readout": position})
    assembly = assemble(config, shared(family), tasks.get("classification")(), LABELS, [])
    stir(assembly)
    return assembly


def compare(assembly: Assembly, trunk: nn.Module, tolerance: float = 5e-5) -> None:
    """The bank's states against those of a model that was changed by other means, padded on either side and not."""
    rows, bank = items(assembly, owner="own"), bank_of({"own": assembly})
    batch = collate(rows, assembly.backbone.pad_id)
    positions = {"position_ids": batch.positions + assembly.backbone.geometry.position_base}
    with torch.no_grad():
        whole = states_of(trunk, batch, **positions)
    expected = [states[mask.bool()] for states, mask in zip(whole, batch.mask, strict=True)]
    for side in ("right", "left"):
        close(hidden(bank, rows, side), expected, tolerance)
    plain = hidden(bank, [type(row)(row.rows) for row in rows])
    assert max(float((one - other).abs().max()) for one, other in zip(plain, expected, strict=True)) > 1e-2


def short(family: str) -> dict[str, Tensor]:
    return dict(shared(family).model.named_modules())


# -- PEFT -------------------------------------------------------------------------------------------------------------

LORA = [{}, {"target_modules": "all-linear", "use_rslora": True}]
LORA_NAMES = {
    "bert": [["query", "output.dense"], r".*layer\.[12]\.attention\.self\.(key|value)"],
    "gpt2": [["c_proj", "c_fc"]],
    "llama": [["q_proj", "mlp.down_proj"]],
}
PEFTS = [(family, {"target_modules": t}) for family, targets in LORA_NAMES.items() for t in targets]
PEFTS += [(family, more) for family in FAMILIES for more in LORA]


def peft_model(family: str, config: Any) -> Any:
    peft = pytest.importorskip("peft")
    return peft.get_peft_model(bare(family), config).eval()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("family", "options"), PEFTS)
def test_lora_is_pefts(family: str, options: dict[str, Any]) -> None:
    peft = pytest.importorskip("peft")
    if family == "distilbert" and not options:
        options = {"target_modules": ["q_lin", "v_lin"]}  # PEFT knows no default for it, and ours is this
        assembly = made(family, name="lora", r=3, lora_alpha=5)
    else:
        assembly = made(family, name="lora", r=3, lora_alpha=5, **options)
    model = peft_model(family, peft.LoraConfig(r=3, lora_alpha=5, **options))
    sites = assembly.method.compiled().sites
    names = shared(family).anatomy.names
    layers = {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}
    # what PEFT's all-linear takes outside of the layers starts at nothing, and stays there
    layers = {
        name: module
        for name, module in layers.items()
        if name.startswith(tuple(f"base_model.model.{n}" for n in names))
    }
    assert {f"base_model.model.{names[layer]}.{path}" for layer, path, _ in sites.at} == set(layers)
    with torch.no_grad():
        for (layer, path, _), op in sites.at.items():
            module = layers[f"base_model.model.{names[layer]}.{path}"]
            module.lora_A["default"].weight.copy_(op.a)
            module.lora_B["default"].weight.copy_(op.b)
            assert module.scaling["default"] == pytest.approx(op.scale)
    compare(assembly, model.base_model.model.base_model)


IA3 = [
    ("bert", ["key", "value", "output.dense"], ["output.dense"]),
    ("bert", ["query", "intermediate.dense"], []),
    ("gpt2", ["c_attn", "mlp.c_proj"], ["mlp.c_proj"]),
    ("llama", ["k_proj", "v_proj", "down_proj"], ["down_proj"]),
    ("opt", ["q_proj", "k_proj", "fc2"], ["fc2"]),
    ("t5", ["k", "v", "wo"], ["wo"]),
    ("bart", ["k_proj", "v_proj", "fc2"], ["fc2"]),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("family", "targets", "front"), IA3)
def test_ia3_is_pefts(family: str, targets: list[str], front: list[str]) -> None:
    peft = pytest.importorskip("peft")
    assembly = made(family, name="ia3", target_modules=targets, feedforward_modules=front)
    model = peft_model(family, peft.IA3Config(target_modules=targets, feedforward_modules=front))
    sites, names = assembly.method.compiled().sites, shared(family).anatomy.names
    layers = {name: module for name, module in model.named_modules() if hasattr(module, "ia3_l")}
    assert {f"base_model.model.{names[layer]}.{path}" for layer, path, _ in sites.at} == set(layers)
    with torch.no_grad():
        for (layer, path, kind), op in sites.at.items():
            module = layers[f"base_model.model.{names[layer]}.{path}"]
            module.ia3_l["default"].copy_(op.vector.view_as(module.ia3_l["default"]))
            assert module.is_feedforward == (kind == "scale_input")
    compare(assembly, model.base_model.model.base_model)


@pytest.mark.parametrize("family", FAMILIES)
def test_ia3_scales_keys_values_and_the_feed_forward_in_every_family(family: str) -> None:
    """PEFT's table takes queries and keys in OPT, and in BERT's kind attention's output as well: the paper does not."""
    sites = made(family, name="ia3").method.compiled().sites
    ends = {"bert": ("key", "value", "output.dense"), "roberta": ("key", "value", "output.dense"),
            "distilbert": ("k_lin", "v_lin", "lin2"), "gpt2": ("c_attn", "c_proj"),
            "llama": ("k_proj", "v_proj", "down_proj"),
            "t5": (".k", ".v", "wo")}.get(family, ("k_proj", "v_proj", "fc2"))  # fmt: skip
    for layer in range(3):
        own = {path: kind for number, path, kind in sites.at if number == layer}
        crosses = 2 * (layer in shared(family).geometry.cross_layers)
        assert len(own) == len(ends) + crosses and all(path.endswith(ends) for path in own)
        assert not any("attention.output" in path for path in own)
        assert sorted(own.values()) == ["scale_input"] + ["scale_output"] * (len(ends) - 1 + crosses)


# -- by hand ----------------------------------------------------------------------------------------------------------


def neck(op: Any, states: Tensor, activation: Any) -> Tensor:
    """Houlsby et al. 2019, figure 2, without the skip connection."""
    return activation(states @ op.down.T + op.down_bias) @ op.up.T + op.up_bias


@torch.no_grad()
def bert_by_hand(model: Any, ids: Tensor, change: Any) -> Tensor:
    """Tiny BERT written out for one row; `change(layer, path, y, x)` stands at each sublayer's output."""
    states = model.embeddings(input_ids=ids)
    for number, layer in enumerate(model.encoder.layer):
        own = layer.attention.self
        heads = own.num_attention_heads

        def split(x: Tensor, heads: int = heads) -> Tensor:
            return x.view(1, x.shape[1], heads, -1).transpose(1, 2)

        query, key, value = (split(part(states)) for part in (own.query, own.key, own.value))
        weights = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)
        mixed = (weights @ value).transpose(1, 2).reshape(states.shape)
        out = change(number, "attention.output.dense", layer.attention.output.dense(mixed), states)
        inside = layer.attention.output.LayerNorm(out + states)
        wide = torch.nn.functional.gelu(layer.intermediate.dense(inside))
        out = change(number, "output.dense", layer.output.dense(wide), inside)
        states = change(number, "", layer.output.LayerNorm(out + inside), inside)
    return states


@torch.no_grad()
def llama_by_hand(model: Any, ids: Tensor, change: Any) -> Tensor:
    states = model.embed_tokens(ids)
    places = torch.arange(ids.shape[1])[None]
    angles = model.rotary_emb(states, position_ids=places)
    for number, layer in enumerate(model.layers):
        length = ids.shape[1]
        mask = torch.ones(length, length, dtype=torch.bool).tril()[None, None]
        mixed, _ = layer.self_attn(layer.input_layernorm(states), position_embeddings=angles, attention_mask=mask)
        states = states + change(number, "self_attn.o_proj", mixed, states)
        inside = layer.post_attention_layernorm(states)
        mlp = layer.mlp
        out = mlp.down_proj(torch.nn.functional.silu(mlp.gate_proj(inside)) * mlp.up_proj(inside))
        states = change(number, "", states + change(number, "mlp.down_proj", out, inside), inside)
    return model.norm(states)


HANDS = {"bert": bert_by_hand, "llama": llama_by_hand}
ADAPTERS = [
    {"config": "houlsby", "bottleneck_size": 5},
    {"config": "houlsby", "width": "8/3", "multiple_of": 8, "layers": [1], "activation": "silu", "residual": False},
    {"config": "pfeiffer", "reduction_factor": 0.5, "scale": 0.5},
    {"config": "pfeiffer", "bottleneck_size": 3, "where": "layer", "layers": "top-half"},
    {"config": "parallel", "bottleneck_size": 7},
    {"config": "parallel", "bottleneck_size": 4, "scale": "learned", "layer_norm": "before"},
    {"config": "pfeiffer", "bottleneck_size": 4, "layer_norm": "after", "activation": "tanh"},
    {"config": "compacter", "bottleneck_size": 8},
    {"config": "compacter++", "reduction_factor": 5, "activation": "relu"},
    {"config": "parallel", "bottleneck_size": 8, "phm": 4, "shared_rule": True, "factor_rank": 1},
]


@pytest.mark.parametrize("options", ADAPTERS, ids=lambda options: options["config"])
@pytest.mark.parametrize("family", HANDS)
def test_adapters_are_what_the_papers_write(family: str, options: dict[str, Any]) -> None:
    assembly = made(family, name="adapter", **options)
    config, sites = assembly.config.method, assembly.method.compiled().sites
    acts = {"gelu": torch.nn.functional.gelu, "silu": torch.nn.functional.silu, "tanh": torch.tanh, "relu": torch.relu,
            "gelu_new": lambda x: torch.nn.functional.gelu(x, approximate="tanh")}  # fmt: skip
    scale = (
        assembly.method.necks[next(iter(assembly.method.necks))].scale if config.scale == "learned" else config.scale
    )

    def change(layer: int, path: str, out: Tensor, given: Tensor) -> Tensor:
        op = sites.at.get((layer, path, "bottleneck"))
        if op is None:
            return out
        own = scale
        if config.scale == "learned":
            own = next(n.scale for name, n in assembly.method.necks.items() if name.startswith(f"{layer}/"))
        states = given if config.config == "parallel" else out
        normed = torch.nn.functional.layer_norm
        if config.layer_norm == "before":
            states = normed(states, states.shape[-1:], op.norm_weight, op.norm_bias)
        delta = neck(op, states, acts[config.activation])
        if config.layer_norm == "after":
            delta = normed(delta, delta.shape[-1:], op.norm_weight, op.norm_bias)
        return own * delta + (out if config.residual else 0)

    rows, bank, model = items(assembly, owner="own"), bank_of({"own": assembly}), bare(family).base_model
    for row, found in zip(rows, hidden(bank, rows), strict=True):
        ids = torch.tensor([row.rows[0].ids])
        close([found], [HANDS[family](model, ids, change)[0]])
    plain = hidden(bank, [type(row)(row.rows) for row in rows])
    assert (plain[0] - hidden(bank, rows)[0]).abs().max() > 1e-2


@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in ("llama", "t5")])
def test_bitfit_is_other_biases(family: str) -> None:
    assembly = made(family, name="bitfit")
    model, names = bare(family), shared(family).anatomy.names
    modules = dict(model.named_modules())
    with torch.no_grad():
        for (layer, path, _), op in assembly.method.compiled().sites.at.items():
            modules[f"{names[layer]}.{path}"].bias.add_(op.vector)
    compare(assembly, model.base_model)


@pytest.mark.parametrize(("shared_rule", "rank"), [(True, 1), (False, 2), (True, None), (False, None)])
def test_phm_is_a_sum_of_kronecker_products(shared_rule: bool, rank: int | None) -> None:
    options = {"phm": 4, "shared_rule": shared_rule, "factor_rank": rank, "bottleneck_size": 8}
    assembly = made("bert", name="adapter", config="houlsby", **options)
    method = assembly.method
    for (layer, path, _), op in method.compiled().sites.at.items():
        own = method.necks[f"{layer}/{path.replace('.', '/')}"]
        for part, found in ((own.down, op.down), (own.up, op.up)):
            rule = method.rule if shared_rule else part.rule
            factors = part.left @ part.right if rank else part.full
            expected = sum(torch.kron(a, b) for a, b in zip(rule, factors, strict=True))
            close([found.T], [expected], 1e-6)
    trained = sum(p.numel() for p in method.parameters())
    each = (32 // 4 + 8 // 4) * 4 * rank if rank else 32 * 8 // 4
    rules = 4**3 * (1 if shared_rule else 12)
    assert trained == rules + 12 * each + 6 * (8 + 32)
