"""A comparison whose methods are searched first: equal budgets, winners with their seeds, nothing run twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from foreword.comparison.plan import asked
from foreword.comparison.results import read
from foreword.comparison.running import train_missing
from foreword.errors import ConfigError, ForewordError
from foreword.sweep.chosen import choose
from foreword.training import plan
from foreword.training.loop import Silent
from support.folders import settings

RATES = {"training.learning_rate": [0.03, 0.3]}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREWORD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(plan, "matrix_rate", lambda: 1e10)


@pytest.fixture
def written(tmp_path: Path, bert_folder: Path, data_file: Path) -> Any:
    base = settings(bert_folder, data_file, readout={"name": "linear", "position": "mean"})
    task = {name: value for name, value in base.items() if name not in ("method", "training")}
    v2 = {"method": base["method"], "space": RATES}
    whole: dict[str, Any] = {
        "tasks": {"t": task},
        "methods": {"v2": v2, "lora": {"method": "lora", "space": RATES}, "probe": {"method": "linear-probe"}},
        "seeds": [0, 4],
        "budget": {"epochs": 4, "batch_size": 8},
        "folder": str(tmp_path / "runs"),
    }

    def write(**changes: Any) -> Path:
        path = tmp_path / "plan.yaml"
        path.write_text(yaml.safe_dump({**whole, **changes}, sort_keys=False), encoding="utf-8")
        return path

    return write


def test_each_method_runs_its_winner_with_every_seed_and_the_results_tell_the_search(written, tmp_path):
    told: list[str] = []

    def reporter(name: str) -> Silent:
        told.append(name)
        return Silent()

    path = written()
    chosen = choose(asked(path), reporter)
    assert not chosen.gaps and not any(one.space for one in chosen.asked)
    made = train_missing(chosen.asked, reporter)
    assert len(told) == 4 + 4  # two rates of two methods; two second seeds, and the probe, which has no space, twice
    files = made.keep(tmp_path / "kept")
    assert [file.relative_to(tmp_path / "kept").as_posix() for file in files] == [
        f"t/{method}-seed{seed}.json" for method in ("v2", "lora", "probe") for seed in (0, 4)
    ]
    records = [json.loads(file.read_text()) for file in files]
    for first, second in (records[:2], records[2:4]):
        assert first["search"] == second["search"] == {"trials": 2, "learning_rates": [0.03, 0.3]}
        assert first["config"]["training"] == second["config"]["training"]
        assert (first["seed"], second["seed"]) == (0, 4)
    assert not records[4].get("search")
    assert len(read([tmp_path / "kept"]).runs) == 6

    sweep = json.loads((tmp_path / "runs" / "t-v2-search" / "sweep.json").read_text())
    scores = {one["values"]["training.learning_rate"]: one["rungs"][-1]["score"] for one in sweep["trials"]}
    chosen_rate = records[0]["config"]["training"]["learning_rate"]
    assert scores[chosen_rate] == max(scores.values())

    told.clear()
    again = choose(asked(path), reporter)
    assert again == chosen and train_missing(again.asked, reporter).runs == made.runs
    assert not told


def test_unequal_budgets_are_refused_before_anything_is_run(written, tmp_path):
    more = {"method": "ia3", "space": {"training.learning_rate": [0.01, 0.1, 1.0]}}
    path = written(methods={"v2": {"method": "p-tuning-v2", "space": RATES}, "ia3": more})
    with pytest.raises(ConfigError, match="unequal budgets: 3 trials for t-ia3, 2 for t-v2"):
        choose(asked(path))
    assert not list(tmp_path.glob("runs/*-search"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search": {"max_minutes": 3}}, "not equal ones"),
        ({"search": {"kind": "gird"}}, "kind"),
        ({"search": {"kind": "random"}}, "needs a number of trials"),
        ({"methods": {"a": {"method": "ia3", "space": {"training.learning_rat": [1, 2]}}}}, "learning_rate"),
    ],
)
def test_a_search_that_cannot_be_is_told(changes, message, written):
    with pytest.raises(ConfigError, match=message):
        choose(asked(written(**changes)))


def test_what_is_wrong_with_the_last_run_is_told_before_the_first_is_run(written, tmp_path):
    told: list[str] = []

    def reporter(name: str) -> Silent:
        told.append(name)
        return Silent()

    good = {"method": "p-tuning-v2", "space": RATES}
    wrong = {"method": "p-tuning-v2", "space": RATES, "data": {"source": str(tmp_path / "none.jsonl")}}
    for last in (wrong, {"method": "linear-probe", "trainin": {}}):
        with pytest.raises(ForewordError, match=r"none\.jsonl|trainin"):
            choose(asked(written(methods={"good": good, "last": last})), reporter)
    assert not told


def test_a_folder_of_another_search_is_not_gone_on_with(written):
    choose(asked(written(methods={"v2": {"method": "p-tuning-v2", "space": RATES}})))
    other = {"v2": {"method": "p-tuning-v2", "space": {"training.learning_rate": [0.03, 0.2]}}}
    with pytest.raises(ConfigError, match="another sweep"):
        choose(asked(written(methods=other)))


def test_a_method_that_no_rate_suits_is_a_gap_and_the_others_go_on(written):
    methods = {
        "v2": {"method": "p-tuning-v2", "space": RATES},
        "lame": {"method": "ia3", "space": {"training.learning_rate": [1e-5, 1e-4]}},
    }
    chosen = choose(asked(written(methods=methods)))
    assert {one.name for one in chosen.asked} == {"t-v2"}
    assert len(chosen.gaps) == 1 and chosen.gaps[0].startswith("t-lame: no trial is fit to win")
