"""What the modules of a layer are for, as seen in one run."""

from __future__ import annotations

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from foreword.backbone.backbone import Backbone
from foreword.errors import ConfigError, Unsupported
from support import tokenizers
from support.backbones import FAMILIES, HIDDEN, LAYERS, REFUSING, shared, tiny

BERT = {
    "query": ["attention.self.query"],
    "key": ["attention.self.key"],
    "value": ["attention.self.value"],
    "attention-output": ["attention.output.dense"],
    "feed-forward-input": ["intermediate.dense"],
    "feed-forward-output": ["output.dense"],
}
OPT = {
    "query": ["self_attn.q_proj"],
    "key": ["self_attn.k_proj"],
    "value": ["self_attn.v_proj"],
    "attention-output": ["self_attn.out_proj"],
    "feed-forward-input": ["fc1"],
    "feed-forward-output": ["fc2"],
}
ROLES = {
    "bert": BERT,
    "roberta": BERT,
    "distilbert": {
        "query": ["attention.q_lin"],
        "key": ["attention.k_lin"],
        "value": ["attention.v_lin"],
        "attention-output": ["attention.out_lin"],
        "feed-forward-input": ["ffn.lin1"],
        "feed-forward-output": ["ffn.lin2"],
    },
    "gpt2": {
        "fused": ["attn.c_attn"],
        "attention-output": ["attn.c_proj"],
        "feed-forward-input": ["mlp.c_fc"],
        "feed-forward-output": ["mlp.c_proj"],
    },
    "llama": {
        "query": ["self_attn.q_proj"],
        "key": ["self_attn.k_proj"],
        "value": ["self_attn.v_proj"],
        "attention-output": ["self_attn.o_proj"],
        "feed-forward-input": ["mlp.gate_proj", "mlp.up_proj"],
        "feed-forward-output": ["mlp.down_proj"],
    },
    "opt": OPT,
    "opt-projected": OPT,
    "bart": OPT,
    "t5": {
        "query": ["layer.0.SelfAttention.q"],
        "key": ["layer.0.SelfAttention.k"],
        "value": ["layer.0.SelfAttention.v"],
        "attention-output": ["layer.0.SelfAttention.o"],
        "feed-forward-input": ["layer.1.DenseReluDense.wi"],
        "feed-forward-output": ["layer.1.DenseReluDense.wo"],
    },
}


def with_cross(family: str) -> dict[str, list[str]]:
    """A decoder's layer attends to the encoder between its other attention and its feed-forward."""
    inside = "encoder_attn" if family == "bart" else "layer.1.EncDecAttention"
    found = {}
    for role, (path,) in ROLES[family].items():
        if role.startswith("feed-forward"):
            found[role] = [path.replace("layer.1", "layer.2")]
        else:
            found[role] = [path, f"{inside}.{path.rpartition('.')[2]}"]
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_every_matrix_has_its_role(family: str) -> None:
    anatomy = shared(family).anatomy
    assert len(anatomy.layers) == LAYERS
    for layer, organs in enumerate(anatomy.layers):
        found: dict[str, list[str]] = {}
        for organ in organs:
            found.setdefault(organ.role, []).append(organ.path)
        crosses = layer in shared(family).geometry.cross_layers
        assert len(found.pop("norm")) == 2 + crosses
        assert found == (with_cross(family) if crosses else ROLES[family])
        modules = dict(shared(family).model.named_modules())
        assert all(f"{anatomy.names[layer]}.{organ.path}" in modules for organ in organs)
        assert anatomy.widths[layer, ""] == (HIDDEN, HIDDEN)


@pytest.mark.parametrize("family", FAMILIES)
def test_looking_leaves_no_hook(family: str) -> None:
    backbone = tiny(family)
    assert backbone.anatomy is backbone.anatomy
    assert not any(module._forward_hooks for module in backbone.model.modules())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_layers_are_seen_in_int8_too(family: str) -> None:
    backbone = tiny(family)
    backbone.round_to_int8()
    assert backbone.anatomy.widths == shared(family).anatomy.widths
    roles = [organ.role for organ in backbone.anatomy.layers[1]]
    assert roles == [organ.role for organ in shared(family).anatomy.layers[1]]


