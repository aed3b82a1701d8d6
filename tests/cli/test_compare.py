"""`foreword compare` as a user types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from support.folders import settings
from support.results import answers, record, several, write

Run = Callable[..., tuple[int, str, str]]


def test_a_table_and_every_file_that_is_asked_for(run: Run, tmp_path: Path) -> None:
    several(tmp_path / "results")
    names = {"html": "c.html", "markdown": "c.md", "latex": "c.tex", "study": "docs/study.md", "output": "c.json"}
    flags = [part for flag, name in names.items() for part in (f"--{flag}", name)]
    code, out, err = run("compare", "results", "--resamples", 200, "--no-texts", *flags)
    assert code == 0, err
    for text in ("good", "0.9167 ±0.0414", "majority class", "degenerate, seed 1", "good − hard", "60 test rows"):
        assert text in out, text
    assert all((tmp_path / name).stat().st_size > 500 for name in names.values())
    study = (tmp_path / "docs" / "study.md").read_text(encoding="utf-8")
    assert "`foreword compare results --resamples 200 " in study and "(../results/good-seed0.json)" in study
    code, out, _ = run("compare", "results", "--resamples", 200, "--json")
    assert json.loads(out) == json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))


def test_the_recipe_of_a_result_is_one(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path, "a-seed4", record(answers(3), 4))
    code, out, err = run("compare", path, "--recipe")
    assert code == 0, err
    assert yaml.safe_load(out)["seed"] == 4 and yaml.safe_load(out)["training"] == {"learning_rate": 0.01}


def test_mixed_results_are_refused_and_shown_when_that_is_asked_for(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "r", "a-seed0", record(answers(3)))
    write(tmp_path / "r", "b-seed0", record(answers(5), method="lora", code={"version": "9", "source": None}))
    code, _, err = run("compare", "r", "--resamples", 200)
    assert code == 2 and "foreword's version: 0.1.0" in err and "--allow-mixed" in err
    code, out, _ = run("compare", "r", "--resamples", 200, "--allow-mixed")
    assert code == 0 and "b †" in out and "mixed: foreword's version" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "there is no such file or folder"),
        (["results", "--split", "train"], "there is no split 'train'"),
        (["results", "--task", "other"], "known: made-up"),
        (["results", "--metric", "bleu"], "has the metric 'bleu'"),
        (["results", "--seeds", "1,2"], "--seeds are for recipes"),
        (["results", "--html", "results"], "cannot write the page"),
        (["none.yaml"], "cannot be read"),
    ],
)
def test_what_cannot_be_compared_is_told(arguments: list[str], message: str, run: Run, tmp_path: Path) -> None:
    write(tmp_path / "results", "a-seed0", record(answers(3)))
    code, _, err = run("compare", *arguments)
    assert code == 2 and message in err, err


def test_recipes_are_trained_and_compared(run: Run, bert_folder: Path, data_file: Path, tmp_path: Path) -> None:
    for name, method in (("probe", "linear-probe"), ("v2", {"name": "p-tuning-v2", "num_virtual_tokens": 2})):
        values = settings(bert_folder, data_file, method=method)
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    code, out, err = run("compare", "probe.yaml", "v2.yaml", "--seeds", "0,1", "--resamples", 200, "--json")
    assert code == 0, err
    (table,) = json.loads(out)["tables"]
    trained = {row["name"]: len(row["runs"]) for row in table["rows"] if row["role"] == "system"}
    assert sorted(trained.values()) == [2, 2] and all(name.endswith(("-probe", "-v2")) for name in trained)
    assert len(list((tmp_path / "runs" / "compare").iterdir())) == 4


def test_a_plan_is_searched_kept_and_compared(run: Run, bert_folder: Path, data_file: Path, tmp_path: Path) -> None:
    base = settings(bert_folder, data_file, readout={"name": "linear", "position": "mean"})
    rates = {"training.learning_rate": [0.03, 0.3]}
    methods = {
        "v2": {"method": {"name": "p-tuning-v2", "num_virtual_tokens": 2}, "space": rates},
        "lora": {"method": "lora", "space": rates},
    }
    task = {name: value for name, value in base.items() if name not in ("method", "training")}
    plan = {"tasks": {"t": task}, "methods": methods, "seeds": [0, 1], "budget": {"epochs": 4, "batch_size": 8}}
    Path("plan.yaml").write_text(yaml.safe_dump(plan, sort_keys=False), encoding="utf-8")
    code, out, err = run("compare", "plan.yaml", "--keep", "kept", "--resamples", 200, "--study", "study.md")
    assert code == 0, err
    assert sorted(path.as_posix() for path in Path("kept").rglob("*.json")) == [
        f"kept/t/{method}-seed{seed}.json" for method in ("lora", "v2") for seed in (0, 1)
    ]
    study = Path("study.md").read_text(encoding="utf-8")
    assert (
        "equal budgets: as many trials, rows, epochs and batches for each" in study
        and "learning rates 0.03, 0.3, 2 trials tried" in study
    )
    assert "](kept/t/lora-seed0.json)" in study
    code, _, err = run("compare", "kept", "--keep", "elsewhere")
    assert code == 2 and "--keep is for recipes" in err


def test_a_plan_that_is_stopped_says_how_to_go_on(
    run: Run, bert_folder: Path, data_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from foreword.errors import Interrupted
    from foreword.sweep import chosen

    def stopped(*_: object) -> None:
        raise Interrupted("the sweep stopped after 1 of 3 trials", where="runs", do="the same command and --resume")

    monkeypatch.setattr(chosen, "choose", stopped)
    Path("recipe.yaml").write_text(yaml.safe_dump(settings(bert_folder, data_file)), encoding="utf-8")
    _, _, err = run("compare", "recipe.yaml")
    assert "1 of 3 trials" in err and "go on with the same command" in err and "--resume" not in err
