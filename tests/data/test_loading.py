from __future__ import annotations

import json
from collections import Counter

import pytest

from foreword.config import DataConfig, SplitConfig
from foreword.data import load
from foreword.data.loading import task_for
from foreword.data.named import find_folder
from foreword.errors import DataError
from foreword.tasks.pair_classification import PairClassification


def write(path, labels, prefix="text"):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps({"text": f"{prefix} {i}", "label": label}) for i, label in enumerate(labels))
    path.write_text("\n".join(lines))
    return str(path)


def test_one_file_is_cut_into_splits(tmp_path):
    source = write(tmp_path / "all.jsonl", ["yes", "no"] * 50)
    dataset = load(DataConfig(source=source))
    assert {s: len(rows) for s, rows in dataset.splits.items()} == {"train": 70, "validation": 10, "test": 20}
    assert dataset.labels == ("no", "yes")
    assert dataset.task == "classification"
    assert Counter(row["label"] for row in dataset.rows("test")) == {0: 10, 1: 10}
    assert dataset.notes == ("validation, test cut from the training rows (seed 0)",)
    again = load(DataConfig(source=source, split=SplitConfig(seed=1)))
    assert again.fingerprint("test") != dataset.fingerprint("test")


def test_a_folders_own_splits_and_label_names_are_kept(tmp_path):
    for split, labels in (("train", [1, 0, 1]), ("validation", [0]), ("test", [1])):
        write(tmp_path / f"{split}.jsonl", labels)
    (tmp_path / "labels.json").write_text('{"0": "no", "1": "yes"}')
    dataset = load(DataConfig(source=str(tmp_path)))
    assert [row["label"] for row in dataset.rows("train")] == [1, 0, 1]
    assert dataset.labels == ("no", "yes")
    assert dataset.notes == ()
    swapped = load(DataConfig(source=str(tmp_path), labels=["yes", "no"]))
    assert [row["label"] for row in swapped.rows("train")] == [0, 1, 0]


def test_validation_is_cut_from_train_where_only_test_is_given(tmp_path):
    write(tmp_path / "train.jsonl", [0, 1] * 10)
    write(tmp_path / "test.jsonl", [0, 1], prefix="other")
    dataset = load(DataConfig(source=str(tmp_path)))
    assert {s: len(rows) for s, rows in dataset.splits.items()} == {"train": 18, "validation": 2, "test": 2}
    assert dataset.rows("test")[0]["text"] == "other 0"
    whole = load(DataConfig(source=str(tmp_path), split=SplitConfig(validation=0)))
    assert {s: len(rows) for s, rows in whole.splits.items()} == {"train": 20, "test": 2}


@pytest.mark.parametrize("split", [{"test": 0.5}, {"validation": 0.3}, {"seed": 5}, {"stratify": False}])
def test_a_cut_that_would_not_be_made_is_refused(tmp_path, split):
    for part in ("train", "validation", "test"):
        write(tmp_path / f"{part}.jsonl", [0, 1] * 3, prefix=part)
    with pytest.raises(DataError, match=f"data.split.{next(iter(split))} would do nothing"):
        load(DataConfig(source=str(tmp_path), split=SplitConfig(**split)))
    (tmp_path / "validation.jsonl").unlink()
    if "test" in split:
        with pytest.raises(DataError, match=r"data\.split\.test would do nothing"):
            load(DataConfig(source=str(tmp_path), split=SplitConfig(**split)))
    else:
        assert load(DataConfig(source=str(tmp_path), split=SplitConfig(**split))).rows("validation")


def test_a_limit_keeps_the_balance(tmp_path):
    source = write(tmp_path / "all.jsonl", [0, 0, 0, 1] * 50)
    dataset = load(DataConfig(source=source, limit={"train": 16, "test": 8}))
    assert Counter(row["label"] for row in dataset.rows("train")) == {0: 12, 1: 4}
    assert len(dataset.rows("test")) == 8
    with pytest.raises(DataError, match="one class(.|\n)*raise the limit"):
        load(DataConfig(source=source, limit={"train": 1}))


def test_a_limit_for_a_missing_split_is_refused(tmp_path):
    source = write(tmp_path / "all.jsonl", [0, 1] * 20)
    with pytest.raises(DataError, match="no split 'test' to limit"):
        load(DataConfig(source=source, split=SplitConfig(test=0), limit={"test": 3}))


def test_a_label_only_in_test_is_refused(tmp_path):
    write(tmp_path / "train.jsonl", ["no", "yes"])
    write(tmp_path / "validation.jsonl", ["no"])
    write(tmp_path / "test.jsonl", ["no", "maybe"])
    with pytest.raises(DataError, match="met only in test, never in training: 'maybe'"):
        load(DataConfig(source=str(tmp_path)))


def test_one_class_only_is_refused(tmp_path):
    with pytest.raises(DataError, match="one class, 'yes'"):
        load(DataConfig(source=write(tmp_path / "a.jsonl", ["yes"] * 20)))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("./no.jsonl", "no such file or folder"),
        ("missing.csv", "no such file or folder"),
        ("mrcp", "did you mean 'mrpc'"),
        ("review", "did you mean 'reviews'"),
        ("what is this?", "unknown data source"),
        ("sst2:part", "the set 'sst2' has no parts"),
    ],
)
def test_an_unknown_source_is_told(source, message):
    with pytest.raises(DataError, match=message):
        load(DataConfig(source=source))


def test_the_default_task():
    assert task_for(DataConfig(source="mrpc")).name == "pair-classification"
    assert task_for(DataConfig(source="reviews:movies")).name == "classification"
    assert task_for(DataConfig(source="a.csv", columns={"text1": "q"})).name == "pair-classification"
    assert task_for(DataConfig(source="a.csv"), "pair-classification") == PairClassification()


def test_named_folders_are_looked_for_in_order(tmp_path, monkeypatch):
    project = tmp_path / "projects" / "mine"
    project.mkdir(parents=True)
    monkeypatch.chdir(project)
    monkeypatch.delenv("FOREWORD_DATA", raising=False)
    assert find_folder("sst2") is None
    write(tmp_path / "projects" / "shared" / "data" / "sst2" / "train.jsonl", [0, 1] * 10)
    assert load(DataConfig(source="sst2")).source == "../shared/data/sst2"
    write(tmp_path / "chosen" / "sst2" / "train.jsonl", [0, 1] * 20)
    monkeypatch.setenv("FOREWORD_DATA", str(tmp_path / "chosen"))
    assert find_folder("sst2") == tmp_path / "chosen" / "sst2"
    assert sum(map(len, load(DataConfig(source="sst2")).splits.values())) == 40


@pytest.mark.parametrize(("name", "sizes"), [("mrpc", (3668, 408, 1725)), ("sst2", (10000, 872, 1821))])
def test_the_real_research_sets(name, sizes):
    if find_folder(name) is None:
        pytest.skip(f"the research set {name} is not on this machine (FOREWORD_DATA or ../shared/data)")
    dataset = load(DataConfig(source=name))
    assert tuple(len(dataset.rows(split)) for split in ("train", "validation", "test")) == sizes
    positive = {"mrpc": "equivalent", "sst2": "positive"}[name]
    assert dataset.labels.index(positive) == 1
