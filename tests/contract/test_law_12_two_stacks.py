"""Law 12 for encoder-decoders: LoRA, IA3 and prompts to and from PEFT; its prefixes are refused with the reason."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch

from foreword.artifacts import storage
from foreword.artifacts.peft import Reading, export_peft, import_peft, read_peft
from foreword.artifacts.peft.layout import in_front
from foreword.bank import Bank
from foreword.batch import collate
from foreword.errors import Unsupported
from foreword.injections import Injection
from support.backbones import TWO_STACKS, bare, shared
from support.forewords import bank_of, items, make
from support.peft_models import difference, library

CLOSE = 1e-5
TARGETS = {"t5": ["q", "v", "wo"], "bart": ["q_proj", "v_proj", "fc2"]}
ROWS = (
    {"source": "The film was great.", "translation": ("it was wonderful",)},
    {"source": "A boring and awful movie", "translation": ("not good, not good",)},
)


@pytest.fixture(scope="module", autouse=True)
def _peft():
    library()


def writer(family: str, method: str) -> Any:
    settings = {"task": "translation", "template": "{source} means{mask}", "max_tokens": 400}
    readout = {"name": "lm", "max_new_tokens": 8}
    return make(family, method, readout, backbone=shared(family), rows=ROWS, labels=(), **settings)


def config_of(family: str, kind: str) -> Any:
    peft, targets = library(), TARGETS[family]
    if kind == "lora":
        return peft.LoraConfig(task_type="SEQ_2_SEQ_LM", r=3, lora_alpha=5, target_modules=targets)
    if kind == "ia3":
        return peft.IA3Config(task_type="SEQ_2_SEQ_LM", target_modules=targets, feedforward_modules=targets[-1:])
    if kind == "p-tuning":
        return peft.PromptEncoderConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=4, encoder_hidden_size=24)
    made = {"prompt": peft.PromptTuningConfig, "prefix": peft.PrefixTuningConfig}[kind]
    return made(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=4)


def written(family: str, kind: str, folder: Any) -> Any:
    """A checkpoint that PEFT wrote, with values so large that they show."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(3)
        model = library().get_peft_model(bare(family), config_of(family, kind))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * 0.15)
        model.save_pretrained(folder)
    return folder


