from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

import foreword
from foreword import api
from foreword import config as configs
from foreword.errors import (
    BackboneError,
    ConfigError,
    DataError,
    ForewordError,
    Interrupted,
    TemplateError,
    Unsupported,
)
from foreword.training.loop import Silent
from support.folders import rows, settings, write_rows


def test_a_run_writes_its_whole_record(bert_folder: Path, data_file: Path, tmp_path: Path) -> None:
    made = foreword.train(settings(bert_folder, data_file), folder=tmp_path / "run")
    written = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(made.record))
    assert written["train"] == {
        "rows": 16, "steps": 4, "steps_planned": 4, "epochs": 2.0,
        "best_step": written["train"]["best_step"], "stopped_early": False,
    }  # fmt: skip
    for split in ("validation", "test"):
        assert written[split]["rows"] == 8
        assert len(written[split]["predictions"]) == 8
        assert written[split]["majority"]["accuracy"] == 0.5
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [entry["step"] for entry in lines if "loss" in entry] == [1, 2, 3, 4]
    assert [entry["step"] for entry in lines if "validation" in entry] == [2, 4]
    assert {"run.yaml", "plan.json", "metrics.jsonl", "checkpoint.safetensors", "artifact", "result.json"} == {
        path.name for path in (tmp_path / "run").iterdir()
    }


def test_the_saved_settings_repeat_the_run(bert_folder: Path, data_file: Path, tmp_path: Path) -> None:
    first = foreword.train(settings(bert_folder, data_file, seed=3), folder=tmp_path / "one")
    second = foreword.train(tmp_path / "one" / "run.yaml", folder=tmp_path / "two")
    same = ("test", "validation", "curve", "config", "data", "backbone_fingerprint", "parameters")
    assert {name: first.record[name] for name in same} == {name: second.record[name] for name in same}


class Killed(Exception):
    pass


class Killer:
    """A reporter that dies after a step, as a killed process does."""

    def __init__(self, step: int) -> None:
        self.at = step

    def step(self, done: int, steps: int, loss: float) -> None:
        if done == self.at:
            raise Killed

    def kept(self, done: int, rows: int) -> None: ...

    def evaluated(self, step: int, metrics: dict[str, float]) -> None: ...


@pytest.mark.parametrize("at", [1, 3, 4])
def test_law_7_a_killed_run_goes_on_as_if_nothing_had_happened(
    at: int,
    bert_folder: Path,
    data_file: Path,
    tmp_path: Path,
) -> None:
    values = settings(bert_folder, data_file, training={"epochs": 3, "batch_size": 8, "learning_rate": 0.01})
    whole = foreword.train(values, folder=tmp_path / "whole")
    with pytest.raises(Killed):
        foreword.train(values, folder=tmp_path / "parts", reporter=Killer(at))
    resumed = foreword.train(values, folder=tmp_path / "parts", resume=True)
    same = ("test", "validation", "curve")
    assert {name: whole.record[name] for name in same} == {name: resumed.record[name] for name in same}
    logs = [(tmp_path / name / "metrics.jsonl").read_text(encoding="utf-8") for name in ("whole", "parts")]
    assert logs[0] == logs[1]


def test_a_folder_with_a_run_is_not_overwritten(bert_folder: Path, data_file: Path, tmp_path: Path) -> None:
    values = settings(bert_folder, data_file)
    foreword.train(values, folder=tmp_path / "run")
    with pytest.raises(ConfigError, match="there is a run already"):
        foreword.train(values, folder=tmp_path / "run")
    with pytest.raises(ConfigError, match="other settings"):
        foreword.train({**values, "seed": 9}, folder=tmp_path / "run", resume=True)
    foreword.train({**values, "seed": 9}, folder=tmp_path / "run", overwrite=True)


