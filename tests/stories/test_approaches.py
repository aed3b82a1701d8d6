"""Approaches: what they ask for, how they cover, and what they keep."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreword.errors import ConfigError
from foreword.stories.approaches import Approach, Turn, steps
from foreword.stories.approaches.base import cover
from foreword.stories.approaches.several import parted
from foreword.stories.resources import table
from foreword.stories.spec import make
from support.story_writers import SMALL


def brief(name: str, number: int = 0, seed: int = 0, openings: tuple[str, ...] = (), **more: object):
    return Approach.parse(name, steps).brief(make({**SMALL, **more}), Turn(number, 8, seed, openings))


@pytest.mark.parametrize("name", steps.names)
def test_every_approach_keeps_topic_and_clues_and_can_be_read_twice(name):
    prompt = brief(name).render()
    assert "Adventure in a Magical Forest" in prompt
    assert all(clue in prompt for clue in SMALL["clues"])
    assert "60 to 100 words" in prompt
    assert prompt == brief(name).render()


@given(st.integers(1, 30), st.integers(0, 5), st.integers(0, 99))
def test_all_values_come_before_any_comes_again(count, rounds, seed):
    values = [str(i) for i in range(count)]
    drawn = [cover(values, rounds * count + i, seed, "x") for i in range(count)]
    assert sorted(drawn) == sorted(values)


def test_varied_differs_from_turn_to_turn_and_by_seed_and_leaves_the_spec_alone():
    settings = table("attributes")["settings"]
    prompts = [brief("varied", i).render() for i in range(len(settings))]
    assert all(any(setting in prompt for prompt in prompts) for setting in settings)
    assert brief("varied", 0, 1).render() != brief("varied", 0, 2).render()
    fixed = brief("varied", 0, setting="on the moon", moral="kindness comes back").render()
    assert "on the moon" in fixed and "takes place" not in fixed and fixed.count("shows that") == 1
    assert brief("varied").lead


def test_steps_are_put_together_in_order():
    both = brief("varied+emotional-cue")
    assert "heart" in both.render() and "takes place" in both.render()
    assert Approach.parse(" varied + plain ", steps).name == "varied+plain"
    with pytest.raises(ConfigError, match="twice"):
        Approach.parse("plain+plain", steps)
    with pytest.raises(ConfigError, match="did you mean 'varied'"):
        Approach.parse("varid", steps)


def test_specific_names_somebody_only_where_the_spec_does_not():
    assert "main character is" in brief("specific").render()
    assert "main character is" not in brief("specific", characters=["Ida"]).render()


def test_open_ended_leaves_soft_rules_out():
    assert "sentence is longer" in brief("plain").render()
    assert "sentence is longer" not in brief("open-ended").render()


def test_different_sees_the_last_openings():
    prompt = brief("different", openings=tuple(f"Opening {i}." for i in range(7))).render()
    assert "Opening 6." in prompt and "Opening 2." in prompt and "Opening 1." not in prompt
    assert Approach.parse("different", steps).sequential
    assert brief("different").render() == brief("plain").render()


def test_several_asks_for_no_more_than_are_left():
    assert brief("several", 0).several == 5
    assert brief("several", 6).several == 2
    assert Approach.parse("varied+several", steps).strong


def test_answers_with_several_stories_are_parted():
    answer = (
        'Here:\n<story probability="0.1">One.</story> <STORY probability=25%>Two.</STORY>'
        "<story>Three.</story><story> </story>"
    )
    assert parted(answer) == [("One.", 0.1), ("Two.", 0.25), ("Three.", None)]
    assert parted('<story probability="7">A.</story><story probability="0.1.2">B.</story>') == [
        ("A.", None),
        ("B.", None),
    ]
    assert parted("No story.") == parted("<story>half") == []


def test_a_language_that_is_not_english_is_asked_for():
    assert "'de'" in brief("plain", language="de").render()
