"""Loading by name and folder, and what is refused by name."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoConfig

from foreword.backbone import loading
from foreword.backbone.loading import BERT_FIELDS, kind_of, load, load_tokenizer
from foreword.errors import BackboneError, Unsupported
from support.backbones import FAMILIES, bare, kind, shared


@pytest.mark.parametrize("name", ["t5gemma", "mbart", "umt5", "longt5", "pegasus", "marian"])
def test_other_encoder_decoders_are_refused_by_name(name):
    with pytest.raises(Unsupported, match=rf"mine.*family {name} are not supported"):
        kind_of(SimpleNamespace(model_type=name, is_encoder_decoder=True), "mine")


@pytest.mark.parametrize("family", ["vit", "clip", "whisper"])
def test_models_of_other_things_are_refused_by_name(family):
    with pytest.raises(Unsupported, match=f"mine.*{family}"):
        kind_of(AutoConfig.for_model(family), "mine")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_kind_comes_from_the_architecture(family):
    config = bare(family).config
    config.architectures = [type(bare(family)).__name__]
    assert kind_of(config, family) == kind(family)
    config.architectures = None
    assert kind_of(config, family) == kind(family)


def test_an_encoder_that_was_trained_as_a_decoder_is_causal():
    config = bare("bert").config
    config.architectures = ["BertLMHeadModel"]
    assert kind_of(config, "mine") == "causal"
    assert kind_of(SimpleNamespace(model_type="bert", architectures=["BertModel"]), "mine") == "masked"


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2", "llama", "t5", "bart"])
def test_a_saved_model_loads_as_it_was(tmp_path, family):
    bare(family).save_pretrained(tmp_path)
    shared(family).tokenizer.save_pretrained(tmp_path)
    backbone = load(str(tmp_path))
    assert backbone.kind == kind(family)
    assert backbone.fingerprint == shared(family).fingerprint
    assert backbone.refusals == shared(family).refusals
    assert backbone.decoder_start == shared(family).decoder_start
    assert backbone.tokenizer.pad_token_id is not None
    assert backbone.geometry == shared(family).geometry


def test_a_checkpoint_without_a_head_loads_and_refuses_label_words(tmp_path):
    bare("bert").bert.save_pretrained(tmp_path)
    shared("bert").tokenizer.save_pretrained(tmp_path)
    backbone = load(str(tmp_path))
    assert backbone.fingerprint == shared("bert").fingerprint
    with pytest.raises(Unsupported, match="no language-model head"):
        backbone.require("head")


def test_an_incomplete_trunk_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    bare("bert").save_pretrained(tmp_path)
    shared("bert").tokenizer.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    lost = next(name for name in tensors if "encoder.layer.1" in name)
    save_file({name: t for name, t in tensors.items() if name != lost}, path, {"format": "pt"})
    with pytest.raises(BackboneError, match="lacks weights"):
        load(str(tmp_path))


@pytest.mark.parametrize("broken", ["config.json", "model.safetensors"])
def test_a_broken_folder_is_refused_in_words(tmp_path, broken):
    bare("bert").save_pretrained(tmp_path)
    shared("bert").tokenizer.save_pretrained(tmp_path)
    (tmp_path / broken).write_bytes(b"{")
    with pytest.raises(BackboneError, match="cannot load"):
        load(str(tmp_path))


def test_googles_first_bert_checkpoints_load(tmp_path):
    """`prajjwal1/bert-tiny` is one: no model_type, no tokenizer.json, and weights that torch pickled."""
    config = {name: getattr(bare("bert").config, name) for name in (*BERT_FIELDS, "max_position_embeddings")}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    torch.save(bare("bert").state_dict(), tmp_path / "pytorch_model.bin")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s"]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    backbone = load(str(tmp_path))
    assert backbone.kind == "masked"
    assert torch.equal(backbone.embedding.weight, shared("bert").embedding.weight)
    for tokenizer in (backbone.tokenizer, load_tokenizer(str(tmp_path))):
        assert tokenizer.convert_ids_to_tokens(tokenizer("The cats")["input_ids"]) == [
            "[CLS]",
            "the",
            "cat",
            "##s",
            "[SEP]",
        ]


def test_what_is_fetched_from_the_hub_is_told(tmp_path, monkeypatch, capsys):
    def away(source):
        raise OSError("no network here")

    monkeypatch.setattr(loading, "read_config", away)
    bare("bert").save_pretrained(tmp_path)
    for name, told in (("org/none", "fetching org/none from the hub"), (str(tmp_path), "")):
        with pytest.raises(BackboneError, match="no network here"):
            load(name)
        assert told in capsys.readouterr().err if told else not capsys.readouterr().err


def test_a_config_of_no_known_form_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"hidden_size": 8}', encoding="utf-8")
    for reader in (load, load_tokenizer):
        with pytest.raises(BackboneError, match="cannot load the model .*model_type"):
            reader(str(tmp_path))


def test_loading_in_half_precision_keeps_the_type(tmp_path):
    bare("gpt2").save_pretrained(tmp_path)
    shared("gpt2").tokenizer.save_pretrained(tmp_path)
    assert load(str(tmp_path), dtype=torch.bfloat16).embedding.weight.dtype == torch.bfloat16