def test_a_folder_that_is_no_run_is_never_deleted(bert_folder: Path, data_file: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work", encoding="utf-8")
    foreword.train(settings(bert_folder, data_file), folder=tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text(encoding="utf-8") == "years of work"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"method": "p-tunning"}, ConfigError, "did you mean 'p-tuning'"),
        ({"method": {"name": "p-tuning-v2", "lenght": 3}}, ConfigError, "lenght"),
        ({"template": {"text": "{texts}"}}, TemplateError, "texts"),
        ({"template": {"text": "no field"}}, TemplateError, "field"),
        ({"backbone": "no-such-model"}, BackboneError, "no-such-model"),
        ({"training": {"metric": "accurracy"}}, ConfigError, "accurracy"),
        ({"method": {"name": "p-tuning-v2", "layers": [7]}}, ConfigError, "layers 0 to 2"),
        ({"method": "hard", "readout": "linear"}, Unsupported, "linear-probe"),
        ({"method": "linear-probe", "readout": "verbalizer"}, Unsupported, "nothing to train"),
        ({"method": {"name": "prompt-tuning", "num_virtual_tokens": 200}}, ForewordError, "200"),
        ({"method": "linear-probe", "template": {"text": "{soft}{text}"}}, Unsupported, "soft slots"),
        ({"method": {"name": "prompt-tuning", "init": "text"}}, ConfigError, "init_text"),
        ({"readout": {"name": "verbalizer", "words": {"good": "good"}}}, TemplateError, "bad"),
        ({"readout": {"name": "verbalizer", "words": {"good": "☃☃", "bad": "bad"}}}, TemplateError, "☃"),
        ({"task": "clasification"}, ConfigError, "did you mean 'classification'"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_left(
    changes: dict[str, Any],
    error: type[ForewordError],
    message: str,
    bert_folder: Path,
    data_file: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=message):
        api.prepare(api.as_config(settings(bert_folder, data_file, **changes)))


def test_more_key_values_than_positions_are_refused(gpt2_folder: Path, data_file: Path) -> None:
    method = {"name": "p-tuning-v2", "init": "text", "init_text": "a good story", "num_virtual_tokens": 96}
    with pytest.raises(ConfigError, match="positions"):
        foreword.train(settings(gpt2_folder, data_file, method=method))


def test_a_run_whose_loss_is_not_finite_says_so(bert_folder: Path, data_file: Path) -> None:
    training = {"epochs": 40, "learning_rate": 1e30, "max_grad_norm": None, "batch_size": 8}
    with pytest.raises(ForewordError, match="loss is"):
        foreword.train(settings(bert_folder, data_file, training=training))


def test_early_stopping_without_validation_rows_is_refused(bert_folder: Path, tmp_path: Path) -> None:
    data = write_rows(tmp_path / "d.jsonl", rows())
    values = settings(bert_folder, data, training={"patience": 2})
    values["data"]["split"] = {"validation": 0.0, "test": 0.25}
    with pytest.raises(ConfigError, match="early stopping"):
        foreword.train(values)


def test_early_stopping_stops(bert_folder: Path, data_file: Path) -> None:
    training = {"epochs": 50, "batch_size": 8, "learning_rate": 1e-8, "patience": 2}
    made = foreword.train(settings(bert_folder, data_file, training=training))
    assert made.record["train"]["stopped_early"]
    assert made.record["train"]["steps"] == 6


def test_predict_takes_texts_pairs_and_mappings(bert_folder: Path, data_file: Path) -> None:
    made = foreword.train(settings(bert_folder, data_file)).foreword
    [one] = made.predict(["a fine story"])
    assert [one] == made.predict([{"text": "a fine story"}]) == made.predict([("a fine story",)])
    assert abs(sum(one.probabilities.values()) - 1) < 1e-6
    assert one.probability == max(one.probabilities.values())
    assert made.predict([]) == []
    for wrong in ({"txt": "x"}, ("a", "b"), {"text": 3}):
        with pytest.raises(DataError, match="text"):
            made.predict([wrong])  # type: ignore[list-item]
    with pytest.raises(DataError, match="a list"):
        made.predict("one text")


def test_a_degenerate_run_is_called_so(bert_folder: Path, data_file: Path) -> None:
    made = foreword.train(
        settings(bert_folder, data_file, method="linear-probe", training={"max_steps": 1, "learning_rate": 1e-12})
    )
    predicted = set(made.record["test"]["predictions"])
    assert made.record["test"]["degenerate"] == (len(predicted) == 1)


def test_ctrl_c_saves_and_says_how_to_go_on(bert_folder: Path, data_file: Path, tmp_path: Path) -> None:
    class Impatient:
        def step(self, done: int, steps: int, loss: float) -> None:
            if done == 1:
                os.kill(os.getpid(), signal.SIGINT)

        def kept(self, done: int, rows: int) -> None: ...

        def evaluated(self, step: int, metrics: dict[str, float]) -> None: ...

    values, before = settings(bert_folder, data_file), signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match="--resume"):
        foreword.train(values, folder=tmp_path / "run", reporter=Impatient())
    assert signal.getsignal(signal.SIGINT) is before
    resumed = foreword.train(values, folder=tmp_path / "run", resume=True)
    whole = foreword.train(values)
    assert resumed.record["curve"] == whole.record["curve"]


