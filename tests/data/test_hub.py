from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from foreword.config import DataConfig
from foreword.data import load
from foreword.errors import DataError


class HubSplit(list):
    features = {"label": SimpleNamespace(names=["no", "yes"]), "body": SimpleNamespace(dtype="string")}


def rows(*labels):
    return HubSplit({"body": f"text {i}", "label": label} for i, label in enumerate(labels))


@pytest.fixture
def hub(monkeypatch):
    """A stand-in for the `datasets` library, with what it returns, or raises, and the arguments it was called with."""
    state = SimpleNamespace(answer={}, error=None, calls=[])

    def load_dataset(name, configuration):
        state.calls.append((name, configuration))
        if state.error:
            raise state.error
        return state.answer

    module = ModuleType("datasets")
    module.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", module)
    return state


@pytest.mark.parametrize("dev", ["validation", "valid", "dev"])
def test_hub_splits_class_names_and_hidden_labels(hub, dev):
    hub.answer = {"train": rows(1, 0, 1), dev: rows(0), "test": rows(-1, -1)}
    dataset = load(DataConfig(source="org/set:part", columns={"text": "body"}))
    assert hub.calls == [("org/set", "part")]
    assert dataset.labels == ("no", "yes")
    assert [row["label"] for row in dataset.rows("train")] == [1, 0, 1]
    assert list(dataset.splits) == ["train", "validation"]
    assert dataset.notes == ("test left out: its labels are hidden",)


def test_a_hub_set_without_training_rows_is_refused(hub):
    hub.answer = {"test": rows(0, 1), "train": HubSplit()}
    with pytest.raises(DataError, match="'org/set' has no training split, only: test, train"):
        load(DataConfig(source="org/set"))


def test_no_network_is_a_clear_error(hub):
    hub.error = ConnectionError("Couldn't reach the hub\nlong trace")
    with pytest.raises(
        DataError, match=r"cannot read 'org/set' from the hub: Couldn't reach the hub\n.*path of a local"
    ):
        load(DataConfig(source="org/set"))


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'foreword\[data\]'"):
        load(DataConfig(source="org/set"))


def test_a_named_set_falls_back_to_the_hub_with_its_own_columns(hub, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FOREWORD_DATA", raising=False)
    pairs = [{"sentence1": f"a{i}", "sentence2": f"b{i}", "label": i % 2} for i in range(4)]
    hub.answer = {"train": HubSplit(pairs), "validation": HubSplit(pairs[:1])}
    dataset = load(DataConfig(source="mrpc"))
    assert hub.calls == [("nyu-mll/glue", "mrpc")]
    assert dataset.task == "pair-classification"
    assert dataset.rows("train")[1] == {"text1": "a1", "text2": "b1", "label": 1}
    hub.error = ConnectionError("offline")
    with pytest.raises(DataError, match="'mrpc' is in no folder here(.|\n)*set FOREWORD_DATA"):
        load(DataConfig(source="mrpc"))
