"""Encoder-decoders: against transformers' own, and key/values in each of their three places against plain attention."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration, T5Config, T5ForConditionalGeneration
from transformers.masking_utils import AttentionMaskInterface, eager_mask
from transformers.modeling_utils import AttentionInterface

from foreword.artifacts import storage
from foreword.backbone.backbone import Backbone
from foreword.bank import Bank
from foreword.batch import Item, collate
from foreword.errors import ConfigError, Unsupported
from foreword.injections import Injection, KeyValues, SoftTokens
from foreword.text.rows import as_row
from support import tokenizers
from support.backbones import TWO_STACKS, bare, shared
from support.folders import model_folder, settings, write_rows
from support.forewords import LABELS, ROWS, bank_of, close, hidden, items, loud, make, scores, short_words

TEXTS = ([5, 6, 7, 8, 9, 10, 11], [12, 13, 14], [15, 16, 17, 18, 19])
ANSWERS = ([20, 21, 22], [23], [24, 25, 26, 27])


def deep(family: str) -> Any:
    """Stacks of three and two layers: relative distances are shared by all layers of one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        if family == "t5":
            config = T5Config(
                vocab_size=60, d_model=16, d_kv=3, d_ff=24, num_heads=4, num_layers=3, num_decoder_layers=2,
                relative_attention_num_buckets=8, relative_attention_max_distance=12, feed_forward_proj="gated-gelu",
                tie_word_embeddings=False, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
            )  # fmt: skip
            model: Any = T5ForConditionalGeneration(config)
        else:
            config = BartConfig(
                vocab_size=60, d_model=16, encoder_layers=3, decoder_layers=2, encoder_attention_heads=4,
                decoder_attention_heads=4, encoder_ffn_dim=24, decoder_ffn_dim=20, max_position_embeddings=40,
                scale_embedding=True, pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2,
            )  # fmt: skip
            model = BartForConditionalGeneration(config)
        for parameter in model.parameters():
            parameter.data.normal_(0, 0.5)
    return model.eval()


def backbone_of(family: str) -> tuple[Backbone, Any]:
    tokenizer = tokenizers.t5_tokenizer() if family == "t5" else tokenizers.roberta_tokenizer()
    return Backbone(deep(family), tokenizer, "encoder-decoder", family), deep(family)


def batch_of(backbone: Backbone, owner: str | None = None) -> Any:
    start = backbone.decoder_start
    rows = [as_row(text, (start, *answer)) for text, answer in zip(TEXTS, ANSWERS, strict=True)]
    return collate([Item((row,), owner) for row in rows], backbone.pad_id)


def by_hand(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling=None, position_bias=None, **kwargs: Any
) -> Any:
    """Attention as the papers write it, over the module's prefix, which has no distance to anything, and the rest."""
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = query @ key.transpose(-1, -2) * scaling
    if position_bias is not None:
        scores = scores + position_bias
    if attention_mask is not None:
        scores = scores + attention_mask
    if (prefix := getattr(module, "prefix", None)) is not None:
        keys, values = (part.expand(key.shape[0], -1, -1, -1) for part in prefix)
        scores = torch.cat([query @ keys.transpose(-1, -2) * scaling, scores], -1)
        value = torch.cat([values, value], 2)
    return (scores.softmax(-1) @ value).transpose(1, 2), None


def attentions(model: Any, place: str) -> list[Any]:
    """The attention modules of one place, layer by layer."""
    stack = model.get_encoder() if place == "encoder" else model.get_decoder()
    ends = ("EncDecAttention", "encoder_attn") if place == "cross" else ("SelfAttention", "self_attn")
    return [module for name, module in stack.named_modules() if name.endswith(ends)]


