"""Whole sweeps on a tiny encoder: killed and resumed, in one pass and one by one, refused, degenerate, diverged."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from foreword import config as configs
from foreword.backbone import loading
from foreword.comparison import results
from foreword.errors import ConfigError, ForewordError, Interrupted
from foreword.sweep import run as running
from foreword.sweep import spec
from foreword.sweep.checking import check
from foreword.sweep.page import html, trial_rows
from foreword.sweep.run import Unwatched, run
from foreword.sweep.search import SearchConfig
from foreword.sweep.spec import Sweep
from foreword.training import plan
from foreword.training.loop import Silent
from support.folders import settings

SPACE: dict[str, Any] = {
    "training.learning_rate": {"log_uniform": [0.03, 0.3]},
    "method.layers": ["all", "top-half"],
}
HALVING = {"eta": 2, "min_steps": 2}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREWORD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(plan, "matrix_rate", lambda: 1e10)  # measured anew for every trial, and not looked at here


@pytest.fixture
def recipe(tmp_path: Path, bert_folder: Path, data_file: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    training = {"epochs": 4, "batch_size": 8, "schedule": "constant"}  # 8 steps, an evaluation every 2
    readout = {"name": "linear", "position": "mean"}
    path.write_text(yaml.safe_dump(settings(bert_folder, data_file, training=training, readout=readout)))
    return path


def made(recipe: Path, space: dict[str, Any] | None = None, **search: Any) -> Sweep:
    path = recipe.parent / "space.yaml"
    values = {"kind": "random", "trials": 4, "halving": HALVING, **search}
    path.write_text(yaml.safe_dump({"space": space or SPACE, "search": values}))
    return spec.load(recipe, path)


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """All but the seconds, to the last bit."""

    def plain(given: dict[str, Any]) -> Any:
        trials = [{**t, "rungs": [{**r, "seconds": 0} for r in t["rungs"]]} for t in given["trials"]]
        return json.dumps([trials, given["winner"], given["sensitivity"]], sort_keys=True)

    assert plain(one) == plain(other)


class Killer(Unwatched):
    """Ends the process, as it were, after so many steps of all trials: nothing is saved then."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def begins(self, rung: int, steps: Sequence[int], trials: Sequence[Any]) -> list[Any]:
        outer = self

        class Watch(Silent):
            def step(self, done: int, steps: int, loss: float) -> None:
                outer.left -= 1
                if outer.left == 0:
                    raise KeyboardInterrupt

        return [Watch() for _ in trials]


