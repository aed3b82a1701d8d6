"""Stages of a step, measured on a real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from foreword import api, config
from foreword.errors import ConfigError
from foreword.profile import STAGES, profile
from support.folders import settings


def test_the_stages_make_up_the_step(bert_folder: Path, data_file: Path) -> None:
    prepared = api.prepare(config.build(config.RunConfig, settings(bert_folder, data_file)))
    before = {name: value.clone() for name, value in prepared.assembly.backbone.trunk.state_dict().items()}
    found = profile(prepared, steps=3)
    assert tuple(found.stages) == STAGES and all(seconds > 0 for seconds in found.stages.values())
    assert sum(found.stages.values()) == pytest.approx(found.step, rel=0.5)
    assert 0 < found.floor < found.step and found.share == found.floor / found.step
    assert found.operators and all(0 < share <= 1 for _, share in found.operators)
    assert found.to_dict()["steps"] == 3
    after = prepared.assembly.backbone.trunk.state_dict()
    assert all(bool((after[name] == value).all()) for name, value in before.items())


def test_a_step_in_pieces_is_not_looked_at(bert_folder: Path, data_file: Path) -> None:
    run = settings(bert_folder, data_file)
    run["training"] = {**run["training"], "max_tokens": 16}
    with pytest.raises(ConfigError, match="in pieces"):
        profile(api.prepare(config.build(config.RunConfig, run)))


def test_a_method_that_trains_nothing_has_no_step(gpt2_folder: Path, data_file: Path) -> None:
    run = settings(gpt2_folder, data_file, method="hard", readout="verbalizer")
    with pytest.raises(ConfigError, match="trains nothing"):
        profile(api.prepare(config.build(config.RunConfig, run)))