@pytest.mark.parametrize("places", [("encoder",), ("decoder",), ("cross",), ("encoder", "decoder", "cross")], ids=str)
@pytest.mark.parametrize("family", TWO_STACKS)
def test_key_values_in_each_place_equal_attention_written_out(family, places, law):
    AttentionInterface.register("by_hand_twice", by_hand)
    AttentionMaskInterface.register("by_hand_twice", eager_mask)
    backbone, model = backbone_of(family)
    geometry = backbone.geometry
    assert (geometry.layers, geometry.encoder_layers, list(geometry.cross_layers)) == (5, 3, [3, 4])
    chance = torch.Generator().manual_seed(2)
    shape = (2, geometry.kv_heads, 3, geometry.head_size)
    tables = {place: torch.randn(3 if place == "encoder" else 2, *shape, generator=chance) for place in places}
    own, numbers = [tables[p] for p in ("encoder", "decoder") if p in tables], {"encoder": (0, 1, 2), "decoder": (3, 4)}
    layers = tuple(layer for p in ("encoder", "decoder") if p in tables for layer in numbers[p])
    key_values = KeyValues(layers, torch.cat(own)) if own else None
    cross = KeyValues((3, 4), tables["cross"]) if "cross" in tables else None
    bank = Bank(backbone)
    bank.put("own", Injection(key_values=key_values, cross=cross))
    model.set_attn_implementation("by_hand_twice")
    for place, table in tables.items():
        for module, layer in zip(attentions(model, place), table, strict=True):
            module.prefix = layer[:, None]
    batch = batch_of(backbone, "own")
    encoder, decoder = slice(0, batch.border), slice(batch.border, None)
    with torch.no_grad():
        expected = model(
            input_ids=batch.ids[:, encoder], attention_mask=batch.mask[:, encoder],
            decoder_input_ids=batch.ids[:, decoder], decoder_attention_mask=batch.mask[:, decoder],
        )  # fmt: skip
        found = bank.hidden(batch)
        logits = backbone.logits(found[:, decoder])
        bare_ones = Bank(backbone).hidden(batch_of(backbone))
    for states, theirs, part in (
        (found[:, encoder], expected.encoder_last_hidden_state, encoder),
        (logits, expected.logits, decoder),
    ):
        real = batch.mask[:, part].bool()
        close([states[real]], [theirs[real]], 2e-5 * float(theirs.abs().max()))
    changed = [
        (found[:, part] - bare_ones[:, part])[batch.mask[:, part].bool()].abs().max() > 1e-2
        for part in (encoder, decoder)
    ]
    assert changed == ["encoder" in places, True]
    law(8)


@pytest.mark.parametrize("family", TWO_STACKS)
def test_rows_without_a_foreword_are_the_bare_model_bit_for_bit(family, law):
    backbone, model = backbone_of(family)
    for chosen in (slice(0, 3), slice(0, 1)):
        batch = batch_of(backbone).select(list(range(3))[chosen])
        border = batch.border
        with torch.no_grad():
            expected = model(
                input_ids=batch.ids[:, :border], attention_mask=batch.mask[:, :border],
                decoder_input_ids=batch.ids[:, border:], decoder_attention_mask=batch.mask[:, border:],
            )  # fmt: skip
            found = Bank(backbone).hidden(batch)
        assert torch.equal(found[:, :border], expected.encoder_last_hidden_state)
        assert torch.equal(backbone.logits(found[:, border:]), expected.logits)
    law(1)


@pytest.mark.parametrize("family", TWO_STACKS)
def test_the_loss_is_transformers_own(family):
    from foreword.evaluation.writing import token_loss

    rows = ({"source": "The film was great.", "translation": ("it was wonderful",)},
            {"source": "A boring and awful movie", "translation": ("not good, not good",)})  # fmt: skip
    assembly = make(family, "hard", {"name": "lm"}, backbone=shared(family), rows=rows, labels=(), task="translation",
                    template="{source} means{mask}")  # fmt: skip
    model, tokenizer = bare(family), assembly.backbone.tokenizer
    total, count = 0.0, 0
    for row in rows:
        labels = torch.tensor([tokenizer(row["translation"][0])["input_ids"]])
        start = len(assembly.reader.encoder.begun) - 1  # BART's <s> is given, and no label
        ids = torch.tensor([tokenizer(row["source"] + " means")["input_ids"]])
        given = torch.cat([torch.tensor([[assembly.backbone.decoder_start]]), labels[:, :-1]], 1)
        with torch.no_grad():
            loss = model(input_ids=ids, decoder_input_ids=given, labels=labels[:, :].masked_fill(
                torch.arange(labels.shape[1]) < start, -100)).loss  # fmt: skip
        total, count = total + float(loss) * (labels.shape[1] - start), count + labels.shape[1] - start
    own = items(assembly, rows)
    assert token_loss(bank_of({"run": assembly}), own, 400) == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize("family", TWO_STACKS)