@pytest.mark.parametrize("steps", [3, 9, 15])
def test_a_killed_and_resumed_sweep_equals_an_uninterrupted_one(recipe: Path, tmp_path: Path, steps: int) -> None:
    whole = run(made(recipe), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(made(recipe), tmp_path / "cut", observer=Killer(steps))
    before = json.loads((tmp_path / "cut" / "sweep.json").read_text())
    assert not before["done"] and "winner" not in before
    again = run(made(recipe), tmp_path / "cut", resume=True)
    same(again, whole)
    assert (tmp_path / "cut" / "best.yaml").read_text() == (tmp_path / "whole" / "best.yaml").read_text()


@pytest.mark.parametrize("step", [1, 2])
def test_ctrl_c_stops_the_sweep_at_a_step_and_at_a_pause(recipe: Path, tmp_path: Path, step: int) -> None:
    class Stopper(Killer):
        def begins(self, rung: int, steps: Sequence[int], trials: Sequence[Any]) -> list[Any]:
            class Watch(Silent):
                def step(self, done: int, steps: int, loss: float) -> None:
                    if done == step:
                        os.kill(os.getpid(), signal.SIGINT)

            return [Watch() for _ in trials]

    with pytest.raises(Interrupted, match="what is done is kept") as caught:
        run(made(recipe, trials=2), tmp_path / "cut", observer=Stopper(0))
    assert "--resume" in str(caught.value)
    again = run(made(recipe, trials=2), tmp_path / "cut", resume=True)
    same(again, run(made(recipe, trials=2), tmp_path / "whole"))


def test_finished_trials_are_not_run_again(recipe: Path, tmp_path: Path) -> None:
    first = run(made(recipe), tmp_path / "s")
    again = run(made(recipe), tmp_path / "s", resume=True, observer=Killer(1))
    same(again, first)
    more = run(made(recipe, trials=5), tmp_path / "s", resume=True)
    assert [t["values"] for t in more["trials"]][:4] == [t["values"] for t in first["trials"]]


def test_the_winners_record_says_what_was_searched_of_its_method(recipe: Path, tmp_path: Path) -> None:
    space = {"training.learning_rate": [0.03, 0.1, 0.3], "method": [{"name": "p-tuning-v2"}, "bitfit"]}
    found = run(made(recipe, space, kind="grid", trials=None, halving=None), tmp_path / "s")
    number = found["winner"]["number"]
    record = json.loads((tmp_path / "s" / "trials" / f"{number:03d}" / "result.json").read_text())
    assert record["search"] == {"trials": 3, "learning_rates": [0.03, 0.1, 0.3]}
    [one] = results.read([tmp_path / "s" / "trials"]).runs
    assert one.record["search"]["trials"] == 3, "a comparison reads it there"


def test_a_pass_of_several_equals_trials_one_by_one(recipe: Path, tmp_path: Path) -> None:
    alone, together = (run(made(recipe, together=k), tmp_path / str(k)) for k in (1, 3))
    assert alone["winner"]["number"] == together["winner"]["number"]
    for one, other in zip(alone["trials"], together["trials"], strict=True):
        assert one["values"] == other["values"] and len(one["rungs"]) == len(other["rungs"])
        for mine, theirs in zip(one["rungs"], other["rungs"], strict=True):
            assert mine["score"] == pytest.approx(theirs["score"], abs=1e-9)
            assert mine["best_step"] == theirs["best_step"]


def test_a_trial_that_went_on_is_the_run_that_it_would_have_been_alone(recipe: Path, tmp_path: Path) -> None:
    from foreword.api import train

    found = run(made(recipe), tmp_path / "s")
    number = found["winner"]["number"]
    assert len(found["trials"][number]["rungs"]) == 3, "it was paused twice"
    alone = train(configs.load(tmp_path / "s" / "best.yaml"), folder=tmp_path / "alone")
    record = json.loads((tmp_path / "s" / "trials" / f"{number:03d}" / "result.json").read_text())
    for name in ("validation", "test", "curve"):
        assert record[name] == json.loads(json.dumps(alone.record[name]))
    assert found["winner"]["score"] == pytest.approx(alone.record["validation"]["accuracy"])
    assert found["winner"]["test"]["accuracy"] == alone.record["test"]["accuracy"]


def test_test_rows_are_scored_for_the_winner_alone(recipe: Path, tmp_path: Path) -> None:
    found = run(made(recipe), tmp_path / "s")
    results = sorted(path.parent.name for path in (tmp_path / "s" / "trials").glob("*/result.json"))
    assert results == [f"{found['winner']['number']:03d}"]
    assert not any("test" in rung for trial in found["trials"] for rung in trial["rungs"])


def test_the_diverged_and_those_that_cannot_be_run_are_marked_and_never_win(recipe: Path, tmp_path: Path) -> None:
    space = {"training.learning_rate": [0.1, 1e30], "method.layers": ["all", [0, 7]]}
    found = run(made(recipe, space, kind="grid", trials=None, together=2, halving=None), tmp_path / "s")
    by_values = {(t["values"]["training.learning_rate"], str(t["values"]["method.layers"])): t for t in found["trials"]}
    assert by_values[1e30, "all"]["rungs"][-1]["diverged"]
    assert "the loss is nan" in by_values[1e30, "all"]["rungs"][-1]["failure"]
    assert "the backbone has layers 0 to" in by_values[0.1, "[0, 7]"]["rungs"][-1]["failure"]
    assert found["winner"]["values"] == {"training.learning_rate": 0.1, "method.layers": "all"}
    fates = {row[-1].partition(":")[0] for row in trial_rows(found)[1]}
    assert fates == {"winner", "diverged", "could not be run"}


def test_a_degenerate_trial_is_marked_and_never_wins(recipe: Path, tmp_path: Path) -> None:
    space = {"training.learning_rate": [1e-12, 0.1]}
    found = run(made(recipe, space, kind="grid", trials=None, halving=None), tmp_path / "s")
    sick = next(t for t in found["trials"] if t["values"]["training.learning_rate"] == 1e-12)
    assert sick["rungs"][-1]["degenerate"]
    assert found["winner"]["number"] != sick["number"]
    assert ["degenerate"] == [row[-1] for row in trial_rows(found)[1] if row[0] == str(sick["number"])]


def test_no_winner_is_told_and_kept(recipe: Path, tmp_path: Path) -> None:
    space = {"training.learning_rate": [1e30, 1e29]}
    with pytest.raises(ForewordError, match="2 diverged"):
        run(made(recipe, space, kind="grid", trials=None, halving=None), tmp_path / "s")
    assert len(json.loads((tmp_path / "s" / "sweep.json").read_text())["trials"]) == 2
    assert not (tmp_path / "s" / "best.yaml").exists()


def test_what_trains_nothing_is_swept_too_and_one_answer_everywhere_does_not_win(recipe: Path, tmp_path: Path) -> None:
    words = '{"name": "verbalizer", "words": {"bad": "sad", "good": "fine"}}'
    sweep = spec.sweep_of(
        recipe,
        ["method={name: hard}", f"readout={words}"],
        {"template.text": ["{text} It was {mask}", "{mask} {text}"]},
        SearchConfig(kind="grid"),
    )
    with pytest.raises(ForewordError, match="2 gave one answer everywhere"):
        run(sweep, tmp_path / "s")  # an untrained tiny model says one word to everything
    found = json.loads((tmp_path / "s" / "sweep.json").read_text())
    last = [trial["rungs"][-1] for trial in found["trials"]]
    assert [(one["parameters"], one["step"], one["done"]) for one in last] == [(0, 0, True)] * 2
    assert all(one["score"] is not None for one in last)


def test_when_the_time_is_up_the_best_so_far_is_told_and_the_sweep_goes_on_later(recipe: Path, tmp_path: Path) -> None:
    late = iter([False, False, True])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running.Running, "_time_is_up", lambda self: next(late))
        early = run(made(recipe, max_minutes=1), tmp_path / "s")
    assert not early["done"] and not early["winner"]["scored"] and "test" not in early["winner"]
    assert len(early["trials"]) == 2
    assert configs.load(tmp_path / "s" / "best.yaml").backbone
    assert "best so far" in html(early)
    same(run(made(recipe), tmp_path / "s", resume=True), run(made(recipe), tmp_path / "whole"))


