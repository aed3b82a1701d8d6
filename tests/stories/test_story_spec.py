"""Specs: from values, files and presets; what is wrong in them, and what contradicts itself."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreword.errors import ConfigError
from foreword.stories import spec as specs
from foreword.stories.consistency import problems, require_consistent
from foreword.stories.spec import Range, make


@pytest.mark.parametrize("name", specs.preset_names())
def test_presets_can_be_met(name):
    require_consistent(make({}, preset=name))


def test_the_reports_own_example():
    spec = make({}, preset="magical-forest")
    assert spec.topic == "Adventure in a Magical Forest"
    assert (spec.style, spec.length.min, spec.length.max) == ("playful and imaginative", 300, 500)
    assert spec.clues == ("a talking squirrel", "a flying rainbow butterfly", "a friendly dragon", "a hidden treasure")


@pytest.mark.parametrize(
    ("given", "least", "most"),
    [("300-500", 300, 500), ("300–500 words", 300, 500), (400, 360, 440), ("400", 360, 440), ("400 +- 50", 350, 450),
     ("1,000 to 1,200", 1000, 1200), ("200 ± 10%", 180, 220), ({"min": 5, "max": 9}, 5, 9), ("5 +- 9", 1, 14)],
)  # fmt: skip
def test_lengths(given, least, most):
    length = make({"topic": "x", "length": given}).length
    assert (length.min, length.max) == (least, most)


@pytest.mark.parametrize("given", ["500-300", "many", "-5", 0, True, "", [3, 4], "10000000", 3.5])
def test_lengths_that_are_none(given):
    with pytest.raises(ConfigError, match="length"):
        make({"topic": "x", "length": given})


@given(st.integers(1, 10_000), st.integers(0, 10_000))
def test_a_range_is_read_as_it_is_written(least, more):
    assert make({"topic": "x", "length": f"{least}-{least + more}"}).length == Range(min=least, max=least + more)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"clues": ["a cat", " "]}, "number 2 is empty"),
        ({"topic": "  "}, "topic"),
        ({"age": 1}, "age"),
        ({"colour": "red"}, "colour"),
        ({"language": "English"}, "language"),
        ({"characters": [": a girl"]}, "characters"),
        ({"known_words": 2}, "known_words"),
        ({"clues": ["_"]}, "number 1 is empty"),
        ({"avoid": ["__"]}, "number 1 is empty"),
        ({"characters": [{"name": "!!!"}]}, "a name needs a letter"),
        ({"length": "300,500"}, "write it as 300-500"),
        ({"length": "400 +- 200%"}, "at most 100%"),
    ],
)
def test_wrong_fields_are_named(values, told):
    with pytest.raises(ConfigError, match=told):
        make({"topic": "x", **values})


def test_a_topic_is_needed_and_presets_are_known_by_name():
    with pytest.raises(ConfigError, match="a topic"):
        make({})
    with pytest.raises(ConfigError, match="did you mean 'magical-forest'"):
        make({}, preset="magical-forrest")


def test_files(tmp_path):
    (tmp_path / "a.yaml").write_text("topic: sea\nclues: a crab\ncharacters: ['Mia: a girl']\n", encoding="utf-8")
    (tmp_path / "a.json").write_text(json.dumps({"topic": "sea", "clues": ["a crab"]}), encoding="utf-8")
    spec = specs.load(tmp_path / "a.yaml", {"age": 7})
    assert (spec.clues, spec.age, spec.characters[0].role) == (("a crab",), 7, "a girl")
    assert specs.load(tmp_path / "a.json").clues == ("a crab",)


@pytest.mark.parametrize("text", ["topic: [", "- a\n- b", "", "\x00", "topic: {a: &x [*x]}"])
def test_broken_files_are_told(tmp_path, text):
    path = tmp_path / "spec.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="spec"):
        specs.load(path)
    with pytest.raises(ConfigError, match="cannot read"):
        specs.load(tmp_path / "missing.yaml")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot read"):
        specs.load(path)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"clues": ["a bad wolf"], "avoid": ["wolves"]}, "to be avoided"),
        ({"characters": ["Wolf"], "avoid": ["wolf"]}, "to be avoided"),
        ({"clues": ["a long sword"]}, "weapons"),
        ({"clues": ["a red fox", "the red fox"]}, "twice"),
        ({"clues": ["a cat", "a dog", "a pig"], "length": "1-5"}, "alone have 6 words"),
        ({"sentences": "5-6", "longest_sentence": 4, "length": "100-120"}, "at most 24 words"),
        ({"sentences": "50-60", "length": "10-20"}, "50 sentences"),
        ({"longest_sentence": 3, "clues": ["a big old brown bear"]}, "longest sentence"),
        ({"topic": "A dragon day", "avoid": ["dragons"]}, "the topic .* to be avoided"),
        ({"topic": "The war of the ants"}, "the topic .* conflict"),
        ({"setting": "a castle", "avoid": ["castle"]}, "the setting .* to be avoided"),
        ({"clues": ["a cat", "a dog", "a pig"], "sentences": "1-1"}, "a list of them"),
    ],
)
def test_contradictions_are_told(values, told):
    with pytest.raises(ConfigError, match=told):
        require_consistent(make({"topic": "x", **values}))


def test_what_is_allowed_is_no_contradiction_and_a_slip_is_told():
    assert problems(make({"topic": "x", "clues": ["a long sword"], "allow": ["weapons"]})) == ()
    assert problems(make({"topic": "x", "clues": ["a long sword"], "allow": ["swords"]})) == ()
    with pytest.raises(ConfigError, match="did you mean 'weapons'"):
        require_consistent(make({"topic": "x", "allow": ["weapon5"]}))
    with pytest.raises(ConfigError, match="word list"):
        require_consistent(make({"topic": "x", "word_list": "no-such-file.txt"}))
