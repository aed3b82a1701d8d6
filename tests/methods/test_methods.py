"""First values, shapes and refusals of the methods."""

from __future__ import annotations

import pytest
import torch

from foreword.assembly import assemble
from foreword.bank import Bank
from foreword.config import RunConfig, build
from foreword.errors import ConfigError, ForewordError, TemplateError, Unsupported
from foreword.methods.p_tuning_v2 import chosen_layers
from foreword.registry import tasks
from support.backbones import CAUSAL, FAMILIES, LAYERS, MASKED, shared
from support.forewords import LABELS, close, grid, hidden, items, make, methods_of, same


def with_method(family="bert", template=None, readout="linear", labels=LABELS, seed=0, **method):
    values = {"data": "toy", "backbone": family, "method": method, "readout": readout, "seed": seed}
    config = build(RunConfig, values | ({"template": template} if template else {}))
    return assemble(config, shared(family), tasks.get("classification")(), labels, [])


def soft(assembly) -> torch.Tensor:
    return assembly.method.compiled().soft.vectors.detach()


@pytest.mark.parametrize(("family", "method"), grid(families=["bert", "llama"]))
def test_first_values_come_from_the_seed_alone(family, method):
    def tensors(seed):
        torch.rand(seed + 1)  # what else drew random numbers must not matter
        assembly = make(family, method, None, backbone=shared(family), seed=seed)
        assembly.method.eval()
        return assembly.method.compiled().detached().tensors() | dict(assembly.readout.named_parameters())

    state = torch.get_rng_state()
    first = tensors(1)
    torch.manual_seed(5)
    same(tensors(1), first)
    drawn = [name for name in first if name in ("soft_tokens", "key_values", "weight") or name.startswith("sites.")]
    if method not in ("hard", "hard-2-shot"):
        other = tensors(2)
        assert any(not torch.equal(other[name], first[name]) for name in drawn)
    torch.set_rng_state(state)


@pytest.mark.parametrize("method", methods_of("bert"))
def test_building_a_method_draws_nothing_from_the_global_generator(method):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    make("bert", method, None, backbone=shared("bert"))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("family", FAMILIES)
def test_text_and_vocabulary_start_at_words(family):
    backbone = shared(family)
    table, tokenizer = backbone.embedding.weight, backbone.tokenizer
    text = "Is the film good?"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    expected = table[[ids[i % len(ids)] for i in range(15)]]
    close(
        [soft(with_method(family, name="prompt-tuning", init="text", init_text=text, num_virtual_tokens=15))],
        [expected],
    )
    drawn = soft(with_method(family, name="prompt-tuning", num_virtual_tokens=30))
    distance = (drawn[:, None] - table[None]).abs().amax(-1)
    assert (distance.amin(1) == 0).all()
    assert not {int(i) for i in distance.argmin(1)} & set(tokenizer.all_special_ids)