def test_three_classes(bert_folder: Path, tmp_path: Path) -> None:
    three = [{**row, "label": ("bad", "good", "so so")[i % 3]} for i, row in enumerate(rows(36))]
    values = settings(bert_folder, write_rows(tmp_path / "three.jsonl", three))
    made = foreword.train(values, folder=tmp_path / "run")
    assert made.record["labels"] == ["bad", "good", "so so"]
    assert {"accuracy", "macro_f1", "mcc", "loss"} <= set(made.record["test"])
    assert "f1" not in made.record["test"] and "f1" not in made.record["test"]["majority"]
    assert foreword.load(tmp_path / "run" / "artifact").predict(["a good day"])[0].label in made.record["labels"]
    with pytest.raises(ConfigError, match="two classes, and there are 3"):
        foreword.train({**values, "training": {"metric": "f1"}})


def test_evaluate_refuses_rows_without_a_class_number(bert_folder: Path, data_file: Path) -> None:
    model = foreword.train(settings(bert_folder, data_file)).foreword
    assert len(model.evaluate([{"text": "a good day", "label": 1}]).predictions) == 1
    for wrong in ("good", 2, -1, None):
        with pytest.raises(DataError, match="row 1"):
            model.evaluate([{"text": "a good day", "label": wrong}])
    with pytest.raises(DataError, match="no rows"):
        model.evaluate([])
    with pytest.raises(DataError, match="1 text"):
        model.predict([5])  # type: ignore[list-item]


def test_a_replaced_run_leaves_no_artifact_of_the_old_one(bert_folder: Path, data_file: Path, tmp_path: Path) -> None:
    values = settings(bert_folder, data_file)
    foreword.train(values, folder=tmp_path / "run")
    with pytest.raises(Killed):
        foreword.train({**values, "seed": 1}, folder=tmp_path / "run", overwrite=True, reporter=Killer(1))
    assert not (tmp_path / "run" / "artifact").exists()


@pytest.mark.parametrize("half", ['{"step": 3, "lo', '{"step": 2, "validation": {"loss": 1.0}'])
def test_resume_drops_half_a_line_of_the_log(bert_folder: Path, data_file: Path, tmp_path: Path, half: str) -> None:
    values = settings(bert_folder, data_file)
    with pytest.raises(Killed):
        foreword.train(values, folder=tmp_path / "run", reporter=Killer(3))
    log = tmp_path / "run" / "metrics.jsonl"
    log.write_text(log.read_text(encoding="utf-8") + half, encoding="utf-8")
    foreword.train(values, folder=tmp_path / "run", resume=True)
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [entry["step"] for entry in entries if "loss" in entry] == [1, 2, 3, 4]


def test_parameters_that_are_not_finite_are_never_saved(bert_folder: Path, data_file: Path, tmp_path: Path) -> None:
    training = {"optimizer": "adafactor", "learning_rate": 1e6, "max_steps": 1, "weight_decay": 1e300}
    with pytest.raises(ForewordError, match="not finite|loss is"):
        foreword.train(settings(bert_folder, data_file, training=training), folder=tmp_path / "run")
    assert not (tmp_path / "run" / "artifact").exists()


def test_the_plan_counts_a_row_once_however_many_variants_it_has(bert_folder: Path, data_file: Path) -> None:
    words = {"name": "verbalizer", "words": {"good": "very good", "bad": "bad"}}
    values = settings(bert_folder, data_file, readout=words, template={"text": "{text} {mask}", "max_length": 12})
    plan = api.prepare(api.as_config(values)).plan
    assert plan.train_rows == 16
    assert plan.cut.startswith("16 of 16 rows")


def test_the_plan_of_a_hard_prompt_expects_one_evaluation(bert_folder: Path, data_file: Path) -> None:
    plans = [
        api.prepare(api.as_config(settings(bert_folder, data_file, method="hard", training={"epochs": n}))).plan
        for n in (1, 500)
    ]
    assert plans[0].tflops == plans[1].tflops
    assert plans[0].steps == plans[1].steps == 0


def test_runs_in_one_pass_need_one_backbone_and_a_folder_each(
    bert_folder: Path, gpt2_folder: Path, data_file: Path, tmp_path: Path
) -> None:
    one = settings(bert_folder, data_file)
    with pytest.raises(ConfigError, match="share one backbone"):
        api.train_together([one, settings(gpt2_folder, data_file)])
    with pytest.raises(ConfigError, match="no runs"):
        api.train_together([])
    with pytest.raises(ConfigError, match="folder of its own"):
        api.train_together([one, {**one, "seed": 1}], folders=[tmp_path / "a", tmp_path / "a"])
    with pytest.raises(ConfigError, match="folder of its own"):
        api.train_together([one, {**one, "seed": 1}], folders=[tmp_path / "a"])


