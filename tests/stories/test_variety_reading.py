from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from foreword.errors import DataError
from foreword.stories.diversity import by_approach, read
from foreword.stories.story import Story, Verdict

STORY = Story("The text.", "Title", "plain", 3, "Tell.", (Verdict("words", True, True, True, 1.0, "fine"),))

CHECK = STORY.to_dict()["checks"][0]
RUN: dict[str, Any] = {"event": "run", "spec": {}, "writer": "small"}


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run(
    folder: Path, approach: str = "plain", writer: str = "small", topic: str = "the sea", **first_line: Any
) -> Path:
    first = STORY.to_dict() | {"approach": approach}
    events = [
        {
            "event": "run",
            "spec": {"topic": topic},
            "approach": approach,
            "writer": writer,
            "n": 2,
            "seed": 0,
            **first_line,
        },
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
        ([{"text": "x"}, {"text": "x", "seconds": None}], "seconds are null"),
        ([{"text": "x", "seconds": "1"}], "seconds are '1'"),
        ([{"text": "x", "tokens": 10**400}], "tokens are 1000"),
        ([{"text": "x", "seconds": float("nan")}], "seconds are nan"),
        ([{"text": "x", "approach": ["x"]}], "approach is \\['x'\\]"),
        ([{"text": "x", "checks": [CHECK | {"constraint": ["x"]}]}], "a check of the line is none"),
        ([RUN, {"number": 0, "text": "x"}], "has no event"),
        ([RUN, {"event": "story", **STORY.to_dict()}], "has no number"),
        ([RUN, {"event": "story", "number": "one", **STORY.to_dict()}], "has no number"),
        ([{"event": "run", "writer": "small"}], "has no spec"),
    ],
)
def test_what_is_no_story_is_told_with_its_place(tmp_path, rows, message):
    path = lines(tmp_path / "some.jsonl", rows)
    with pytest.raises(DataError, match=message) as error:
        read([path])
    assert (error.value.where or "").startswith(str(path))
    if "wrote no story" not in message:
        assert error.value.where == f"{path}:{len(rows)}"


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match="there are no stories here"):
        read([tmp_path])
    with pytest.raises(DataError, match="no such file or folder"):
        read([tmp_path / "missing"])


def test_texts_with_a_column_named_event_are_texts(tmp_path):
    rows = [{"text": "One.", "event": "run"}, {"text": "Two."}, {"text": "Three.", "event": ["a birthday"]}]
    assert [entry.story.text for entry in read([lines(tmp_path / "mine.jsonl", rows)])] == ["One.", "Two.", "Three."]


def test_half_characters_are_replaced(tmp_path):
    row = {"text": "The fox \ud800 ran.", "approach": "\udfff", "writer": "\udfff", "spec": {"topic": "\udfff"}}
    [found] = read([lines(tmp_path / "mine.jsonl", [row])])
    assert (found.story.text, found.story.approach, found.writer) == ("The fox \ufffd ran.", "\ufffd", "\ufffd")
    assert found.spec == '{"topic":"\ufffd"}'


@pytest.mark.parametrize("cut", [b'{"event": "sto', b'{"event": "story", "text": "caf\xc3', b"\x00\x00"])
def test_a_line_that_an_end_cut_off_is_passed_over(tmp_path, cut):
    log = run(tmp_path / "one") / "log.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole + cut)
    assert len(read([log.parent])) == 2
    log.write_bytes(whole + cut + b"\n" + whole)  # the run went on
    assert len(read([log.parent])) == 2
    log.write_bytes(cut + b"\n" + whole.partition(b"\n")[2])
    with pytest.raises(DataError, match="broken line") as error:
        read([log.parent])
    assert error.value.where == f"{log}:1"
    log.write_bytes(cut)
    with pytest.raises(DataError, match="holds no line"):
        read([log.parent])


@pytest.mark.parametrize(
    ("one", "two", "told"),
    [({"settings": {"temperature": 0.1}}, {"settings": {"temperature": 1.9}}, "temperature: 0.1 and 1.9"),
     ({"repair": True}, {"repair": False}, "repair: True and False")],
)  # fmt: skip
def test_runs_of_other_settings_are_not_thrown_together(tmp_path, one, two, told):
    places = [run(tmp_path / "one", **one), run(tmp_path / "two", **two)]
    with pytest.raises(DataError, match=f"'plain' differ in their {told}") as error:
        by_approach(read(places))
    assert error.value.where == f"{places[0]} and {places[1]}"
    assert len(by_approach(read([places[0], run(tmp_path / "three", "varied", **two)]))) == 2


def test_settings_that_change_no_story_and_those_that_are_not_known_do_not_part_runs(tmp_path):
    places = [run(tmp_path / str(n), settings={"temperature": 0.5, "batch": n, "max_tokens": n}) for n in (1, 2)]
    assert list(by_approach(read([*places, run(tmp_path / "old")]))) == ["plain"]
