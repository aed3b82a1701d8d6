from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import foreword
from foreword import api
from foreword.artifacts import storage
from foreword.artifacts.manifest import read_manifest
from foreword.backbone.backbone import Backbone
from foreword.errors import ArtifactError
from support.backbones import tiny
from support.folders import settings

TEXTS = ["a fine story and a good cat", "the sad dog hates the bad day"]
METHODS: list[Any] = [
    {"name": "prompt-tuning", "num_virtual_tokens": 4},
    {"name": "p-tuning", "num_virtual_tokens": 3, "encoder_reparameterization_type": "lstm"},
    {"name": "p-tuning-v2", "num_virtual_tokens": 3, "layers": [0, -1]},
    {"name": "p-tuning-v2", "num_virtual_tokens": 3, "prefix_projection": True},
    "linear-probe",
    "full",
    {"name": "lora", "lora_dropout": 0.1},
    "ia3",
    "bitfit",
    {"name": "adapter", "config": "parallel", "layer_norm": "before", "scale": "learned", "dropout": 0.1},
    {"name": "adapter", "config": "compacter", "bottleneck_size": 8},
    {"name": "combined", "parts": [{"name": "p-tuning-v2", "num_virtual_tokens": 3}, {"name": "lora"}]},
]


@pytest.fixture
def trained(bert_folder: Path, data_file: Path, tmp_path: Path) -> api.Result:
    return foreword.train(settings(bert_folder, data_file), folder=tmp_path / "run")


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_law_7_what_is_loaded_is_bit_equal(
    method: Any,
    bert_folder: Path,
    data_file: Path,
    tmp_path: Path,
) -> None:
    made = foreword.train(settings(bert_folder, data_file, method=method), folder=tmp_path / "run")
    again = foreword.load(tmp_path / "run" / "artifact")
    ours, theirs = made.foreword.predict(TEXTS), again.predict(TEXTS)
    assert ours == theirs
    assert made.foreword.manifest.parameters["stored"] == _stored(tmp_path / "run" / "artifact")


def test_law_7_a_hard_prompt_with_examples_is_bit_equal(
    gpt2_folder: Path,
    data_file: Path,
    tmp_path: Path,
) -> None:
    words = {"good": "good", "bad": "bad people"}
    changes = {
        "method": {"name": "hard", "shots": 2},
        "readout": {"name": "verbalizer", "words": words},
        "template": {"text": "{text} is {mask}"},
    }
    made = foreword.train(settings(gpt2_folder, data_file, **changes), folder=tmp_path / "run")
    assert made.foreword.predict(TEXTS) == foreword.load(tmp_path / "run" / "artifact").predict(TEXTS)
    assert made.record["parameters"]["trained"] == 0
    assert made.record["train"]["steps"] == 0


def _stored(folder: Path) -> int:
    tensors = load_file(folder / "weights.safetensors")
    return sum(t.numel() for name, t in tensors.items() if name != "injection.key_values.layers")


def test_evaluating_the_loaded_one_gives_the_recorded_scores(trained: api.Result) -> None:
    assert trained.folder is not None
    again = foreword.load(trained.folder / "artifact")
    scored = again.evaluate(api.data_for(again, None).rows("test"))
    assert scored.metrics == trained.scored["test"].metrics
    assert scored.predictions == trained.record["test"]["predictions"]


def test_another_backbone_is_refused(trained: api.Result, gpt2_folder: Path) -> None:
    assert trained.folder is not None
    other = tiny("bert")
    with torch.no_grad():
        next(iter(other.trunk.parameters())).add_(1e-3)
    with pytest.raises(ArtifactError, match="was made for"):
        foreword.load(trained.folder / "artifact", backbone=Backbone(other.detach(), other.tokenizer, "masked", "x"))


def _folder(trained: api.Result) -> Path:
    assert trained.folder is not None
    return trained.folder / "artifact"


