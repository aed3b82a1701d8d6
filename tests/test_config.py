"""Settings: what a value may be."""

from __future__ import annotations

from typing import Any

import pytest

from foreword.config import RunConfig, Settings, build
from foreword.errors import ConfigError


class Several(Settings):
    """Fields of every kind that a yes or no may stand for."""

    count: int = 0
    share: float | None = None
    mode: bool | str = "auto"
    sure: bool = False
    anything: Any = None


@pytest.mark.parametrize("name", ["count", "share"])
@pytest.mark.parametrize("value", [True, False])
def test_yes_and_no_are_no_numbers(name: str, value: bool) -> None:
    with pytest.raises(ConfigError, match=f"{name}.*{str(value).lower()} is no value"):
        build(Several, {name: value})


@pytest.mark.parametrize("name", ["mode", "sure", "anything"])
def test_yes_and_no_stay_where_they_are_meant(name: str) -> None:
    assert getattr(build(Several, {name: True}), name) is True


@pytest.mark.parametrize(
    "change",
    [
        {"seed": True},
        {"training": {"learning_rate": True}},
        {"method": {"name": "p-tuning-v2", "num_virtual_tokens": True}},
        {"method": {"name": "adapter", "scale": True}},
    ],
)
def test_a_recipes_numbers_are_numbers(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="true is no value"):
        build(RunConfig, {"data": "toy", "backbone": "gpt2", "method": "hard", **change})
