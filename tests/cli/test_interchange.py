from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from foreword.artifacts.peft import write_peft
from foreword.injections import Injection, SoftTokens
from support.backbones import shared

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    write_peft(tmp_path / "theirs", Injection(soft=SoftTokens(torch.randn(3, 32))), shared("gpt2"))
    return tmp_path / "theirs"


def test_in_predict_and_out_again(run: Run, checkpoint: Path, gpt2_folder: Path, tmp_path: Path) -> None:
    options = [
        "--labels",
        "bad,good",
        "--word",
        "bad=bad",
        "--word",
        "good=great",
        "--template",
        "{text} It was {mask}",
    ]
    code, out, err = run("import", checkpoint, "--backbone", gpt2_folder, "--output", "ours", *options)
    assert code == 0, err
    assert "PROMPT_TUNING" in out and "on trust" in err
    code, out, err = run("predict", "ours", "the film was great", "--json")
    assert code == 0, err
    assert json.loads(out)["label"] in ("bad", "good")
    code, _, err = run("evaluate", "ours")
    assert code == 2
    assert "was imported" in err and "--data" in err and "hub" not in err
    code, out, err = run("export", "ours", "--to", "peft", "--output", "again")
    assert code == 0, err
    assert "CAUSAL_LM" in out and "{text} It was {mask}" in err
    first, again = (load_file(folder / "adapter_model.safetensors") for folder in (checkpoint, tmp_path / "again"))
    assert torch.equal(first["prompt_embeddings"], again["prompt_embeddings"])
    code, _, err = run("export", "ours", "--to", "peft", "--output", "again")
    assert code == 2 and "there already" in err
    assert run("export", "ours", "--to", "peft", "--output", "again", "--overwrite")[0] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--word", "bad"], "LABEL=WORD"),
        (["--word", "bad=bad"], "is no label"),
        (["--labels", "bad,good", "--word", "god=x"], "did you mean 'good'"),
        (["--labels", "bad"], "label"),
        ([], "does not say what it answers"),
        (["--task", "classifikation", "--labels", "bad,good"], "classification"),
    ],
)
def test_wrong_options_are_told(
    options: list[str], message: str, run: Run, checkpoint: Path, gpt2_folder: Path, tmp_path: Path
) -> None:
    code, _, err = run("import", checkpoint, "--backbone", gpt2_folder, "--output", "ours", *options)
    assert code == 2
    assert message in err and "Traceback" not in err
    assert not (tmp_path / "ours").exists()


def test_a_broken_checkpoint_is_told_before_a_model_is_loaded(run: Run, checkpoint: Path) -> None:
    (checkpoint / "adapter_model.safetensors").write_bytes(b"")
    code, _, err = run("import", checkpoint, "--backbone", "no-such-model", "--output", "ours", "--labels", "a,b")
    assert code == 2
    assert "cannot be read" in err and "no-such-model" not in err


def test_another_format_is_told(run: Run, checkpoint: Path) -> None:
    code, _, err = run("export", checkpoint, "--to", "onnx", "--output", "out")
    assert code == 2 and "peft" in err


def test_what_is_no_artifact_is_told(run: Run, checkpoint: Path) -> None:
    code, _, err = run("export", checkpoint, "--to", "peft", "--output", "out")
    assert code == 2 and "no foreword here" in err
