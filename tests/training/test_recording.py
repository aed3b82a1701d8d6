"""What a result holds since schema 2: a hash of every example, of the prompt and of the code, and the right classes."""

from __future__ import annotations

import pytest

import foreword
from foreword.tasks.classification import Classification
from foreword.tasks.summarization import Summarization
from foreword.training import source
from foreword.training.record import example_hash
from support.folders import rows, settings, write_rows


def test_every_example_prompt_and_code_is_named(bert_folder, data_file, tmp_path):
    made = foreword.train(settings(bert_folder, data_file)).record
    assert made["schema"] == 2 and sum(made["train_classes"]) == 16
    test = made["test"]
    hashes = test["examples"].split()
    assert len(hashes) == len(set(hashes)) == len(test["targets"]) == len(test["confidences"]) == 8
    right = sum(p == t for p, t in zip(test["predictions"], test["targets"], strict=True))
    assert test["accuracy"] == right / 8
    assert all(0.5 <= sure <= 1 for sure in test["confidences"])
    assert made["code"] == {"version": made["versions"]["foreword"], "source": source.source_hash()}
    other = foreword.train(settings(bert_folder, data_file, template={"text": "Well: {text}", "max_length": 48})).record
    assert other["prompt"] != made["prompt"] and other["test"]["examples"] == test["examples"]
    changed = [{**row, "text": row["text"].replace("well", "so")} for row in rows()]
    moved = foreword.train(settings(bert_folder, write_rows(tmp_path / "other.jsonl", changed))).record
    assert moved["prompt"] == made["prompt"] and not set(moved["test"]["examples"].split()) & set(hashes)


def test_an_examples_hash_is_of_its_input_and_of_what_is_right():
    task = Classification()
    one = example_hash({"text": "a", "label": 0}, task)
    assert one == example_hash({"label": 0, "text": "a", "id": 7}, task), "other columns are not read"
    assert len({one, example_hash({"text": "a", "label": 1}, task), example_hash({"text": "b", "label": 0}, task)}) == 3
    written = Summarization()
    row = {name: "a" for name in written.fields} | {written.target: ("b", "c")}
    assert example_hash(row, written) != example_hash({**row, written.target: ("b",)}, written)
    assert len(example_hash({"text": "half \ud83d", "label": 0}, task)) == 12


def test_the_codes_hash_changes_with_the_program_and_not_with_its_words():
    plain = {"a.py": "def f(x):\n    return x + 1\n"}
    told = {"a.py": '"""Words."""\n\n\ndef f(x):\n    """More."""  # and more\n    return (x + 1)\n'}
    changed = {"a.py": "def f(x):\n    return x + 2\n"}
    assert source._hash(plain) == source._hash(told)
    assert source._hash(plain) != source._hash(changed)
    assert source._hash(plain) != source._hash({"b.py": plain["a.py"]})


@pytest.mark.parametrize("name", ["methods/p_tuning_v2.py", "training/loop.py", "evaluation/metrics.py", "bank.py"])
def test_the_files_that_decide_are_among_those_that_count(name):
    assert name in source._FILES
    assert not {"cli/main.py", "evaluation/report.py", "page/plots.py"} & set(source._FILES)