def test_a_truncated_file_is_told(trained: api.Result) -> None:
    path = _folder(trained) / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ArtifactError, match="sha256"):
        storage.read(_folder(trained))


def test_a_truncated_file_with_a_matching_hash_is_told(trained: api.Result) -> None:
    path = _folder(trained) / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    _rewrite_hash(_folder(trained))
    with pytest.raises(ArtifactError, match="cannot be read"):
        storage.read(_folder(trained))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_told(trained: api.Result, value: float) -> None:
    path = _folder(trained) / "weights.safetensors"
    tensors = load_file(path)
    tensors["injection.key_values"].view(-1)[3] = value
    save_file(tensors, path)
    _rewrite_hash(_folder(trained))
    with pytest.raises(ArtifactError, match="NaN or infinite"):
        storage.read(_folder(trained))


def test_a_tensor_of_another_shape_is_told(trained: api.Result) -> None:
    path = _folder(trained) / "weights.safetensors"
    tensors = load_file(path)
    tensors["injection.key_values"] = tensors["injection.key_values"][:, :, :, :-1].contiguous()
    save_file(tensors, path)
    _rewrite_hash(_folder(trained))
    with pytest.raises(ArtifactError, match="disagree about injection.key_values"):
        storage.read(_folder(trained))


def _rewrite_hash(folder: Path) -> None:
    values = json.loads((folder / "foreword.json").read_text(encoding="utf-8"))
    values["weights_sha256"] = storage.hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    (folder / "foreword.json").write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v | {"schema_version": 99}, "newer foreword"),
        (lambda v: v | {"extra": 1}, "extra"),
        (lambda v: {k: x for k, x in v.items() if k != "labels"}, "labels"),
        (lambda v: v | {"method": 3}, "method"),
        (lambda v: v | {"backbone": v["backbone"] | {"fingerprint": "short"}}, "fingerprint"),
    ],
)
def test_a_foreign_manifest_is_told(trained: api.Result, change: Any, message: str) -> None:
    path = _folder(trained) / "foreword.json"
    path.write_text(json.dumps(change(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")
    with pytest.raises(ArtifactError, match=message):
        storage.read(_folder(trained))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe\x00", b"null"])
def test_a_broken_manifest_is_told(trained: api.Result, content: bytes) -> None:
    (_folder(trained) / "foreword.json").write_bytes(content)
    with pytest.raises(ArtifactError, match="foreword.json"):
        read_manifest(_folder(trained))


def test_missing_weights_are_told(trained: api.Result) -> None:
    (_folder(trained) / "weights.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"no weights\.safetensors"):
        storage.read(_folder(trained))


def test_a_folder_that_is_no_artifact_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no foreword here"):
        foreword.load(tmp_path)


def test_a_broken_artifact_is_told_before_a_model_is_loaded(
    trained: api.Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(api, "load_backbone", fail)
    (_folder(trained) / "weights.safetensors").unlink()
    with pytest.raises(ArtifactError):
        foreword.load(_folder(trained))


def test_a_write_that_fails_leaves_the_old_artifact(trained: api.Result, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _folder(trained)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "save_file", full)
    reader = trained.foreword.reader
    prepared = api.prepare(api.configs.load(folder.parent / "run.yaml"), trained.foreword.bank.backbone)
    with pytest.raises(ArtifactError, match="No space left"):
        storage.save(prepared.assembly, folder, "again")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert sorted(os.listdir(folder.parent)) == sorted({p.name for p in folder.parent.iterdir()})
    assert not [name for name in os.listdir(folder.parent) if name.startswith(".artifact")]
    assert reader.labels == ("bad", "good")


def test_the_card_says_what_it_is(trained: api.Result) -> None:
    card = (_folder(trained) / "README.md").read_text(encoding="utf-8")
    for expected in ("p-tuning-v2", "bad, good", "foreword.load", f"{trained.record['test']['accuracy']:.4f}"):
        assert expected in card
