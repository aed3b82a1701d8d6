from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.errors import DataError
from foreword.stories import style_texts
from foreword.stories.language import Prose


def tale(number: int, sentences: int = 12) -> str:
    return " ".join(f"Hero{number} did the thing {i} at once." for i in range(sentences))


def count(text: str) -> int:
    return len(text.split())


def test_a_folder_is_read_and_cleaned(tmp_path: Path):
    (tmp_path / "a.txt").write_text(tale(1), encoding="utf-8")
    (tmp_path / "b.md").write_text(f"# A heading\n\n{tale(2)}", encoding="utf-8")
    (tmp_path / "again.txt").write_text(tale(1).upper() + "\n", encoding="utf-8")
    (tmp_path / "note.txt").write_text("Much too short.", encoding="utf-8")
    (tmp_path / "c.jsonl").write_text(json.dumps({"text": tale(3), "title": "x"}) + "\n", encoding="utf-8")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    found = style_texts.read(tmp_path)
    assert sorted(one.text for one in found.texts) == [tale(1), tale(2), tale(3)]
    assert found.dropped == {"shorter than 40 words": 1, "there before": 1}
    assert found.words == 3 * 12 * 7
    assert style_texts.read(tmp_path).texts == found.texts


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", tale(1).encode(), "1 text.s. of at least 40 words"),
        ("a.txt", b"\xff\xfe" + tale(1).encode(), "not UTF-8"),
        ("a.jsonl", b'{"title": "x"}\n', "the line has no text"),
        ("a.png", b"x", "no texts to learn from"),
    ],
)
def test_what_cannot_be_learned_from_is_told(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        style_texts.read(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_no_text_is_on_both_sides(tmp_path):
    for number in range(10):
        (tmp_path / f"{number}.txt").write_text(tale(number, 40), encoding="utf-8")
    found = style_texts.read(tmp_path)
    rows = style_texts.rows(found, count, 50, per_text=3, held_out=0.2, held_out_rows=4)
    heroes = [{row["story"].split()[0].removesuffix("'s") for row in part} for part in (rows.train, rows.validation)]
    assert len(rows.held_out) == 2 and len(heroes[1]) == 2
    assert not heroes[0] & heroes[1]
    assert len(rows.train) == 8 * 3 and len(rows.validation) == 4
    assert rows.largest[1] == pytest.approx(1 / 8)
    assert {row["request"] for row in rows.train} <= {*style_texts.BEGIN, *style_texts.GO_ON}


def test_a_text_that_rules_is_told(tmp_path):
    for number, length in enumerate((40, 8, 8)):
        (tmp_path / f"{number}.txt").write_text(tale(number, length), encoding="utf-8")
    rows = style_texts.rows(style_texts.read(tmp_path), count, 30, per_text=8, held_out=0.1, held_out_rows=8)
    where, share = rows.largest
    if share > style_texts.HEAVY:
        assert any(name == "warning" and where in told for name, told in rows.lines())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(3, 30), min_size=1, max_size=25), st.integers(5, 60))
def test_parts_are_whole_sentences_long_enough_and_nothing_is_lost(lengths, room):
    text = " ".join("Go" + " on" * (length - 1) + "." for length in lengths)
    found = style_texts.parts(text, count, room)
    assert " ".join(found) == text
    assert all(count(part) >= room for part in found[:-1])
    assert sum(len(Prose(part).sentences) for part in found) == len(lengths)


def test_long_texts_give_their_first_and_last_parts_and_some_between():
    text = style_texts.Text("x", tale(0, 90))
    whole = style_texts.parts(text.text, count, 63)
    rows = style_texts._rows(text, count, 63, 4)
    assert [row["story"] for row in rows] == [whole[0], whole[3], whole[6], whole[-1]]
    assert rows[0]["request"] in style_texts.BEGIN
    assert all(row["request"] in style_texts.GO_ON for row in rows[1:])
    assert [row["story"] for row in style_texts._rows(text, count, 63, 1)] == [whole[0]]
