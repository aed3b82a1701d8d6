"""Models and data on disk, as a user would have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.backbones import _made, bare

GOOD = (
    "a fine story and a good cat",
    "the happy dog likes the good day",
    "we like the fine sun",
    "good and happy people",
)
BAD = ("a bad story and a sad cat", "the sad dog hates the bad day", "we hate the grey rain", "bad and sad people")


def model_folder(path: Path, family: str) -> Path:
    """A checkpoint of the tiny model, whole with its tokenizer."""
    bare(family).save_pretrained(path)
    _made(family)[1].save_pretrained(path)
    return path


def rows(count: int = 32) -> list[dict[str, Any]]:
    """Labelled texts, half of each label, no text twice."""
    return [
        {
            "text": f"{(GOOD if i % 2 else BAD)[i // 2 % 4]} {'very ' * (i // 8)}well",
            "label": "good" if i % 2 else "bad",
        }
        for i in range(count)
    ]


def write_rows(path: Path, values: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in values), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("bert"), "bert")


@pytest.fixture(scope="session")
def gpt2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("gpt2"), "gpt2")


@pytest.fixture
def data_file(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", rows())


def settings(model: Path, data: Path, **changes: Any) -> dict[str, Any]:
    """A run of a second: P-Tuning v2 on the tiny encoder."""
    training = {"epochs": 2, "batch_size": 8, "learning_rate": 0.01}
    values: dict[str, Any] = {
        "data": {"source": str(data), "split": {"validation": 0.25, "test": 0.25}},
        "backbone": str(model),
        "method": {"name": "p-tuning-v2", "num_virtual_tokens": 3},
        "training": training,
        "template": {"max_length": 48},
    }
    return {**values, **changes}
