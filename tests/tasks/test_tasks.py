from __future__ import annotations

import dataclasses
import re

import pytest

from foreword import registry
from foreword.errors import ConfigError


def test_both_tasks_are_found_by_name():
    assert registry.tasks.names == ("classification", "pair-classification")


@pytest.mark.parametrize("name", registry.tasks.names)
def test_a_task_is_consistent(name):
    task = registry.tasks.get(name)()
    assert task.name == name
    assert set(re.findall(r"{(\w+)}", task.default_template)) - {"sep", "mask"} == set(task.fields)
    assert task.target not in task.fields
    assert task.metrics[0] == "accuracy"
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.target = "other"


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'classification'"):
        registry.tasks.get("clasification")
