"""`init_from`: a run that begins where another ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import foreword
from foreword import api
from foreword.artifacts.storage import read
from foreword.backbone.loading import load as load_backbone
from foreword.errors import ArtifactError, ConfigError, Unsupported
from foreword.injections import Injection
from foreword.inspection import Subject
from support.backbones import bare, tiny
from support.folders import settings

PROMPT = {"name": "prompt-tuning", "num_virtual_tokens": 4}
V2 = {"name": "p-tuning-v2", "num_virtual_tokens": 3}
METHODS: list[Any] = [
    PROMPT,
    V2,
    {"name": "p-tuning-v2", "num_virtual_tokens": 3, "prefix_projection": True, "encoder_hidden_size": 8},
    {"name": "p-tuning", "num_virtual_tokens": 3, "encoder_reparameterization_type": "lstm"},
    {"name": "lora", "r": 2},
    {"name": "combined", "parts": [V2, {"name": "ia3"}]},
]


def source(bert_folder: Path, data_file: Path, place: Path, method: Any) -> Path:
    foreword.train(settings(bert_folder, data_file, method=method), folder=place)
    return place / "artifact"


def begun(bert_folder: Path, data_file: Path, method: Any, start: Any, **more: Any) -> api.Prepared:
    values = settings(bert_folder, data_file, method=method, init_from=start, seed=5)
    return api.prepare(api.as_config({**values, **more}))


def same(one: Injection, other: Injection) -> bool:
    ours, theirs = one.tensors(), other.tensors()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: f"{m['name']}{len(m)}")
def test_a_run_begins_where_the_other_ended(method, bert_folder, data_file, tmp_path):
    start = source(bert_folder, data_file, tmp_path / "a", method)
    made = begun(bert_folder, data_file, method, str(start))
    assert same(made.assembly.method.at_rest(), read(start).injection)
    fresh = begun(bert_folder, data_file, method, None)
    assert not same(fresh.assembly.method.at_rest(), read(start).injection)
    assert torch.equal(made.assembly.readout.weight, fresh.assembly.readout.weight), "the readout is the run's own"


def test_where_it_began_is_known_only_while_the_artifact_is_the_same(bert_folder, data_file, tmp_path):
    start = source(bert_folder, data_file, tmp_path / "a", V2)
    before = read(start)
    values = settings(bert_folder, data_file, method=V2, init_from=str(start), seed=5)
    run = foreword.train(values, folder=tmp_path / "b")
    assert run.record["config"]["init_from"]["sha256"] == before.manifest.weights_sha256
    subject = Subject(foreword.load(tmp_path / "b" / "artifact"))
    assert same(subject.initial, before.injection)
    foreword.train(settings(bert_folder, data_file, method=V2, seed=9), folder=tmp_path / "a", overwrite=True)
    with pytest.raises(Unsupported, match="other weights"):
        _ = Subject(foreword.load(tmp_path / "b" / "artifact")).initial
    with pytest.raises(ConfigError, match="other weights"):
        api.prepare(api.as_config(tmp_path / "b" / "run.yaml"))


def test_the_readout_comes_along_where_it_is_asked_for(bert_folder, data_file, tmp_path):
    start = source(bert_folder, data_file, tmp_path / "a", V2)
    made = begun(bert_folder, data_file, V2, {"artifact": str(start), "readout": True})
    assert torch.equal(made.assembly.readout.weight, read(start).readout["weight"])
    with pytest.raises(ConfigError, match="reads by linear"):
        begun(bert_folder, data_file, V2, {"artifact": str(start), "readout": True}, readout="verbalizer")
    with pytest.raises(ConfigError, match="labels are"):
        swapped = {"source": str(data_file), "labels": ["good", "bad"], "split": {"validation": 0.25, "test": 0.25}}
        begun(bert_folder, data_file, V2, {"artifact": str(start), "readout": True}, data=swapped)


def test_compiled_tokens_go_from_one_method_to_another(bert_folder, data_file, tmp_path):
    start = source(bert_folder, data_file, tmp_path / "a", {"name": "p-tuning", "num_virtual_tokens": 4})
    made = begun(bert_folder, data_file, PROMPT, str(start))
    assert same(made.assembly.method.at_rest(), read(start).injection)
    start = source(bert_folder, data_file, tmp_path / "b", PROMPT)
    residual = {"name": "p-tuning", "num_virtual_tokens": 4, "residual": True}
    made = begun(bert_folder, data_file, residual, str(start))
    assert same(made.assembly.method.at_rest(), read(start).injection)
    with pytest.raises(ConfigError, match="residual: true"):
        begun(bert_folder, data_file, {"name": "p-tuning", "num_virtual_tokens": 4}, str(start))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"name": "prompt-tuning", "num_virtual_tokens": 5}, "num_virtual_tokens: 4"),
        (V2, "nothing to take over"),
        ("full", "full cannot begin"),
    ],
)
def test_what_does_not_fit_is_told_before_a_model_is_loaded(
    method, message, bert_folder, data_file, tmp_path, monkeypatch
):
    start = source(bert_folder, data_file, tmp_path / "a", PROMPT)

    def never(name):
        raise AssertionError(f"{name} was loaded")

    monkeypatch.setattr(api, "load_backbone", never)
    with pytest.raises(ConfigError, match=message):
        begun(bert_folder, data_file, method, str(start))
    with pytest.raises(ArtifactError, match="no foreword here"):
        begun(bert_folder, data_file, PROMPT, str(tmp_path / "nowhere"))


def test_other_shapes_and_other_backbones_are_refused(bert_folder, data_file, tmp_path):
    start = source(bert_folder, data_file, tmp_path / "a", V2)
    with pytest.raises(ConfigError, match="layers, widths"):
        begun(bert_folder, data_file, {**V2, "layers": [0]}, str(start))
    two = source(bert_folder, data_file, tmp_path / "two", {**V2, "layers": [0, 1]})
    with pytest.raises(ConfigError, match="something else"):
        begun(bert_folder, data_file, {**V2, "layers": [1, 2]}, str(two))
    lora = source(bert_folder, data_file, tmp_path / "lora", {"name": "lora", "r": 2})
    with pytest.raises(ConfigError, match="something else"):
        begun(bert_folder, data_file, {"name": "lora", "r": 2, "lora_alpha": 16}, str(lora))
    with pytest.raises(ConfigError, match="position_offset: 0"):
        begun(bert_folder, data_file, {**V2, "position_offset": 2}, str(start))
    strange = bare("bert")
    with torch.no_grad():
        strange.get_input_embeddings().weight += 1
    strange.save_pretrained(tmp_path / "strange")
    tiny("bert").tokenizer.save_pretrained(tmp_path / "strange")
    with pytest.raises(ArtifactError, match="do not carry over"):
        begun(tmp_path / "strange", data_file, V2, str(start))


def test_a_trained_run_keeps_its_start_on_record_and_its_drift_in_the_log(bert_folder, data_file, tmp_path):
    import json

    start = source(bert_folder, data_file, tmp_path / "a", V2)
    values = settings(bert_folder, data_file, method=V2, init_from=str(start))
    foreword.train(values, folder=tmp_path / "b", backbone=load_backbone(str(bert_folder)))
    assert read(tmp_path / "b" / "artifact").manifest.run["init_from"]["artifact"] == str(start)
    lines = [json.loads(line) for line in (tmp_path / "b" / "metrics.jsonl").read_text().splitlines()]
    drifts = [line["drift"] for line in lines if "validation" in line]
    assert len(drifts) == 2 and 0 < drifts[0]["distance"] and 0 < drifts[0]["cosine"] < 1
    assert all("drift" not in line for line in lines if "validation" not in line)