def test_methods_of_different_kinds_train_in_one_pass(bert_folder: Path, data_file: Path) -> None:
    one = settings(bert_folder, data_file)
    probe, prompt = {**one, "method": "linear-probe"}, {**one, "method": {"name": "prompt-tuning"}}
    results = api.train_together([one, probe, prompt])
    assert [result.record["method"] for result in results] == ["p-tuning-v2", "linear-probe", "prompt-tuning"]
    assert len({result.foreword.bank.backbone.fingerprint for result in results}) == 1
    for result in results:
        assert result.foreword.predict(["a fine story"])[0].label in ("good", "bad")


def test_what_the_frozen_layers_give_is_kept_between_runs(
    bert_folder: Path, data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOREWORD_CACHE", str(tmp_path / "cache"))
    run = settings(bert_folder, data_file, method="linear-probe")
    first = api.train(run)
    assert "are run once" in first.record["plan"]["route"]
    folders = sorted((tmp_path / "cache" / "states").iterdir())
    second = api.train({**run, "seed": 1})
    assert "lie ready" in second.record["plan"]["route"]
    assert sorted((tmp_path / "cache" / "states").iterdir()) == folders
    assert first.record["kept_seconds"] > 0 and first.record["latency_ms"] > 0
    recipe = tmp_path / "off.yaml"
    recipe.write_text(yaml.safe_dump(run) + "\n", encoding="utf-8")
    off = api.train(configs.load(recipe, ["training.cache=off"]))
    assert off.record["kept_seconds"] == 0
    assert off.record["test"]["predictions"] == first.record["test"]["predictions"]
    assert off.record["test"]["loss"] == pytest.approx(first.record["test"]["loss"], rel=1e-4)


def test_a_stop_in_the_last_step_is_a_stop_before_scoring(bert_folder: Path, data_file: Path, tmp_path: Path) -> None:
    class Late(Silent):
        def step(self, done: int, steps: int, loss: float) -> None:
            if done == steps:
                os.kill(os.getpid(), signal.SIGTERM)

    values, folder = settings(bert_folder, data_file), tmp_path / "run"
    with pytest.raises(Interrupted, match="after step 4 of 4"):
        api.train(values, folder=folder, reporter=Late())
    assert not (folder / "result.json").exists()
    resumed = api.train(values, folder=folder, resume=True)
    assert resumed.record["test"]["predictions"] == api.train(values).record["test"]["predictions"]


def test_a_stop_while_the_trunk_is_made_leaves_nothing(
    bert_folder: Path, data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOREWORD_CACHE", str(tmp_path / "cache"))

    class Early(Silent):
        def kept(self, done: int, rows: int) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    run, before = settings(bert_folder, data_file, method="linear-probe"), signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="while what is kept of the data was made"):
        api.train(run, reporter=Early())
    assert signal.getsignal(signal.SIGTERM) is before
    assert not list((tmp_path / "cache").rglob("*.npy"))


def test_a_run_ends_well_when_what_it_reads_is_dropped_meanwhile(
    bert_folder: Path, data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process makes room for its own; the files are mapped, and go when the run ends."""
    monkeypatch.setenv("FOREWORD_CACHE", str(tmp_path / "cache"))

    class Dropping(Silent):
        def step(self, done: int, steps: int, loss: float) -> None:
            shutil.rmtree(tmp_path / "cache" / "states", ignore_errors=True)

    run = settings(bert_folder, data_file, method="linear-probe")
    made = api.train({**run, "training": {**run["training"], "cache": "float16"}}, reporter=Dropping())
    assert 0 < made.record["kept_error"] < 1e-2


def test_a_run_that_was_not_begun_begins_where_another_goes_on(
    bert_folder: Path, data_file: Path, tmp_path: Path
) -> None:
    runs = [settings(bert_folder, data_file, seed=seed) for seed in (0, 1)]
    folders = [tmp_path / "0", tmp_path / "1"]
    first = api.train(runs[0], folder=folders[0])
    both = api.train_together(runs, folders=folders, resume=True)
    assert [result.record["seed"] for result in both] == [0, 1] and (folders[1] / "artifact").is_dir()
    assert both[0].record["test"]["predictions"] == first.record["test"]["predictions"]
    with pytest.raises(ConfigError, match="no run to resume"):
        api.train_together(runs, folders=[tmp_path / "a", tmp_path / "b"], resume=True)