def test_labels_start_at_the_mean_of_the_labels_words():
    backbone = shared("bert")
    ids = backbone.tokenizer("not good", add_special_tokens=False)["input_ids"]
    table = backbone.embedding.weight
    found = soft(with_method(name="prompt-tuning", init="labels", num_virtual_tokens=5, labels=("not_good", "bad")))
    close([found[0]], [table[ids].mean(0)])
    close([found[1]], [table[backbone.tokenizer.convert_tokens_to_ids("bad")]])
    few = soft(with_method(name="prompt-tuning", init="labels", num_virtual_tokens=1, labels=("not_good", "bad")))
    assert few.shape == (1, 32) and torch.equal(few[0], found[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_label_starts_at_the_tokens_that_stand_for_it_in_a_text(family):
    """Without a lone space token in front, which natural text does not have."""
    from foreword.text.verbalizer import Verbalizer

    backbone = shared(family)
    [[ids]] = Verbalizer.build({"good": ["good"]}, ("good",), backbone.tokenizer, " ").words
    found = soft(with_method(family, name="prompt-tuning", init="labels", num_virtual_tokens=1, labels=("good", "bad")))
    close([found[0]], [backbone.embedding.weight[list(ids)].mean(0)])


@pytest.mark.parametrize("method", ["prompt-tuning", "p-tuning"])
def test_a_slots_own_text_goes_before_init(method):
    extra = {"residual": True} if method == "p-tuning" else {}
    found = soft(with_method(name=method, init="random", template='{soft:1} {text} {soft:"it was"}', **extra))
    backbone = shared("bert")
    ids = backbone.tokenizer("it was", add_special_tokens=False)["input_ids"]
    assert found.shape == (3, 32)
    close([found[1:]], [backbone.embedding.weight[ids]])


def test_a_residual_encoder_starts_at_the_words_and_a_plain_one_does_not():
    settings = {"name": "p-tuning", "init": "text", "init_text": "it was", "num_virtual_tokens": 2}
    plain = soft(with_method(**settings))
    for kind in ("mlp", "lstm"):
        residual = soft(with_method(**settings, residual=True, encoder_reparameterization_type=kind))
        close([residual], [soft(with_method(**settings | {"name": "prompt-tuning"}))])
    assert (plain - residual).abs().max() > 1e-2


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "prompt-tuning", "init": "text"},
        {"name": "prompt-tuning", "init": "text", "init_text": "  "},
        {"name": "prompt-tuning", "init": "text", "init_text": "\u200b"},
        {"name": "p-tuning-v2", "init": "text"},
        {"name": "p-tuning-v2", "init": "text", "init_text": "\u200b"},
        {"name": "p-tuning-v2", "init": "text", "init_text": "good " * 200},
        {"name": "p-tuning-v2", "init": "text", "init_text": "good", "num_virtual_tokens": 200},
        {"name": "p-tuning-v2", "prefix_projection": True, "init": "zero"},
        {"name": "p-tuning-v2", "encoder_hidden_size": 4},
        {"name": "p-tuning-v2", "init_text": "good"},
        {"name": "p-tuning-v2", "layers": [0, 3]},
        {"name": "p-tuning-v2", "layers": [0, -3]},
        {"name": "p-tuning-v2", "layers": []},
        {"name": "p-tuning-v2", "num_virtual_tokens": 0},
        {"name": "prompt-tuning", "num_virtual_tokens": 96},
        {"name": "prompt-tuning", "nonsense": 1},
    ],
)
def test_settings_that_cannot_work_are_refused_in_words(settings):
    with pytest.raises(ForewordError):
        assembly = with_method(**settings)
        bank = Bank(shared("bert"))
        bank.put("own", assembly.method.compiled())
        hidden(bank, items(assembly, owner="own"))


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "prompt-tuning", "init": "random", "init_text": "good"},
        {"name": "p-tuning", "init_text": "good"},
        {"name": "p-tuning", "encoder_dropout": 0.5},
        {"name": "p-tuning", "encoder_num_layers": 3},
        {
            "name": "p-tuning",
            "encoder_reparameterization_type": "lstm",
            "encoder_num_layers": 1,
            "encoder_dropout": 0.5,
        },
        {"name": "p-tuning-v2", "init": "zero", "init_std": 0.5},
        {"name": "p-tuning-v2", "init": "text", "init_text": "good", "init_std": 0.5},
        {"name": "p-tuning-v2", "prefix_projection": True, "init_std": 0.5},
    ],
)
def test_nothing_is_accepted_and_ignored(settings):
    with pytest.raises(ConfigError):
        with_method(**settings)


@pytest.mark.parametrize("template", ["{soft:3} {text}", '{soft:"it was"} {text}', '{text} {soft} {soft:"it"}'])
@pytest.mark.parametrize("method", ["prompt-tuning", "p-tuning"])
def test_a_template_with_slots_decides_the_number_of_virtual_tokens(method, template):
    assembly = with_method(name=method, template=template)
    assert len(soft(assembly)) == assembly.reader.encoder.template.soft_count
    with pytest.raises(ConfigError, match="num_virtual_tokens"):
        with_method(name=method, template=template, num_virtual_tokens=9)


@pytest.mark.parametrize("method", ["hard", "linear-probe", "full", "p-tuning-v2"])
def test_methods_without_virtual_tokens_refuse_slots(method):
    with pytest.raises(Unsupported, match="no virtual tokens"):
        with_method(name=method, template="{soft:2} {text}", readout="verbalizer" if method == "hard" else "linear")