def test_a_changed_space_is_refused_with_the_difference(recipe: Path, tmp_path: Path) -> None:
    run(made(recipe, halving=None, trials=1), tmp_path / "s")
    assert check(made(recipe)).data.keys() >= {"train", "validation"}, "other rows are another sweep"
    for changed, said in (
        (made(recipe, {**SPACE, "method.layers": ["all"]}, halving=None, trials=1), "space.method.layers was"),
        (made(recipe, {**SPACE, "seed": [1]}, halving=None, trials=1), "space.seed is there only now"),
        (made(recipe, halving=None, trials=1, seed=5), "search.seed was 0 and is 5"),
        (made(recipe, trials=1), "search.halving was null"),
    ):
        with pytest.raises(ConfigError, match="another sweep") as caught:
            run(changed, tmp_path / "s", resume=True)
        assert said in str(caught.value)
    for resume, message in ((False, "already"), (True, "no sweep to resume")):
        with pytest.raises(ConfigError, match=message):
            run(made(recipe), tmp_path / "s" if not resume else tmp_path / "nowhere", resume=resume)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"training.learning_rat": [0.1]}, "did you mean 'learning_rate'"),
        ({"optimizer": ["adamw"]}, "no field optimizer"),
        ({"training.epochs.x": [1]}, "no group"),
        ({"method.r": [4]}, "no field method.r"),
        ({"output": ["x"]}, "not swept"),
        ({"training.learning_rate": ["fast"]}, "trial 0 is no run"),
        ({"training.learning_rate": [-1]}, "trial 0 is no run"),
        ({"method.init": ["text"], "method.prefix_projection": [True]}, "prefix_projection makes by its MLP"),
        ({"task": ["nonsense"]}, "unknown task"),
        ({"training.metric": ["accuracy", "f1"]}, "different metrics"),
        ({"training.metric": ["rouge"]}, "unknown metric"),
        ({"data.split.seed": [0, 1]}, "different validation rows"),
        ({"data.split.validation": [0.0]}, "there are none"),
        ({"template.text": ["{body}"]}, "body"),
    ],
)
def test_what_one_trial_refuses_is_told_before_any_model_is_loaded(
    space: dict[str, Any], message: str, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loads(*_: object) -> None:
        raise AssertionError("a model is loaded")

    monkeypatch.setattr(loading, "load", loads)
    monkeypatch.setattr(running, "load_backbone", loads)
    with pytest.raises(ForewordError) as caught:
        run(made(recipe, space, kind="grid", trials=None, halving=None), tmp_path / "s")
    assert message in str(caught.value)
    assert not (tmp_path / "s").exists()


def test_halving_that_begins_behind_the_end_is_told(recipe: Path) -> None:
    with pytest.raises(ConfigError, match="behind the end"):
        check(made(recipe, halving={"min_steps": 500}))


def test_training_rows_may_be_swept(recipe: Path) -> None:
    found = check(made(recipe, {"data.limit.train": [8, 16]}, kind="grid", trials=None, halving=None))
    assert sorted(found.pauses) == [(4,), (8,)]


def test_the_page_names_the_winner_and_every_field(recipe: Path, tmp_path: Path) -> None:
    page = html(run(made(recipe), tmp_path / "s"))
    assert "<svg" in page and "training.learning_rate" in page and "method.layers" in page
    assert "nothing was chosen on test" in page