def rotated(config_class, model_class) -> Backbone:
    tokenizer = tokenizers.llama_tokenizer()
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    torch.manual_seed(0)
    config = config_class(vocab_size=len(tokenizer), num_key_value_heads=2, head_dim=8, **shape)
    model = model_class(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.3)
    return Backbone(model, tokenizer, "causal", "rotated")


@pytest.mark.parametrize("classes", [(Qwen2Config, Qwen2ForCausalLM), (Qwen3Config, Qwen3ForCausalLM)])
def test_keys_that_are_rotated_or_normed_are_found_and_their_biases_count(classes) -> None:
    anatomy = rotated(*classes).anatomy
    roles = {organ.path: organ for organ in anatomy.layers[1]}
    for name in ("query", "key", "value"):
        assert roles[f"self_attn.{name[0]}_proj"].role == name
    assert not any(organ.idle for organ in roles.values())
    assert roles["self_attn.k_proj"].bias == (classes[0] is Qwen2Config)


def test_the_bias_of_plain_keys_changes_nothing() -> None:
    for family in ("bert", "roberta", "distilbert", "opt"):
        organs = {organ.role: organ for organ in shared(family).anatomy.layers[0] if organ.idle}
        assert [(role, organ.idle) for role, organ in organs.items()] == [("key", (0, organs["key"].outputs))]
    fused = next(organ for organ in shared("gpt2").anatomy.layers[0] if organ.role == "fused")
    assert fused.idle == (fused.outputs // 3, fused.outputs // 3 * 2)


@pytest.mark.parametrize("family", REFUSING)
def test_families_without_parts_are_refused_by_name(family: str) -> None:
    with pytest.raises(Unsupported, match=family):
        _ = shared(family).anatomy


def test_targets_are_the_ends_of_names_a_pattern_or_all() -> None:
    anatomy = shared("bert").anatomy

    def paths(target):
        return [organ.path for organ in anatomy.matching(1, target)]

    assert paths(["query"]) == ["attention.self.query"]
    assert paths(["output.dense"]) == ["attention.output.dense", "output.dense"]  # as in PEFT
    assert paths(["1.output.dense"]) == ["output.dense"]
    assert paths(["attention.self.query", "intermediate.dense"]) == ["attention.self.query", "intermediate.dense"]
    assert len(paths("all-linear")) == 6
    assert paths(r".*layer\.1\..*(key|value)") == ["attention.self.key", "attention.self.value"]
    assert paths(r".*layer\.0\..*(key|value)") == []
    assert paths(["uery"]) == []
    with pytest.raises(ConfigError, match="q_proj") as caught:
        anatomy.check_targets([0, 1], ["query", "q_proj"], "target_modules")
    assert "query" in str(caught.value)
    with pytest.raises(ConfigError, match="did you mean 'query'"):
        anatomy.check_targets([0], ["qury"], "target_modules")
    with pytest.raises(ConfigError, match="regular expression"):
        anatomy.check_targets([0], "(query", "target_modules")


def test_a_layer_of_another_build_is_refused_by_name() -> None:
    tokenizer = tokenizers.bert_tokenizer()
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    torch.manual_seed(0)
    model = BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **size))
    model.bert.encoder.layer[1].intermediate.dense = torch.nn.Sequential(
        torch.nn.Linear(32, 40), torch.nn.Linear(40, 48)
    )
    assert (
        Backbone(model, tokenizer, "masked", "odd").anatomy.of(1, "feed-forward-input")[0].path
        == "intermediate.dense.0"
    )


def test_a_module_that_runs_twice_is_refused_by_name() -> None:
    class Twice(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Linear(48, 48)
            self.last = torch.nn.Linear(48, 32)

        def forward(self, states):
            return self.last(self.inner(self.inner(states)))

    tokenizer = tokenizers.bert_tokenizer()
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    model = BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **size))
    model.bert.encoder.layer[1].output.dense = Twice()
    with pytest.raises(Unsupported, match=r"bert.*layer 1"):
        _ = Backbone(model, tokenizer, "masked", "odd").anatomy