def test_layers_by_name_and_number():
    assert chosen_layers("all", 5) == (0, 1, 2, 3, 4)
    assert chosen_layers("top-half", 5) == (2, 3, 4)
    assert chosen_layers("bottom-half", 5) == (0, 1)
    assert chosen_layers([-1, 0], 5) == (0, 4)
    for wrong in ([5], [-6], [], [1, 1], [0, -5]):
        with pytest.raises(ConfigError, match="layers"):
            chosen_layers(wrong, 5)
    assert chosen_layers("all", 1) == chosen_layers("top-half", 1) == (0,)


def test_the_bottom_half_of_one_layer_is_refused():
    with pytest.raises(ConfigError):
        chosen_layers("bottom-half", 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_key_values_have_the_sizes_of_the_backbone(family):
    geometry = shared(family).geometry
    for method in ("v2-random", "v2-zero", "v2-projection"):
        made = make(family, method, None, backbone=shared(family)).method.compiled()
        assert made.key_values.layers == tuple(range(LAYERS))
        assert made.key_values.tensor.shape == (LAYERS, 2, geometry.kv_heads, 4, geometry.head_size)
        assert (made.cross is None) == (not geometry.cross_layers)
        if made.cross is not None:
            assert made.cross.layers == tuple(geometry.cross_layers)
            assert made.cross.tensor.shape == (len(made.cross.layers), 2, geometry.kv_heads, 4, geometry.head_size)
    assert make(family, "v2-layers", None, backbone=shared(family)).method.compiled().key_values.layers == (
        0,
        LAYERS - 1,
    )


@pytest.mark.parametrize(("families", "moves"), [(MASKED, False), (CAUSAL, True)])
def test_only_a_text_in_front_of_a_causal_model_moves_positions(families, moves):
    for family in families:
        text = make(family, "v2-text", None, backbone=shared(family)).method.compiled()
        assert text.position_offset == (text.key_values.length if moves else 0)
        assert make(family, "v2-random", None, backbone=shared(family)).method.compiled().position_offset == 0
        given = with_method(family, name="p-tuning-v2", init="text", init_text="it was", position_offset=1)
        assert given.method.compiled().position_offset == 1


def test_a_text_longer_or_shorter_than_asked_is_cut_or_repeated():
    for family in ("bert", "llama"):
        for length in (1, 9):
            made = with_method(family, name="p-tuning-v2", init="text", init_text="it was", num_virtual_tokens=length)
            assert made.method.compiled().key_values.length == length


def test_dropout_on_key_values_acts_in_training_only():
    assembly = with_method(name="p-tuning-v2", dropout=0.5, num_virtual_tokens=8)
    table = assembly.method.table.detach()
    assembly.method.eval()
    assert torch.equal(assembly.method.compiled().key_values.tensor.detach(), table)
    assembly.method.train()
    made = assembly.method.compiled().key_values.tensor.detach()
    dropped = made == 0
    assert 0.3 < float(dropped.float().mean()) < 0.7
    close([made[~dropped]], [table[~dropped] * 2])


def test_worked_examples_come_from_training_rows_labels_in_turn():
    assembly = make("bert", "hard-2-shot", "words", backbone=shared("bert"))
    shown = assembly.reader.encoder.demonstrations
    assert len(shown) == 2 and len({word for _, word in shown}) == 2
    with pytest.raises(ConfigError, match="worked examples"):
        make("bert", "hard-2-shot", "words", backbone=shared("bert"), rows=())


def test_worked_examples_need_no_mask_in_the_template():
    """As without any: the label words' place is put at the end."""
    words = {"name": "verbalizer", "words": {"bad": "bad", "good": "good"}}
    for family in ("bert", "gpt2"):
        for method in ("hard", "hard-2-shot"):
            assert make(family, method, words, backbone=shared(family)).reader.encoder.template.has_mask


def test_a_template_error_names_the_template():
    with pytest.raises(TemplateError):
        with_method(name="prompt-tuning", template="{nonsense}")


def test_a_label_without_a_word_is_refused_in_words_with_worked_examples_too():
    words = {"name": "verbalizer", "words": {"bad": [], "good": ["good"]}}
    for method in ("hard", "hard-2-shot"):
        with pytest.raises(TemplateError, match="has no word"):
            make("bert", method, words, backbone=shared("bert"), template="{text} {mask}")
