from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from foreword.artifacts import storage
from foreword.artifacts.peft import Reading, export_peft, files, import_peft, write_peft
from foreword.assembly import Assembly
from foreword.errors import ArtifactError, ConfigError, Unsupported
from foreword.injections import Injection, KeyValues, SoftTokens, Weights
from support.backbones import shared
from support.forewords import PAIRS, make, short_words

SOFT = SoftTokens(torch.randn(3, 32))


def _artifact(made: Assembly, tmp_path: Path) -> storage.Artifact:
    return storage.read(storage.save(made, tmp_path / "artifact", "x"))


@pytest.mark.parametrize(
    ("family", "method", "readout", "message"),
    [
        ("gpt2", "prompt-middle", "words", "inside the text or behind it"),
        ("gpt2", "prompt-after", "words", "inside the text or behind it"),
        ("bert", "prompt-both", "words", "inside the text or behind it"),
        ("llama", "v2-layers", "words", "layers 0, 2 of 3"),
        ("gpt2", "v2-random", "words", "position_offset: 4"),
        ("distilbert", "v2-random", "words", "distilbert takes none"),
        ("gpt2", "full", "words", "fine-tuned copy"),
        ("gpt2", "linear-probe", "last", "adds nothing"),
        ("gpt2", "hard", "words", "adds nothing"),
        ("gpt2", "prompt-random", "mean", "reads the last layer at the last token"),
        ("bert", "prompt-random", "cls", "behind a second layer"),
    ],
)
def test_what_peft_cannot_express_is_refused(
    family: str, method: str, readout: str, message: str, tmp_path: Path
) -> None:
    backbone = shared(family)
    made = make(family, method, readout, backbone=backbone)
    if readout == "last":
        with torch.no_grad():
            made.readout.get_parameter("bias").zero_()
    with pytest.raises(Unsupported, match=message):
        export_peft(_artifact(made, tmp_path), backbone, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artifact"]


def test_two_segments_are_refused_where_peft_drops_their_numbers(tmp_path: Path) -> None:
    backbone = shared("bert")
    made = make(
        "bert", "prompt-random", {"name": "verbalizer", "words": short_words("bert")},
        backbone=backbone, rows=PAIRS, task="pair-classification", template="{text1}{sep}{text2} {mask}",
    )  # fmt: skip
    with pytest.raises(Unsupported, match="two segments"):
        export_peft(_artifact(made, tmp_path), backbone, tmp_path / "out")


def test_two_segments_are_refused_on_the_way_in_too(tmp_path: Path) -> None:
    backbone = shared("bert")
    shape = (3, 2, backbone.geometry.kv_heads, 2, backbone.geometry.head_size)
    prefix = Injection(key_values=KeyValues((0, 1, 2), torch.randn(shape)), position_offset=2)
    write_peft(tmp_path / "prefix", prefix, backbone)
    pair = Reading(task="pair-classification", labels=["no", "yes"], template="{text1}{sep}{text2} {mask}")
    with pytest.raises(Unsupported, match="two segments"):
        import_peft(tmp_path / "prefix", backbone, tmp_path / "out", pair)
    assert not (tmp_path / "out").exists()


METHODS: list[tuple[Any, str]] = [
    ({"name": "bitfit"}, "BitFit"),
    ({"name": "adapter", "config": "pfeiffer", "bottleneck_size": 4}, "bottleneck adapters"),
    ({"name": "combined", "parts": [{"name": "lora"}, {"name": "ia3", "target_modules": ["c_attn"]}]}, "LoRA and IA3"),
    (
        {"name": "combined", "parts": [{"name": "lora"}, {"name": "prompt-tuning", "num_virtual_tokens": 2}]},
        "virtual tokens and operations at modules",
    ),
]


@pytest.mark.parametrize(("method", "message"), METHODS, ids=[message for _, message in METHODS])
def test_other_adapters_and_combinations_are_refused(method: Any, message: str, tmp_path: Path) -> None:
    from foreword.assembly import assemble
    from foreword.config import RunConfig, build
    from foreword.registry import tasks

    values = {"data": "toy", "backbone": "gpt2", "method": method, "readout": {"name": "linear", "position": "last"}}
    made = assemble(build(RunConfig, values), shared("gpt2"), tasks.get("classification")(), ("bad", "good"), [])
    with pytest.raises(Unsupported, match=message):
        export_peft(_artifact(made, tmp_path), shared("gpt2"), tmp_path / "out", with_readout=False)
    assert not (tmp_path / "out").exists()


def test_injections_that_no_artifact_has_are_refused(tmp_path: Path) -> None:
    backbone, geometry = shared("gpt2"), shared("gpt2").geometry
    shape = (3, 2, geometry.kv_heads, 2, geometry.head_size)
    table = KeyValues((0, 1, 2), torch.randn(shape))
    for injection, message in (
        (Injection(), "adds nothing"),
        (Injection(soft=SOFT, key_values=table, position_offset=2), "virtual tokens and key/values"),
        (Injection(soft=SOFT, position_offset=2), "offset of their own"),
        (Injection(weights=Weights({"x": torch.ones(2)})), "fine-tuned copy"),
    ):
        with pytest.raises(Unsupported, match=message):
            write_peft(tmp_path / "out", injection, backbone)
    assert not list(tmp_path.iterdir())


def test_without_its_readout_a_foreword_is_exported(tmp_path: Path) -> None:
    backbone = shared("bert")
    made = make("bert", "prompt-random", "cls", backbone=backbone)
    exported = export_peft(_artifact(made, tmp_path), backbone, tmp_path / "out", with_readout=False)
    assert exported.config["task_type"] == "FEATURE_EXTRACTION"
    assert exported.config["num_virtual_tokens"] == 5, "[CLS] and four"
    assert any("linear) is not in it" in note for note in exported.notes)


def test_the_readme_says_how_to_use_it(tmp_path: Path) -> None:
    backbone = shared("llama")
    made = make("llama", "prompt-random", "words", backbone=backbone)
    exported = export_peft(_artifact(made, tmp_path), backbone, tmp_path / "out", base_model="some/llama")
    text = (exported.folder / "README.md").read_text(encoding="utf-8")
    for expected in ("# PROMPT_TUNING for some/llama", "`{text} It was {mask}`", "give PEFT the ids without", "right"):
        assert expected in text
    assert json.loads((exported.folder / "adapter_config.json").read_text(encoding="utf-8")) == exported.config


def test_an_encoders_modules_are_told_to_be_named_as_in_its_model_with_a_head(tmp_path: Path) -> None:
    backbone = shared("bert")
    made = make("bert", {"name": "lora"}, "cls", backbone=backbone)
    exported = export_peft(_artifact(made, tmp_path), backbone, tmp_path / "out", with_readout=False)
    assert any("has to be a BertForMaskedLM" in note for note in exported.notes)
    backbone = shared("t5")
    exported = export_peft(_artifact(make("t5", {"name": "lora"}, "words", backbone=backbone), tmp_path), backbone,
                           tmp_path / "t5")  # fmt: skip
    assert not any("has to be" in note for note in exported.notes), "T5's modules have one name in every model"


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_prefixes_of_two_stacks_are_refused_for_what_they_are(tmp_path: Path, family: str) -> None:
    backbone = shared(family)
    made = make(family, {"name": "p-tuning-v2", "num_virtual_tokens": 2}, "words", backbone=backbone)
    with pytest.raises(Unsupported, match="prefix on an encoder-decoder"):
        export_peft(_artifact(made, tmp_path), backbone, tmp_path / "out")


def test_a_write_that_fails_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_peft(tmp_path / "out", Injection(soft=SOFT), shared("gpt2"))
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "save_file", full)
    with pytest.raises(ArtifactError, match="No space left"):
        write_peft(tmp_path / "out", Injection(soft=SOFT), shared("gpt2"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_is_in_the_way_stays(tmp_path: Path) -> None:
    backbone = shared("gpt2")
    artifact = _artifact(make("gpt2", "prompt-random", "words", backbone=backbone), tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years", encoding="utf-8")
    with pytest.raises(ConfigError, match="there already"):
        export_peft(artifact, backbone, out)
    with pytest.raises(ConfigError, match=r"no adapter_config\.json"):
        export_peft(artifact, backbone, out, overwrite=True)
    assert (out / "thesis.txt").read_text(encoding="utf-8") == "years"
    export_peft(artifact, backbone, tmp_path / "x")
    export_peft(artifact, backbone, tmp_path / "x", overwrite=True)


# -- into artifacts ---------------------------------------------------------------------------------------------------


@pytest.fixture
def soft(tmp_path: Path) -> Path:
    write_peft(tmp_path / "soft", Injection(soft=SOFT), shared("gpt2"))
    return tmp_path / "soft"


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        (Reading(), "does not say what it answers"),
        (Reading(task="classification"), "does not say what it answers"),
        (Reading(labels=["a", "b"], template="{soft:3}{text}"), "soft slots"),
        (Reading(labels=["a", "b"], template="no field"), "no field"),
        (Reading(labels=["a", "b"], max_length=3), "max_length"),
    ],
)
def test_options_that_do_not_fit_are_told(reading: Reading, message: str, soft: Path, tmp_path: Path) -> None:
    from foreword.errors import ForewordError

    with pytest.raises(ForewordError, match=message):
        import_peft(soft, shared("gpt2"), tmp_path / "out", reading)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("task", ["summarization", "tagging", "extractive-qa"])
def test_a_classifier_is_not_asked_for_texts(task: str, tmp_path: Path) -> None:
    readout = {"score.weight": torch.ones(2, 32)}
    write_peft(tmp_path / "soft", Injection(soft=SOFT), shared("gpt2"), task_type="SEQ_CLS", readout=readout)
    with pytest.raises(ConfigError, match=f"cannot answer {task}"):
        import_peft(tmp_path / "soft", shared("gpt2"), tmp_path / "out", Reading(task=task))


def test_a_prefix_that_leaves_no_room_is_refused_before_it_is_saved(tmp_path: Path) -> None:
    backbone, geometry = shared("gpt2"), shared("gpt2").geometry
    for left in (0, 3):
        count = geometry.positions - left
        table = KeyValues((0, 1, 2), torch.randn(3, 2, geometry.kv_heads, count, geometry.head_size))
        write_peft(tmp_path / "prefix", Injection(key_values=table, position_offset=count), backbone)
        with pytest.raises(ConfigError, match=f"leave {left} positions for the text, which needs 4"):
            import_peft(tmp_path / "prefix", backbone, tmp_path / "out", Reading(labels=["a", "b"]))
        assert not (tmp_path / "out").exists()


def test_virtual_tokens_in_front_of_cls_are_refused(tmp_path: Path) -> None:
    write_peft(tmp_path / "soft", Injection(soft=SOFT), shared("bert"))
    with pytest.raises(Unsupported, match=r"in front of \[CLS\]"):
        import_peft(tmp_path / "soft", shared("bert"), tmp_path / "out", Reading(labels=["a", "b"]))


@pytest.mark.parametrize("task", ["TOKEN_CLS", "QUESTION_ANS"])
def test_heads_that_read_every_token_are_refused(task: str, soft: Path, tmp_path: Path) -> None:
    path = soft / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"task_type": task}), encoding="utf-8")
    with pytest.raises(Unsupported, match=task):
        import_peft(soft, shared("gpt2"), tmp_path / "out", Reading(labels=["a", "b"]))


