"""Reading: whatever is a result is one, and whatever is not is named."""

from __future__ import annotations

import pytest

from foreword.comparison.results import read
from foreword.errors import DataError
from support.results import answers, record, write


def test_folders_files_and_run_folders_are_read(tmp_path):
    write(tmp_path / "results" / "task", "a-seed0", record(answers(1)))
    write(tmp_path / "runs" / "b-seed3", "result", record(answers(2), 3))
    write(tmp_path / "runs" / "b-seed3", "plan", {"steps": 3})
    single = write(tmp_path, "c", record(answers(2), method="lora"))
    found = read([tmp_path / "results", tmp_path / "runs" / "b-seed3", single])
    assert [(run.name, run.seed) for run in found.runs] == [("a", 0), ("b", 3), ("c", 0)]
    assert found.gaps == ()


def test_what_is_no_result_is_named_and_the_rest_is_read(tmp_path):
    write(tmp_path, "a-seed0", record(answers(1)))
    write(tmp_path, "other", {"machine": 1})
    (tmp_path / "broken.json").write_text('{"schema": 1, ', encoding="utf-8")
    write(tmp_path, "newer", record(answers(1)) | {"schema": 3})
    write(tmp_path, "odd", record(answers(1)) | {"config": 3})
    odd = record(answers(1), 7)
    odd["test"]["predictions"] = "none"
    write(tmp_path, "odder", odd)
    short = record(answers(1), 8)
    short["test"]["targets"].pop()
    write(tmp_path, "short", short)
    found = read([tmp_path, tmp_path / "nowhere"])
    assert len(found.runs) == 1
    told = "\n".join(found.gaps)
    for words in ("broken JSON", "newer foreword (schema 3", "other types", "no such file", "1 other JSON file"):
        assert words in told
    assert len(found.gaps) == 7


def test_nothing_to_compare_is_an_error_that_says_why(tmp_path):
    path = write(tmp_path, "other", [1, 2])
    with pytest.raises(DataError) as caught:
        read([path, tmp_path / "nowhere", tmp_path])
    assert "is no result of a run" in str(caught.value) and "no such file or folder" in str(caught.value)


def test_a_run_counts_once(tmp_path):
    write(tmp_path / "x", "a-seed0", record(answers(1)))
    write(tmp_path / "y", "a-seed0", record(answers(1)))
    write(tmp_path / "z", "a-seed0", record(answers(2)))
    found = read([tmp_path])
    assert len(found.runs) == 1
    assert "a copy of" in found.gaps[0] and "with other answers, as" in found.gaps[1]


def test_a_setting_that_came_later_makes_no_other_recipe(tmp_path):
    old, new = record(answers(1), 0), record(answers(1), 1)
    old["config"] = {"method": {"name": "x"}, "training": {"learning_rate": 0.1}, "seed": 0}
    new["config"] = {
        "method": {"name": "x", "places": None},
        "training": {"learning_rate": 0.1, "compile": False},
        "seed": 1,
    }
    write(tmp_path, "a-seed0", old)
    write(tmp_path, "a-seed1", new)
    assert len({run.recipe for run in read([tmp_path]).runs}) == 1
    new["config"]["training"]["compile"] = True
    write(tmp_path, "a-seed1", new)
    assert len({run.recipe for run in read([tmp_path]).runs}) == 2


def test_any_bytes_are_an_answer_and_never_a_crash(tmp_path):
    for k, text in enumerate(["", "null", "[" * 100_000, "\x00", '{"schema": {}}', "3"]):
        (tmp_path / f"{k}.json").write_text(text, encoding="utf-8")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError):
        read([tmp_path])
