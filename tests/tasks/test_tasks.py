from __future__ import annotations

import dataclasses
import re

import pytest

from foreword import registry
from foreword.errors import ConfigError
from foreword.evaluation.metrics import METRICS


def test_tasks_are_found_by_name():
    known = {"classification", "pair-classification", "summarization", "generative-qa", "translation", "tagging"}
    assert known | {"extractive-qa", "knowledge-probing"} <= {*registry.tasks.names}


@pytest.mark.parametrize("name", registry.tasks.names)
def test_a_task_is_consistent(name):
    task = registry.tasks.get(name)()
    assert task.name == name
    assert set(re.findall(r"{(\w+)}", task.default_template)) - {"sep", "mask"} == set(task.inputs)
    assert task.target not in task.fields
    assert task.selects_by == ("loss" if task.answer == "text" else task.metrics[0])
    assert task.selects_by in METRICS
    assert (task.spot in task.fields) == (task.answer in ("tags", "span"))
    assert (task.metrics[0] == "accuracy") == (task.answer == "class" and name != "knowledge-probing")
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.target = "other"


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'classification'"):
        registry.tasks.get("clasification")