@pytest.mark.parametrize(
    ("readout", "labels", "message"),
    [
        ({"score.weight": torch.ones(2, 31)}, None, "score.weight has the shape"),
        ({"score.weight": torch.ones(1, 32)}, None, "two labels or more"),
        ({"score.weight": torch.ones(2, 32)}, ["a", "b", "c"], "3 labels were given"),
        ({"classifier.dense.weight": torch.ones(2, 32)}, None, "one matrix"),
        ({}, None, "has nothing"),
    ],
)
def test_classifiers_that_do_not_fit_are_told(
    readout: dict[str, torch.Tensor], labels: list[str] | None, message: str, tmp_path: Path
) -> None:
    write_peft(tmp_path / "soft", Injection(soft=SOFT), shared("gpt2"), task_type="SEQ_CLS", readout=readout)
    with pytest.raises((ArtifactError, Unsupported, ConfigError), match=message):
        import_peft(tmp_path / "soft", shared("gpt2"), tmp_path / "out", Reading(labels=labels))


def test_an_imported_writer_needs_a_task_alone(soft: Path, tmp_path: Path) -> None:
    made = import_peft(soft, shared("gpt2"), tmp_path / "out", Reading(task="summarization"))
    artifact = storage.read(made.folder)
    assert artifact.manifest.readout["name"] == "lm"
    assert artifact.manifest.labels == []
    assert artifact.injection.soft is not None
    assert torch.equal(artifact.injection.soft.vectors, SOFT.vectors)
    assert artifact.attach(shared("gpt2")).encoder.template.soft_count == 3


