"""Forewords that tag and that find: trained, saved, loaded and used, in Python and at the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import foreword
from foreword import api
from foreword.cli import main as entry
from foreword.errors import ConfigError, DataError
from support.folders import write_rows

TEMPLATES = {
    "tagging": "{tokens}",
    "extractive-qa": "{question}{sep}{context}",
    "knowledge-probing": "{subject}: {mask}",
}
TOWNS = ("good story", "great", "awful day", "film")


def rows_of(task: str) -> list[dict[str, Any]]:
    if task == "tagging":
        return [
            {
                "tokens": ["the", "film", "was", "good", *["very"] * (i // 2)],
                "tags": ["O", "B-x", "O", "O", *["O"] * (i // 2)],
            }
            for i in range(24)
        ]
    if task == "extractive-qa":
        return [
            {"context": f"The film {'was ' * (i + 1)}great.", "question": "Is it?", "answers": ["great", "film"]}
            for i in range(24)
        ]
    return [{"subject": "good " * (i // 4 + 1) + str(i), "object": TOWNS[i % 4]} for i in range(24)]


@pytest.fixture
def settings(bert_folder: Path, gpt2_folder: Path, tmp_path: Path):
    def make(task: str, **changes: Any) -> dict[str, Any]:
        source = write_rows(tmp_path / f"{task}.jsonl", rows_of(task))
        method = {"name": "prompt-tuning" if task == "knowledge-probing" else "p-tuning-v2", "num_virtual_tokens": 2}
        return {
            "data": {"source": str(source), "split": {"validation": 0.25, "test": 0.25}},
            "task": task,
            "backbone": str(gpt2_folder if task == "knowledge-probing" else bert_folder),
            "method": method,
            "training": {"epochs": 2, "batch_size": 8, "learning_rate": 0.02},
            "template": {"text": TEMPLATES[task], "max_length": 40},
            **changes,
        }

    return make


def test_tags_from_training_to_use(settings, tmp_path):
    result = api.train(settings("tagging"), folder=tmp_path / "run")
    record = result.record
    assert record["kind"] == "tagging" and record["labels"] == ["B-x", "O"]
    assert record["test"]["majority"]["span_f1"] == 0.0 and 0 < record["test"]["majority"]["accuracy"] < 1
    assert set(record["test"]["by_row"]) == {"right", "predicted", "gold"}
    assert len(record["test"]["predictions"][0]) >= 4
    loaded = foreword.load(tmp_path / "run" / "artifact")
    assert loaded.use == "tag"
    made = loaded.tag([("the", "film", "was"), "good film", {"tokens": ["great"]}])
    assert [one.words for one in made] == [("the", "film", "was"), ("good", "film"), ("great",)]
    assert all(set(one.tags) <= {"B-x", "O"} for one in made)
    assert made == result.foreword.tag([("the", "film", "was"), "good film", {"tokens": ["great"]}])
    rows = result.foreword.evaluate([{"tokens": ("the", "film"), "tags": (1, 0)}])
    assert set(rows.metrics) == {"span_f1", "span_precision", "span_recall", "accuracy", "loss"}
    for wrong, message in (((1,), "2 words"), ((1, 7), "no class number"), (None, "2 words")):
        with pytest.raises(DataError, match=message):
            loaded.evaluate([{"tokens": ("the", "film"), "tags": wrong}])
    for wrong in ("", " ", [], {"text": "good"}, {"tokens": ["a", 3]}):
        with pytest.raises(DataError, match="no words"):
            loaded.tag([wrong])
    with pytest.raises(ConfigError, match="answers with tags"):
        loaded.predict(["good film"])
    assert "model.tag(" in (tmp_path / "run" / "artifact" / "README.md").read_text()


def test_answers_from_training_to_use(settings, tmp_path):
    readout = {"name": "span", "stride": 2, "max_answer_length": 3}
    result = api.train(settings("extractive-qa", readout=readout), folder=tmp_path / "run")
    assert result.record["test"]["by_row"].keys() == {"answer_f1", "exact_match"}
    assert "majority" not in result.record["test"]
    assert all(isinstance(text, str) for text in result.record["test"]["predictions"])
    loaded = foreword.load(tmp_path / "run" / "artifact")
    context = "The film was great, and the story  was good. " * 4
    [made] = loaded.find([(context, "Is it?")])
    assert made.text == context[made.start : made.end] and made.text and 0 < made.probability < 1
    assert (
        loaded.find([{"context": context, "question": "Is it?"}])
        == [made]
        == result.foreword.find([(context, "Is it?")])
    )
    with pytest.raises(ConfigError, match="answers with parts of its inputs"):
        loaded.tag([context])
    with pytest.raises(DataError, match="has no answers"):
        loaded.evaluate([{"context": context, "question": "Is it?"}])


def test_facts_from_training_to_use(settings, tmp_path):
    result = api.train(settings("knowledge-probing"), folder=tmp_path / "run")
    record = result.record
    assert record["readout"] == "verbalizer" and record["labels"] == sorted(TOWNS)
    assert record["notes"][0] == "4 candidates: every object of all splits"
    assert record["test"]["p_at_10"] == 1.0 and record["test"]["majority"]["p_at_10"] == 1.0
    assert set(record["test"]["by_row"]) == {"p_at_1", "p_at_10", "mrr"}
    loaded = foreword.load(tmp_path / "run" / "artifact")
    [made] = loaded.predict(["good"])
    assert made.label in TOWNS and sum(made.probabilities.values()) == pytest.approx(1)


def test_a_relation_that_the_template_names_is_needed(settings):
    with pytest.raises(DataError, match="has no field 'relation'"):
        api.prepare(api.as_config(settings("knowledge-probing", template="{subject} {relation} {mask}")))


def test_the_command_line_tags_and_finds(settings, tmp_path, monkeypatch, capsys):
    def call(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["foreword", *map(str, arguments)])
        try:
            entry.main()
        except SystemExit as stop:
            assert not stop.code, capsys.readouterr().err
        return capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    for task in ("tagging", "extractive-qa"):
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(settings(task)), encoding="utf-8")
        out = call("train", "recipe.yaml", "--output", task)
        assert ("span F1" in out and "majority class" in out) if task == "tagging" else "exact match" in out
        found = json.loads(call("evaluate", f"{task}/artifact", "--json"))
        assert ("majority" in found) == (task == "tagging") and len(found["predictions"]) == found["rows"]
    words = call("predict", "tagging/artifact", "the film", '{"tokens": ["was", "good"]}').splitlines()
    assert [part.split("/")[0] for part in words[0].split()] == ["the", "film"] and words[1].startswith("was/")
    told = json.loads(call("predict", "tagging/artifact", "--json", "the film"))
    assert told["words"] == ["the", "film"] and len(told["tags"]) == 2
    line = call("predict", "extractive-qa/artifact", "The film was great.\tIs it?").rstrip("\n").split("\t")
    assert line[0] in "The film was great." and line[2] == "Is it?"
    told = json.loads(call("predict", "extractive-qa/artifact", "--json", "The film was great.\tIs it?"))
    assert told["text"] == "The film was great."[told["start"] : told["end"]]
    assert call("predict", "tagging/artifact", "film " * 60).count("film/") == 60, "words that are cut off are O"
    assert "B-x" in call("data", "show", tmp_path / "tagging.jsonl", "--task", "tagging")
