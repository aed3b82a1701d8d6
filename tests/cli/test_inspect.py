from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import foreword
from support.folders import settings

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def look(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`foreword inspect ...` on a wide terminal."""
    monkeypatch.setenv("COLUMNS", "200")
    return partial(run, "inspect")


@pytest.fixture
def made(bert_folder: Path, data_file: Path, tmp_path: Path) -> Callable[..., Path]:
    def train(name: str, method: Any, **changes: Any) -> Path:
        foreword.train(settings(bert_folder, data_file, method=method, **changes), folder=tmp_path / name)
        return tmp_path / name / "artifact"

    return train


SOFT = {"name": "prompt-tuning", "num_virtual_tokens": 3}


def test_one_foreword_is_shown_and_its_minimal_prompt_can_be_used(look: Run, made: Any, tmp_path: Path) -> None:
    place = made("soft", SOFT)
    page = tmp_path / "page.html"
    code, out, err = look(place, "--minimal", tmp_path / "small", "--html", page, "--rows", "8")
    assert code == 0, err
    for told in ("words near each virtual token", "drift from where", "without a part", "attention to the prompt",
                 "minimal prompt", "the nearest words in their place", "answers are others"):  # fmt: skip
        assert told in out, told
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") >= 4 and "Virtual tokens among words" in text
    small = foreword.load(tmp_path / "small")
    assert small.predict(["a good day"])[0].label in ("good", "bad")
    code, _, err = look(place, "--minimal", tmp_path / "small")
    assert code == 2 and "something already" in err


def test_json_holds_it_all(look: Run, made: Any, tmp_path: Path) -> None:
    place, record = made("v2", {"name": "p-tuning-v2", "num_virtual_tokens": 3}), tmp_path / "results" / "x.json"
    code, out, err = look(place, "--json", "--rows", "6", "--result", record)
    assert code == 0, err
    found = json.loads(out)
    kept = json.loads(record.read_text(encoding="utf-8"))
    assert {name: kept[name] for name in found} == found
    assert kept["split"] == "test" and kept["forewords"][0]["run"]["method"]["num_virtual_tokens"] == 3
    assert found["rows"] == 6 and found["metric"] == "accuracy"
    assert {"whole", "initial", "token", "layer"} == {one["kind"] for one in found["ablations"]}
    assert len(found["course"]) == 2 and found["course"][0]["distance"] > 0
    assert "no vocabulary" in found["gaps"]["words"]


def test_several_are_compared_and_asked_as_one(look: Run, made: Any, tmp_path: Path) -> None:
    places = [made(f"s{seed}", SOFT, seed=seed) for seed in (0, 1)]
    code, out, err = look(*places, "--ensemble", "--html", tmp_path / "page.html")
    assert code == 0, err
    assert "all as one" in out and "over the members' mean" in out and "two random ones: 0 ±" in out
    assert "Likeness" in (tmp_path / "page.html").read_text(encoding="utf-8")
    code, out, _ = look(*places, "--json")
    found = json.loads(out)
    assert code == 0 and found["ensemble"] is None
    assert found["likeness"]["values"][0][0] == pytest.approx(1)


def test_mistakes_are_told(look: Run, made: Any, tmp_path: Path) -> None:
    place = made("soft", SOFT)
    for arguments, told in (
        ((tmp_path / "nowhere",), "no foreword here"),
        ((place, "--ensemble"), "two forewords or more"),
        ((place, place, "--minimal", tmp_path / "m"), "of one foreword"),
        ((place, "--split", "dev"), "no split 'dev'"),
        ((made("probe", "linear-probe"),), "adds nothing"),
    ):
        code, _, err = look(*arguments)
        assert code == 2 and told in err, (arguments, err)


def test_where_the_data_are_gone_what_needs_none_is_shown(look: Run, made: Any, data_file: Path) -> None:
    place = made("soft", SOFT)
    data_file.unlink()
    code, out, err = look(place)
    assert code == 0, err
    assert "words near each virtual token" in out and "name data by --data" in out