def test_an_initial_text_gives_what_it_gives_in_the_stacks(family, law):
    """In the encoder and where the decoder attends to it: the keys and values of the text among the encoder's own."""
    assembly = make(family, "v2-text", "last", backbone=shared(family))
    backbone, tokenizer = assembly.backbone, assembly.backbone.tokenizer
    ids = tokenizer(assembly.config.method.init_text)["input_ids"]
    ahead = len(assembly.reader.encoder.begun) - 1
    injection = assembly.method.compiled()
    length = injection.key_values.length
    model, seen = bare(family), []
    for place in ("encoder", "decoder", "cross"):
        for module in attentions(model, place):
            values = module.v if family == "t5" else module.v_proj
            values.register_forward_hook(lambda module, given, out, place=place: seen.append((place, out)))
    answer = [
        *assembly.reader.encoder.begun,
        *tokenizer(assembly.config.method.init_text, add_special_tokens=False)["input_ids"],
    ]
    with torch.no_grad():
        model(input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([answer]))
    heads = (backbone.geometry.kv_heads, backbone.geometry.head_size)
    found = {"encoder": [], "decoder": [], "cross": list(injection.cross.tensor)}
    for layer, table in zip(injection.key_values.layers, injection.key_values.tensor, strict=True):
        found["decoder" if layer in backbone.geometry.cross_layers else "encoder"].append(table)
    for place, out in seen:
        first = ahead + 1 if place == "decoder" else ahead
        values = out[0, first : first + length].view(length, *heads).transpose(0, 1)
        close([found[place].pop(0)[1].detach()], [values], 1e-5)
    assert not any(found.values()) and injection.position_offset == 0
    law(5)


def test_padding_stands_behind_each_part():
    backbone = shared("bart")
    batch = batch_of(backbone)
    assert batch.border == 7 and batch.ids.shape == (3, 12)
    assert batch.mask.tolist() == [
        [1] * 7 + [1] * 4 + [0], [1] * 3 + [0] * 4 + [1] * 2 + [0] * 3, [1] * 5 + [0] * 2 + [1] * 5,
    ]  # fmt: skip
    assert batch.positions[1].tolist()[:3] == [0, 1, 2] and batch.positions[1].tolist()[7:9] == [0, 1]
    assert batch.last.tolist() == [10, 8, 11]
    left = collate([Item((as_row(TEXTS[1], ANSWERS[0]),))] * 2, backbone.pad_id, "left")
    assert left.border == 3


@pytest.mark.parametrize("family", TWO_STACKS)
def test_what_does_not_fit_is_refused(family):
    backbone = shared(family)
    geometry = backbone.geometry
    table = torch.zeros(1, 2, geometry.kv_heads, 2, geometry.head_size)
    bank = Bank(backbone)
    with pytest.raises(ConfigError, match="attention of layers .0,. to an encoder"):
        bank.put("own", Injection(cross=KeyValues((0,), table)))
    with pytest.raises(ConfigError, match="moves positions"):
        bank.put("own", Injection(key_values=KeyValues((0,), table), position_offset=2))
    with pytest.raises(ConfigError, match="attention of layers .1,. to an encoder.*or none|are none"):
        Bank(shared("bert")).put("own", Injection(cross=KeyValues((1,), table)))


@pytest.mark.parametrize("family", TWO_STACKS)
def test_the_encoder_is_seen_alike_whatever_the_decoder_holds(family):
    backbone = shared(family)
    rows = [Item((as_row(TEXTS[0], ANSWERS[n]),)) for n in range(3)]
    states = hidden(Bank(backbone), rows)
    close([one[:7] for one in states], [states[0][:7]] * 3)


KEPT = ("hard", "linear-probe", "full", "prompt-middle", "v2-random", "v2-cross", "v2-top", "lora-all", "combined")


@pytest.mark.parametrize("method", [m if m == "v2-random" else pytest.param(m, marks=pytest.mark.slow) for m in KEPT])
@pytest.mark.parametrize("family", TWO_STACKS)
def test_what_is_saved_answers_as_before(family, method, law, tmp_path):
    readout = "last" if method == "linear-probe" else "long-words"
    assembly = make(family, method, readout, backbone=shared(family))
    rows, bank = items(assembly, owner="own"), bank_of({"own": assembly})
    before = scores(bank, rows)
    artifact = storage.read(storage.save(assembly, tmp_path / "kept", "own"))
    assert artifact.manifest.backbone.kind == "encoder-decoder"
    reader = artifact.attach(shared(family))
    again = [reader.item(row, "own") for row in ROWS]
    assert [item.rows for item in again] == [item.rows for item in rows]
    bank.put("own", artifact.injection, reader.readout)
    assert all(torch.equal(one, other) for one, other in zip(scores(bank, again), before, strict=True))
    law(7)