@torch.no_grad()
def theirs(family: str, folder: Any, rows: Any) -> list[torch.Tensor]:
    """PEFT's own logits of each row's decoder, run alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = library().PeftModel.from_pretrained(bare(family), folder).eval()
    found = []
    for item in rows:
        row = item.rows[0]
        behind = 1 + max((place for place, soft in enumerate(row.soft) if soft >= 0), default=-1)  # PEFT has its own
        ids, answer = torch.tensor([row.ids[behind : row.border]]), torch.tensor([row.ids[row.border :]])
        found.append(model(input_ids=ids, attention_mask=torch.ones_like(ids), decoder_input_ids=answer).logits[0])
    return found


@torch.no_grad()
def ours(bank: Bank, rows: Any) -> list[torch.Tensor]:
    batch = collate(rows, bank.backbone.pad_id)
    logits = bank.logits(batch, torch.arange(batch.ids.shape[1]).expand(len(rows), -1))
    part = slice(batch.border, None)
    return [one[mask.bool()] for one, mask in zip(logits[:, part], batch.mask[:, part], strict=True)]


@pytest.mark.parametrize("kind", ["lora", "ia3"])
@pytest.mark.parametrize("family", TWO_STACKS)
def test_a_checkpoint_of_peft_gives_its_logits(family, kind, tmp_path, law):
    folder, backbone = written(family, kind, tmp_path / "theirs"), shared(family)
    bank, rows = Bank(backbone), items(writer(family, "hard"), ROWS, "peft")
    bank.put("peft", read_peft(folder, backbone).injection)
    expected = theirs(family, folder, rows)
    assert difference(ours(bank, rows), expected) < CLOSE
    imported = import_peft(folder, backbone, tmp_path / "ours", Reading(task="translation", template="{source} means"))
    bank.put("peft", storage.read(imported.folder).injection)
    assert difference(ours(bank, rows), expected) < CLOSE
    bank.put("peft", Injection())
    assert difference(ours(bank, rows), expected) > 0.05
    law(12)


@pytest.mark.parametrize("method", ["lora", "lora-all", "ia3"])
@pytest.mark.parametrize("family", TWO_STACKS)
def test_our_foreword_gives_its_logits_there(family, method, tmp_path, law):
    assembly = writer(family, method)
    folder = storage.save(assembly, tmp_path / "artifact", "x")
    made = export_peft(storage.read(folder), assembly.backbone, tmp_path / "exported")
    assert made.config["task_type"] == "SEQ_2_SEQ_LM"
    rows = items(assembly, ROWS, "x")
    assert difference(theirs(family, made.folder, rows), ours(bank_of({"x": assembly}), rows)) < CLOSE
    law(12)


@pytest.mark.parametrize("kind", ["prompt", "p-tuning"])
@pytest.mark.parametrize("family", TWO_STACKS)
def test_a_prompt_of_peft_gives_its_logits(family, kind, tmp_path, law):
    folder, backbone = written(family, kind, tmp_path / "theirs"), shared(family)
    bank, rows = Bank(backbone), items(writer(family, "hard"), ROWS, "peft")
    adapter = read_peft(folder, backbone)
    assert any("twice over" in note for note in adapter.notes)
    bank.put("peft", adapter.injection)
    expected = theirs(family, folder, rows)
    assert difference(ours(bank, [replace(one, rows=(in_front(one.rows[0], 4),)) for one in rows]), expected) < CLOSE
    assert difference(ours(bank, rows), expected) > 0.01
    law(12)
    reading = Reading(task="translation", template="{source} means{mask}")
    if family == "bart":
        with pytest.raises(Unsupported, match="stand in front of <s> and a foreword's behind it"):
            import_peft(folder, backbone, tmp_path / "ours", reading)
        law(12, "refused")
        return
    artifact = storage.read(import_peft(folder, backbone, tmp_path / "ours", reading).folder)
    bank.put("peft", artifact.injection)
    own = [artifact.attach(backbone).item(row, "peft") for row in ROWS]
    assert difference(ours(bank, own), theirs(family, folder, own)) < CLOSE


@pytest.mark.parametrize("method", ["prompt-random", "p-tuning-mlp"])
@pytest.mark.parametrize("family", TWO_STACKS)
def test_our_prompt_gives_its_logits_there(family, method, tmp_path, law):
    assembly = writer(family, method)
    folder = storage.save(assembly, tmp_path / "artifact", "x")
    made = export_peft(storage.read(folder), assembly.backbone, tmp_path / "exported")
    assert made.config["task_type"] == "SEQ_2_SEQ_LM"
    rows, bank = items(assembly, ROWS, "x"), bank_of({"x": assembly})
    assert difference(theirs(family, made.folder, rows), ours(bank, rows)) < CLOSE
    law(12)
    reading = Reading(task="translation", template="{source} means{mask}")
    back = storage.read(import_peft(made.folder, assembly.backbone, tmp_path / "back", reading).folder)
    bank.put("x", back.injection)
    assert difference(theirs(family, made.folder, rows), ours(bank, rows)) < CLOSE, "and comes back as it was"


def test_a_prompt_of_peft_for_another_task_is_refused(tmp_path):
    folder = written("t5", "prompt", tmp_path / "theirs")
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"task_type": "FEATURE_EXTRACTION"}))
    with pytest.raises(Unsupported, match="this is FEATURE_EXTRACTION"):
        read_peft(folder, shared("t5"))


@pytest.mark.parametrize("family", TWO_STACKS)
def test_prefixes_are_refused_with_the_reason(family, tmp_path, law):
    backbone = shared(family)
    with pytest.raises(Unsupported, match="PREFIX_TUNING on an encoder-decoder stands in front of the decoder as text"):
        read_peft(written(family, "prefix", tmp_path / "prefix"), backbone)
    law(12, "refused")
    for method in ("v2-random", "v2-decoder", "v2-cross"):
        folder = storage.save(writer(family, method), tmp_path / method, "x")
        with pytest.raises(Unsupported, match="on an encoder-decoder|combines"):
            export_peft(storage.read(folder), backbone, tmp_path / f"{method}-out")
        law(12, "refused")
    with pytest.raises(Unsupported, match="for an encoder-decoder"):
        read_peft(written(family, "lora", tmp_path / "lora"), shared("bert"))