@pytest.mark.parametrize("bos", [True, False])
def test_a_foreword_of_a_chat_goes_out_and_comes_in(bos: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows begin with what the chat template writes first, whatever the tokenizer adds to other texts."""
    backbone = shared("llama")
    if not bos:
        chat = backbone.tokenizer.chat_template.replace("{{ bos_token }}", "")
        monkeypatch.setattr(backbone.tokenizer, "chat_template", chat)
    template = {"text": "{text} It was{mask}", "max_length": 64, "chat": True}
    made = make("llama", "prompt-random", "words", backbone=backbone, template=template)
    exported = export_peft(_artifact(made, tmp_path), backbone, tmp_path / "theirs")
    assert "the user's message in the model's chat template" in exported.notes[0]
    assert any("own first one" in note for note in exported.notes) == bos
    labels = ["bad", "good"]
    again = import_peft(
        tmp_path / "theirs", backbone, tmp_path / "ours", Reading(labels=labels, template=template["text"], chat=True)
    )
    reader = storage.read(again.folder).attach(backbone)
    row, own = (one.encoder.encode({"text": "the film"}) for one in (reader, made.reader))
    assert row == own
    soft = storage.read(again.folder).injection.soft
    assert soft is not None and torch.equal(soft.vectors, made.method.compiled().soft.vectors)  # type: ignore[union-attr]


def test_a_chat_is_not_taken_for_another_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = shared("llama")
    template = {"text": "{text} It was{mask}", "max_length": 64, "chat": True}
    made = make("llama", "prompt-random", "words", backbone=backbone, template=template)
    export_peft(_artifact(made, tmp_path), backbone, tmp_path / "theirs")
    from foreword.text.pieces import Frame

    bare = Frame((), (), (), (), (), (), (0, 0))
    monkeypatch.setattr(Frame, "of", lambda *_, **__: bare)  # as a tokenizer whose chat alone begins with <s>
    with pytest.raises(ArtifactError, match="--chat"):
        import_peft(tmp_path / "theirs", backbone, tmp_path / "ours", Reading(labels=["bad", "good"]))


def test_an_imported_foreword_has_what_is_needed_to_train_it_further(soft: Path, tmp_path: Path) -> None:
    """D21: PEFT cannot go on training a prompt that it has read."""
    made = import_peft(soft, shared("gpt2"), tmp_path / "out", Reading(labels=["bad", "good"]))
    from safetensors.torch import load_file

    state = load_file(made.folder / "training.safetensors")
    assert torch.equal(state["method.vectors"], SOFT.vectors)


def test_classes_without_names_get_those_of_transformers(tmp_path: Path) -> None:
    readout = {"score.weight": torch.randn(3, 32)}
    write_peft(tmp_path / "soft", Injection(soft=SOFT), shared("gpt2"), task_type="SEQ_CLS", readout=readout)
    made = storage.read(import_peft(tmp_path / "soft", shared("gpt2"), tmp_path / "out").folder)
    assert made.manifest.labels == ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert torch.equal(made.readout["weight"], readout["score.weight"])
    again = export_peft(made, shared("gpt2"), tmp_path / "again")
    assert again.config["task_type"] == "SEQ_CLS"
