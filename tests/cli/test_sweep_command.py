from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from foreword import config as configs
from foreword.training import plan
from support.folders import settings

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache of its own, and no measuring of the machine."""
    monkeypatch.setenv("FOREWORD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(plan, "matrix_rate", lambda: 1e10)


@pytest.fixture
def recipe(bert_folder: Path, data_file: Path, tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    readout = {"name": "linear", "position": "mean"}
    path.write_text(yaml.safe_dump(settings(bert_folder, data_file, readout=readout)), encoding="utf-8")
    return path


@pytest.fixture
def spec(recipe: Path, tmp_path: Path) -> Path:
    (tmp_path / "specs").mkdir()
    path = tmp_path / "specs" / "sweep.yaml"
    path.write_text(
        "recipe: ../small.yaml\n"
        "space:\n  training.learning_rate: [0.1, 0.3]\n  method.layers: [all, top-half]\n"
        "search: {kind: grid}\n",
        encoding="utf-8",
    )
    return path


def test_a_sweep_is_listed_run_shown_and_gone_on_with(run: Run, spec: Path, tmp_path: Path) -> None:
    code, out, err = run("sweep", spec, "--dry-run", "--json")
    assert code == 0, err
    assert len(json.loads(out)["trials"]) == 4 and not (tmp_path / "sweeps").exists()
    code, out, err = run("sweep", spec, "--kind", "random", "--trials", 9, "--dry-run", "--json")
    assert code == 0 and len(json.loads(out)["trials"]) == 4 and "4 different points" in err
    code, out, err = run("sweep", spec, "--trials", 2, "--together", 2, "--output", "s", "--result", "r/x.json")
    assert code == 0, err
    assert "winner" in out and "majority class" in out and "best.yaml" in out and "spread" in out
    assert configs.load(tmp_path / "s" / "best.yaml").training.learning_rate in (0.1, 0.3)
    assert "<svg" in (tmp_path / "s" / "sweep.html").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "r" / "x.json").read_text()) == json.loads(
        (tmp_path / "s" / "sweep.json").read_text()
    )
    code, _, err = run("sweep", spec, "--output", "s")
    assert code == 2 and "--resume" in err and "--overwrite" in err
    code, out, err = run("sweep", spec, "--output", "s", "--resume", "--json")
    assert code == 0, err
    assert len(json.loads(out)["trials"]) == 4
    code, _, err = run("train", tmp_path / "s" / "best.yaml", "--output", "again")
    assert code == 0, err


def test_a_recipe_takes_a_space_and_overrides(run: Run, recipe: Path, spec: Path) -> None:
    code, out, err = run(
        "sweep", recipe, "--space", spec, "--kind", "random", "--trials", 3, "--set", "training.epochs=1", "--dry-run",
        "--json",
    )  # fmt: skip
    assert code == 0, err
    assert [trial["rungs"] for trial in json.loads(out)["trials"]] == [[2]] * 3


def test_what_cannot_be_swept_is_told(run: Run, recipe: Path, spec: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.yaml"
    empty.write_text("space: {}\n")
    broken = tmp_path / "broken.yaml"
    broken.write_text("space: [\n")
    strange = tmp_path / "strange.yaml"
    strange.write_text("space: {seed: [0]}\nserach: {}\n")
    for arguments, message in (
        ((recipe,), "--space FILE"),
        ((spec, "--space", spec), "space of its own"),
        ((recipe, "--space", empty), "empty"),
        ((recipe, "--space", broken), "cannot read"),
        ((recipe, "--space", tmp_path / "nowhere.yaml"), "no such file"),
        ((recipe, "--space", recipe), "has no space"),
        ((strange,), "did you mean 'search'"),
        ((spec, "--kind", "bayes"), "kind"),
        ((spec, "--trials", 0), "trials"),
        ((spec, "--output", "s", "--resume"), "no sweep to resume"),
        ((spec, "--output", recipe), "this is a file"),
        ((spec, "--result", tmp_path), "names a folder"),
    ):
        code, _, err = run("sweep", *arguments)
        assert code == 2, arguments
        assert message in err, err
    assert not (tmp_path / "sweeps").exists()
