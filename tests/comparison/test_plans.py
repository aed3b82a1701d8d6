"""What is asked to be trained: a plan's grid, a recipe's seeds, and what is there already is not trained again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from foreword.comparison.plan import asked, merge
from foreword.comparison.running import train_missing
from foreword.errors import ConfigError, ForewordError
from support.folders import settings


def plan(path: Path, **values) -> Path:
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def test_a_plan_is_every_method_on_every_task_with_every_seed_at_one_budget(tmp_path):
    (tmp_path / "ia3.yaml").write_text("method: ia3\ntraining: {learning_rate: 0.1}\n", encoding="utf-8")
    path = plan(
        tmp_path / "plan.yaml",
        tasks={"x": {"data": "x", "training": {"epochs": 9}}, "y": {"data": "y"}},
        methods={"a": {"method": {"name": "lora", "r": 2}}, "b": "ia3.yaml"},
        seeds=[0, 5],
        budget={"max_steps": 7},
        folder="here",
    )
    runs = asked(path)
    assert [run.folder.as_posix() for run in runs][:3] == ["here/x-a-seed0", "here/x-a-seed5", "here/x-b-seed0"]
    assert len(runs) == 8
    assert runs[2].settings == {
        "data": "x", "method": "ia3", "training": {"epochs": 9, "learning_rate": 0.1, "max_steps": 7}, "seed": 0,
    }  # fmt: skip


def test_another_method_takes_the_place_of_the_one_below():
    under = {"method": {"name": "lora", "r": 2}, "training": {"epochs": 1, "seed": 2}}
    over = {"method": {"name": "ia3"}, "training": {"epochs": 3}}
    assert merge(under, over) == {"method": {"name": "ia3"}, "training": {"epochs": 3, "seed": 2}}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"methods": {}}, "methods"),
        ({"methods": {"a": {}}, "sedes": [1]}, "did you mean 'seeds'"),
        ({"methods": {"a": {}}, "seeds": [1, 1]}, "not different numbers"),
        ({"methods": {"a": {}}, "seeds": [-1]}, "not different numbers"),
        ({"methods": {"a": "nowhere.yaml"}}, "no such recipe: nowhere.yaml"),
        ({"methods": {"../a": {}}}, "cannot be the name of a file"),
        ({"methods": {"a": {}}, "tasks": {"..": {}}}, "cannot be the name of a file"),
        ({"methods": {"a": {"space": 5}}}, "space: 5 is no mapping"),
        (
            {"methods": {"a": {"space": {"training.epochs": [1, 2]}}}, "budget": {"epochs": 1}},
            "varies training.epochs, which the budget holds equal",
        ),
        ({"methods": {"b-c": {}, "c": {}}, "tasks": {"a": {}, "a-b": {}}}, "would both be kept in"),
    ],
)
def test_a_plan_that_cannot_be_is_told(values, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        asked(plan(tmp_path / "plan.yaml", **values))


def test_a_file_that_is_no_plan_is_told(tmp_path):
    (tmp_path / "a.yaml").write_text("[", encoding="utf-8")
    for name, message in (("a.yaml", "not valid YAML"), ("none.yaml", "cannot be read")):
        with pytest.raises(ConfigError, match=message):
            asked(tmp_path / name)
    for seed in ("abc", None, -1):
        with pytest.raises(ConfigError, match="is no number from 0"):
            asked(plan(tmp_path / "recipe.yaml", data="x", seed=seed))
    with pytest.raises(ConfigError, match="names its own seeds"):
        asked(plan(tmp_path / "plan.yaml", methods={"a": {}}), [1])


def test_what_is_there_is_reused_and_the_rest_is_trained(tmp_path, bert_folder, data_file):
    base = settings(bert_folder, data_file)
    values = {
        "tasks": {"t": {k: v for k, v in base.items() if k != "method"}},
        "methods": {"probe": {"method": "linear-probe"}, "v2": {"method": base["method"]}},
        "folder": str(tmp_path / "runs"),
    }
    path = plan(tmp_path / "plan.yaml", **values, budget={"max_steps": 2})
    told: list[str] = []

    def reporter(name):
        from foreword.training.loop import Silent

        told.append(name)
        return Silent()

    runs = train_missing(asked(path), reporter).runs
    folders = [run.folder for run in runs]
    assert told == ["t-probe, seed 0", "t-v2, seed 0"]
    before = [(folder / "result.json").read_bytes() for folder in folders]
    (folders[1] / "result.json").unlink()
    assert train_missing(asked(path), reporter).runs == runs
    assert told[2:] == ["t-v2, seed 0"], "the one whose result is gone, from its checkpoint"
    assert (folders[0] / "result.json").read_bytes() == before[0]
    again = json.loads((folders[1] / "result.json").read_bytes())
    assert again["test"] == json.loads(before[1])["test"]
    plan(path, **values, budget={"max_steps": 1})
    with pytest.raises(ConfigError, match="a run with another training"):
        train_missing(asked(path), reporter)
    assert len(told) == 3


def test_a_run_that_fails_is_a_gap_and_the_others_go_on(tmp_path, bert_folder, data_file):
    base = settings(bert_folder, data_file, training={"max_steps": 1})
    wrong = {"method": "linear-probe", "template": {"text": "no field", "max_length": 48}}
    values = {k: v for k, v in base.items() if k != "method"}
    methods = {"wrong": wrong, "probe": {"method": "linear-probe"}}
    path = plan(tmp_path / "plan.yaml", tasks={"t": values}, methods=methods, folder=str(tmp_path / "runs"))
    made = train_missing(asked(path))
    assert [run.folder.name for run in made.runs] == ["t-probe-seed0"]
    assert len(made.gaps) == 1 and "t-wrong-seed0" in made.gaps[0]
    plan(path, tasks={"t": values}, methods={"wrong": wrong}, folder=str(tmp_path / "runs"))
    with pytest.raises(ForewordError):
        train_missing(asked(path))
