from __future__ import annotations

import json
import math
import os
import signal
from pathlib import Path

import pytest
import torch

from foreword.artifacts import storage
from foreword.backbone.loading import load as load_backbone
from foreword.bank import Bank
from foreword.batch import Item
from foreword.errors import ArtifactError, ConfigError, DataError, Interrupted, Unsupported
from foreword.generation.session import Session
from foreword.injections import Injection
from foreword.stories import style, style_strength
from foreword.stories.style import StyleConfig
from foreword.stories.writers.base import Draft, Request
from foreword.text.rows import as_row
from foreword.training.loop import Silent

WORDS = "it was a good story".split()
CONFIG = {"answer_tokens": 24, "max_steps": 2, "batch_size": 4, "held_out": 0.3, "learning_rate": 0.05, "per_text": 2}


def write_texts(folder: Path, count: int = 4) -> Path:
    folder.mkdir()
    for number in range(count):
        start = " ".join(WORDS[number % 5 :] + WORDS[: number % 5])
        lines = ((start + " and the cat was happy. ") * 8, "The dog was bad. ")
        (folder / f"{number}.txt").write_text("".join(lines) * (number + 1), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def made(gpt2_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[style.Style, Path]:
    place = tmp_path_factory.mktemp("style")
    texts = write_texts(place / "tales")
    config = StyleConfig(backbone=str(gpt2_folder), init_text="a good story", **CONFIG)
    found = style.train(texts, place / "run", config)
    assert found is not None
    return found, place


def ids_of(backbone, text: str) -> list[int]:
    return backbone.tokenizer(text, add_special_tokens=False)["input_ids"]


def next_logits(bank: Bank, ids: list[int], owner: str | None) -> torch.Tensor:
    return Session(bank, [Item((as_row(ids),), owner)]).logits


def test_it_trains_saves_and_measures(made):
    found, place = made
    record = json.loads((place / "run" / "style.json").read_text(encoding="utf-8"))
    assert record == json.loads(json.dumps(found.record))
    assert set(record["loss"]) == {"bare", "strength 0", "strength 0.25", "strength 0.5", "strength 0.75", "strength 1"}
    assert all(math.isfinite(value) for value in record["loss"].values())
    assert record["perplexity"]["bare"] == pytest.approx(math.exp(record["loss"]["bare"]))
    assert found.losses.learned < found.losses.by_strength[0.0], "two large steps on five words learn something"
    manifest = storage.read(found.artifact).manifest
    assert (manifest.task, manifest.method["name"], manifest.readout["name"]) == ("story-writing", "p-tuning-v2", "lm")
    assert manifest.metrics["validation"]["loss"] == pytest.approx(found.losses.learned)


def test_strength_one_is_the_artifact_and_zero_its_words(made):
    found, _ = made
    artifact = storage.read(found.artifact)
    backbone = load_backbone(artifact.manifest.backbone.name)
    whole = style_strength.styled(found.artifact, 1.0, backbone)
    for name, tensor in artifact.injection.tensors().items():
        assert torch.equal(whole.bank.injection(whole.owner).tensors()[name], tensor)
    none = style_strength.styled(found.artifact, 0.0, backbone)
    request = ids_of(backbone, "we like the sun\n\n")
    spoken = next_logits(Bank(backbone), [*ids_of(backbone, "a good story"), *request], None)
    torch.testing.assert_close(next_logits(none.bank, request, none.owner), spoken, atol=2e-5, rtol=1e-4)
    assert not torch.allclose(next_logits(whole.bank, request, whole.owner), spoken, atol=1e-3)
    start = style_strength.initial(artifact, backbone)
    for name, tensor in start.tensors().items():
        assert torch.equal(none.bank.injection(none.owner).tensors()[name], tensor)


def test_strength_between_is_on_the_line(made):
    found, _ = made
    artifact = storage.read(found.artifact)
    backbone = load_backbone(artifact.manifest.backbone.name)
    start, end = style_strength.initial(artifact, backbone), artifact.injection
    half = style_strength.interpolated(start, end, 0.5)
    assert half.key_values is not None and start.key_values is not None and end.key_values is not None
    middle = (start.key_values.tensor + end.key_values.tensor) / 2
    torch.testing.assert_close(half.key_values.tensor, middle)
    assert half.position_offset == end.position_offset == end.key_values.length


def test_it_writes(made):
    found, _ = made
    writer = style_strength.writer(found.artifact, 0.5, batch=2)
    drafts: dict[int, Draft] = {}
    requests = [Request("a good day", seed, 3, 8) for seed in (1, 1, 2)]
    writer.write(requests, lambda number, draft: drafts.update({number: draft}), lambda tokens: None)
    assert sorted(drafts) == [0, 1, 2]
    assert drafts[0].text == drafts[1].text
    assert writer.name.endswith("style-tales at 0.5")


def test_a_dry_run_leaves_nothing(gpt2_folder, tmp_path):
    told = []
    texts = write_texts(tmp_path / "tales")
    config = StyleConfig(backbone=str(gpt2_folder), init_text="a good story", **CONFIG)
    found = style.train(texts, tmp_path / "run", config, dry_run=True, told=lambda *parts: told.append(parts))
    assert found is None
    assert not (tmp_path / "run").exists()
    [(read, rows, plan)] = told
    assert (len(read.texts), len(rows.held_out), plan.steps) == (4, 1, 2)


def test_a_run_is_not_overwritten_unasked(made, gpt2_folder):
    _, place = made
    config = StyleConfig(backbone=str(gpt2_folder), init_text="a good story", **CONFIG)
    before = (place / "run" / "style.json").read_bytes()
    with pytest.raises(ConfigError, match="there is a run already"):
        style.train(place / "tales", place / "run", config)
    assert (place / "run" / "style.json").read_bytes() == before


class Stop(Silent):
    """Ctrl-C after the first step."""

    def step(self, done: int, steps: int, loss: float) -> None:
        if done == 1:
            os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupted_run_goes_on(made, gpt2_folder, tmp_path):
    found, place = made
    config = StyleConfig(backbone=str(gpt2_folder), init_text="a good story", **CONFIG)
    with pytest.raises(Interrupted, match="stopped after step 1 of 2; the run is saved"):
        style.train(place / "tales", tmp_path / "run", config, reporter=Stop())
    assert not (tmp_path / "run" / "artifact").exists()
    again = style.train(place / "tales", tmp_path / "run", config, resume=True)
    assert again is not None and again.losses == found.losses


def test_what_is_no_style_is_refused(made, tmp_path):
    found, _ = made
    with pytest.raises(ConfigError, match="a strength of 1.5"):
        style_strength.styled(found.artifact, 1.5)
    with pytest.raises(ArtifactError, match="no foreword here"):
        style_strength.styled(tmp_path)
    start, other = Injection(), storage.read(found.artifact).injection
    with pytest.raises(Unsupported, match="shape changed"):
        style_strength.interpolated(start, other, 0.5)
    with pytest.raises(DataError, match="no such file or folder"):
        style.train(tmp_path / "missing", tmp_path / "run")
