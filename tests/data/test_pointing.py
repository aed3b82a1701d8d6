"""Rows whose answers point into them: words with their tags, and answers that stand in a passage; and LAMA's facts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from foreword.config import DataConfig
from foreword.data import load
from foreword.data.description import describe
from foreword.data.loading import task_for
from foreword.data.named import find_folder
from foreword.errors import DataError

TAGGED = [
    {"tokens": ["Ada", "lives", "here", str(i)], "tags": ["B-person", "O", "O", "B-number" if i % 2 else "O"]}
    for i in range(30)
]
ANSWERED = [
    {"context": f"The {i} cats sleep.", "question": "How many?", "answers": [str(i), "many"]} for i in range(30)
]
FACTS = [
    {"relation": "P1" if i % 3 else "P2", "sub_label": f"land {i}", "obj_label": f"town {i}", "template": "x"}
    for i in range(30)
]


def write(path: Path, rows: list[dict]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def loaded(source: str, task: str, **changes):
    config = DataConfig(source=source, **changes)
    return load(config, task_for(config, task))


def test_words_and_tags_are_tuples_and_tags_are_numbered(tmp_path):
    dataset = loaded(write(tmp_path / "all.jsonl", TAGGED), "tagging", limit={"train": 12})
    assert dataset.labels == ("B-number", "B-person", "O")
    row = dataset.rows("train")[0]
    assert row["tokens"][:3] == ("Ada", "lives", "here") and row["tags"][:3] == (1, 2, 2)
    facts = describe(dataset)
    train = facts["splits"]["train"]
    assert sum(train["labels"].values()) == 4 * 12 and train["labels"]["B-person"] == 12
    assert train["length"]["max"] == 4 and "target_length" not in train
    assert facts["contradictory_inputs"] == 0


def test_tags_may_be_numbers_where_their_names_are_known(tmp_path):
    rows = [{"tokens": ["a", "b"], "tags": [0, 1]}, {"tokens": ["c", "d"], "tags": [1, 0]}]
    for split in ("train", "validation"):
        write(tmp_path / f"{split}.jsonl", rows)
    (tmp_path / "labels.json").write_text('["O", "B-x"]')
    dataset = loaded(str(tmp_path), "tagging")
    assert dataset.labels == ("O", "B-x") and dataset.rows("train")[1]["tags"] == (1, 0)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tokens": "Ada lives", "tags": ["O", "O"]}, "holds no words"),
        ({"tokens": [], "tags": []}, "holds no words"),
        ({"tokens": ["Ada", " "], "tags": ["O", "O"]}, "holds no words"),
        ({"tokens": ["Ada", 3], "tags": ["O", "O"]}, "holds no words"),
        ({"tokens": ["Ada", "lives"], "tags": "O O"}, "holds no tags"),
        ({"tokens": ["Ada", "lives"], "tags": ["O", None]}, "no class label"),
        ({"tokens": ["Ada", "lives"], "tags": ["O"]}, "2 words in tokens and 1 tags"),
        ({"tokens": ["\ud83d", "lives"], "tags": ["O", "O"]}, "half a character"),
    ],
)
def test_broken_words_and_tags_are_told_with_their_line(tmp_path, row, message):
    source = write(tmp_path / "all.jsonl", [*TAGGED, row])
    with pytest.raises(DataError, match=message) as told:
        loaded(source, "tagging")
    assert "all.jsonl:31" in str(told.value)


def test_tags_of_another_scheme_are_refused_and_tags_without_training_told(tmp_path):
    with pytest.raises(DataError, match="'NOUN' is not a tag of the BIO scheme"):
        loaded(write(tmp_path / "a.jsonl", [*TAGGED, {"tokens": ["x"], "tags": ["NOUN"]}]), "tagging")
    for split, tags in (("train", ["O", "B-x"]), ("test", ["B-y", "O"])):
        write(tmp_path / "b" / f"{split}.jsonl", [{"tokens": ["a", str(i)], "tags": tags} for i in range(9)])
    dataset = loaded(str(tmp_path / "b"), "tagging")
    assert any("met only in test, never in training, and so never found: 'B-y'" in note for note in dataset.notes)
    assert "B-y" in dataset.labels


def test_answers_have_to_stand_in_their_passage(tmp_path):
    dataset = loaded(write(tmp_path / "all.jsonl", ANSWERED), "extractive-qa")
    assert dataset.labels == () and dataset.rows("train")[0]["answers"][1] == "many"
    assert describe(dataset)["splits"]["train"]["target_length"]["max"] == 1
    wrong = {"context": "The cats sleep.", "question": "How many?", "answers": ["twelve"]}
    with pytest.raises(DataError, match="no answer stands in its context") as told:
        loaded(write(tmp_path / "all.jsonl", [*ANSWERED, wrong]), "extractive-qa")
    assert "all.jsonl:31" in str(told.value)


@pytest.fixture
def lama(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FOREWORD_DATA", str(tmp_path))
    for split, rows in (("train", FACTS[:18]), ("validation", FACTS[18:24]), ("test", FACTS[24:])):
        write(tmp_path / "lama" / f"{split}.jsonl", rows)
    known = [{"relation": name, "label": f"label {name}", "template": "[X] of [Y]"} for name in ("P1", "P2", "P3")]
    write(tmp_path / "lama" / "relations.jsonl", known)
    return tmp_path / "lama"


def test_a_relation_is_a_part_and_its_candidates_are_those_of_all_splits(lama):
    dataset = load(DataConfig(source="lama:P2"))
    assert dataset.task == "knowledge-probing" and len(dataset.labels) == 10
    assert {split: len(rows) for split, rows in dataset.splits.items()} == {"train": 6, "validation": 2, "test": 2}
    assert dataset.labels[dataset.rows("test")[0]["object"]] == "town 24", "an object that training does not have"
    assert dataset.rows("test")[0] == {
        "subject": "land 24",
        "relation": "label P2",
        "object": dataset.labels.index("town 24"),
    }
    assert dataset.notes == (
        "relation P2 (label P2); LAMA's prompt: [X] of [Y]",
        "10 candidates: every object of all splits",
    )
    assert len(load(DataConfig(source="lama:P2", limit={"train": 1})).labels) == 10
    whole = load(DataConfig(source="lama"))
    assert len(whole.labels) == 30 and {row["relation"] for row in whole.rows("train")} == {"label P1", "label P2"}


def test_unknown_relations_are_told(lama, monkeypatch):
    with pytest.raises(DataError, match="no relation 'P9'"):
        load(DataConfig(source="lama:P9"))
    with pytest.raises(DataError, match="no fact of relation 'P3'"):
        load(DataConfig(source="lama:P3"))
    shutil.rmtree(lama)
    monkeypatch.chdir(lama.parent)
    with pytest.raises(DataError, match="is in no folder here"):
        load(DataConfig(source="lama:P1"))


def test_facts_of_a_file_need_no_relation(tmp_path):
    rows = [{"subject": f"land {i}", "object": f"town {i % 4}"} for i in range(30)]
    dataset = loaded(write(tmp_path / "all.jsonl", rows), "knowledge-probing")
    assert "relation" not in dataset.rows("train")[0] and len(dataset.labels) == 4
    with pytest.raises(DataError, match="there is no column 'kind'"):
        loaded(str(tmp_path / "all.jsonl"), "knowledge-probing", columns={"relation": "kind"})
    same = write(tmp_path / "same.jsonl", [{"subject": str(i), "object": "town"} for i in range(30)])
    with pytest.raises(DataError, match="one object alone, 'town'"):
        loaded(same, "knowledge-probing")


@pytest.mark.parametrize(
    ("name", "task", "labels"), [("ner_wnut17", "tagging", 13), ("qa", "extractive-qa", 0), ("lama:P36", None, 251)]
)
def test_the_real_sets_are_read(name, task, labels):
    if find_folder(name.partition(":")[0]) is None:
        pytest.skip(f"the folder {name} is not here")
    config = DataConfig(source=name, limit={"train": 20, "validation": 5, "test": 5})
    dataset = load(config, task_for(config, task))
    assert len(dataset.labels) == labels and len(dataset.rows("train")) == 20
