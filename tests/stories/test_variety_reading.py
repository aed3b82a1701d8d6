from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from foreword.errors import DataError
from foreword.stories.diversity import by_approach, read
from foreword.stories.story import Story, Verdict

STORY = Story("The text.", "Title", "plain", 3, "Tell.", (Verdict("words", True, True, True, 1.0, "fine"),))


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run(folder: Path, approach: str = "plain", writer: str = "small", topic: str = "the sea") -> Path:
    first = STORY.to_dict() | {"approach": approach}
    events = [
        {"event": "run", "spec": {"topic": topic}, "approach": approach, "writer": writer, "n": 2, "seed": 0},
        {"event": "draft", "number": 0, "text": "A draft."},
        {"event": "story", "number": 0, **first},
        {"event": "story", "number": 1, **first, "text": "Another text."},
        {"event": "revision", "number": 0, "taken": True},
        {"event": "story", "number": 0, **first, "text": "The text, revised."},
    ]
    lines(folder / "log.jsonl", events)
    return folder


def test_a_run_is_read_in_its_last_state(tmp_path):
    found = read([run(tmp_path / "one")])
    assert [entry.story.text for entry in found] == ["The text, revised.", "Another text."]
    assert found[0].story.checks == STORY.checks
    assert {(entry.spec, entry.writer) for entry in found} == {('{"topic":"the sea"}', "small")}


def test_a_folder_of_runs_is_read_whole_and_each_run_once(tmp_path):
    run(tmp_path / "runs" / "one")
    run(tmp_path / "runs" / "two", "varied")
    found = by_approach(read([tmp_path / "runs", tmp_path / "runs" / "one"]))
    assert {name: [len(part) for part in specs.values()] for name, specs in found.items()} == {
        "plain": [2],
        "varied": [2],
    }


def test_writers_are_told_apart_where_there_are_several(tmp_path):
    places = [
        run(tmp_path / "two", writer="small with style"),
        run(tmp_path / "one"),
        run(tmp_path / "three", "varied"),
    ]
    assert list(by_approach(read(places))) == ["plain (small with style)", "plain", "varied"]
    assert by_approach([]) == {}


def test_specs_are_told_apart(tmp_path):
    places = [run(tmp_path / "one"), run(tmp_path / "two", topic="the wood")]
    assert len(by_approach(read(places))["plain"]) == 2


def test_lines_of_any_origin(tmp_path):
    path = lines(
        tmp_path / "mine.jsonl", [{"text": "One."}, {"text": "Two.", "approach": "varied", "tokens": 9, "x": 1}]
    )
    first, second = read([path])
    assert (first.story.approach, first.spec, second.story.approach, second.story.tokens) == ("mine", "", "varied", 9)
    assert len(read([tmp_path])) == 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"title": "x"}], "the line has no text"),
        ([{"text": 3}], "the line has no text"),
        ([{"event": "run", "spec": {}, "writer": "small"}], "the run wrote no story"),
        ([{"event": "story", "number": 0, "text": "x"}], "the line is no story"),
        ([{"text": "x", "checks": [{"wrong": 1}]}], "the line is no story"),
    ],
)
def test_what_is_no_story_is_told_with_its_place(tmp_path, rows, message):
    path = lines(tmp_path / "some.jsonl", rows)
    with pytest.raises(DataError, match=message) as error:
        read([path])
    assert str(path) in str(error.value)


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match="there are no stories here"):
        read([tmp_path])
    with pytest.raises(DataError, match="no such file or folder"):
        read([tmp_path / "missing"])