@pytest.mark.parametrize("family", TWO_STACKS)
def test_places_are_chosen_and_what_does_not_go_together_is_refused(family, law):
    def layers(**settings):
        assembly = make(
            family, {"name": "p-tuning-v2", "num_virtual_tokens": 2, **settings}, "last", backbone=shared(family)
        )
        injection = assembly.method.compiled()
        return [() if table is None else table.layers for table in (injection.key_values, injection.cross)]

    decoder = tuple(shared(family).geometry.cross_layers)
    encoder = tuple(layer for layer in range(3) if layer not in decoder)
    assert layers() == [(0, 1, 2), decoder]
    assert layers(places=["encoder"]) == [encoder, ()]
    assert layers(places=["decoder"]) == [decoder, ()]
    assert layers(places=["cross"]) == [(), decoder]
    assert layers(places=["cross", "encoder"]) == [encoder, decoder]
    assert layers(layers=[0, -1]) == [(0, 2), (2,)]
    assert layers(layers=[0]) == [(0,), ()]
    with pytest.raises(ConfigError, match="places names cross, and layers leaves none for it"):
        layers(places=["encoder", "cross"], layers=[0])
    with pytest.raises(ConfigError, match="position_offset: 2"):
        layers(position_offset=2)
    with pytest.raises(Unsupported, match="bert has one stack"):
        make("bert", {"name": "p-tuning-v2", "places": ["encoder"]}, "last", backbone=shared("bert"))
    law(10)


@pytest.mark.parametrize("family", TWO_STACKS)
def test_key_values_with_and_without_cross_share_a_batch(family, law):
    """Every choice of places, of several lengths, beside rows of none."""
    choices = [["encoder"], ["decoder"], ["cross"], ["encoder", "cross"], ["encoder", "decoder", "cross"]]
    made = {}
    for n, places in enumerate(choices):
        method = {"name": "p-tuning-v2", "num_virtual_tokens": n + 1, "places": places, "init_std": 0.5}
        made[str(n)] = loud(make(family, method, "long-words", backbone=shared(family), seed=n))
    bank = bank_of(made)
    rows = [item for name, assembly in made.items() for item in items(assembly, ROWS[int(name) :][:2], name)]
    close(scores(bank, rows), [scores(bank, [row])[0] for row in rows])
    plain = [Item(rows[0].rows), *rows, Item(rows[5].rows)]
    close(hidden(bank, plain), [state for row in plain for state in hidden(bank, [row])])
    law(4)


@pytest.mark.parametrize("family", TWO_STACKS)
def test_a_run_from_data_to_answers(family, tmp_path, law):
    """As a user has it: a folder with a model, rows in a file, a run, an artifact that predicts."""
    from foreword import api

    labelled = [{"text": row["text"], "label": LABELS[row["label"]]} for row in ROWS]
    data = write_rows(tmp_path / "rows.jsonl", labelled * 2)
    folder = model_folder(tmp_path / "model", family)
    words = {"name": "verbalizer", "words": {label: [word] for label, word in short_words(family).items()}}
    run = settings(folder, data, readout=words, template={"text": "{text} It was {mask}", "max_length": 48})
    api.train(run, folder=tmp_path / "run")
    plan = json.loads((tmp_path / "run" / "result.json").read_text())["plan"]
    assert "two stacks" in plan["route"] and plan["reads"] == "the decoder is run for the answer alone"
    assert plan["gradient_layers"] == [0, 2] and plan["logits"].startswith("of the label words alone")
    model = api.load(tmp_path / "run" / "artifact")
    assert [made.label in LABELS for made in model.predict(["The film was great.", "boring"])] == [True, True]
    law(7)


def test_virtual_tokens_begin_at_words_as_the_model_has_them():
    """BART may scale its table on the way out: at the bare numbers a token would be no word."""
    backbone, _ = backbone_of("bart")
    assert backbone.embedding.embed_scale == 4.0
    ids = torch.arange(4, 8)
    assert torch.equal(backbone.words[ids], backbone.embed(ids))
    injection = Injection(soft=SoftTokens(backbone.words[ids].detach()))
    bank = Bank(backbone)
    bank.put("own", injection)
    start = backbone.decoder_start
    row = as_row((5, 1, 1, 1, 1, 6), (start, 7))
    soft = replace(row, soft=(-1, 0, 1, 2, 3, -1, -1, -1))
    plain = as_row((5, 4, 5, 6, 7, 6), (start, 7))
    close(hidden(bank, [Item((soft,), "own")]), hidden(bank, [Item((plain,))]), 1e-5)


def test_a_decoder_that_begins_with_nothing_is_refused():
    model = deep("t5")
    model.config.decoder_start_token_id = model.generation_config.decoder_start_token_id = None
    with pytest.raises(Unsupported, match="names no token for its decoder to begin with"):
        Backbone(model, tokenizers.t5_tokenizer(), "encoder-decoder", "mine")
