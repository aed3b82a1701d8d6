"""Readings, repairs and ranking."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.stories import Story, check
from foreword.stories.guided import continuation, rewrite
from foreword.stories.language import Prose
from foreword.stories.ranking import likeness, ranked, standing
from foreword.stories.readings import unwrapped
from foreword.stories.repair import repaired
from foreword.stories.spec import make
from support.story_writers import GOOD, SMALL

SPEC = make(SMALL)


def story(text: str, spec=SPEC, **more: object) -> Story:
    return Story(text, "t", "plain", 1, "the prompt", check(text, spec), **more)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        (f"Sure, here is a story:\n\n{GOOD}", ""),
        (f"**The Hill**\n\n{GOOD}", "The Hill"),
        (f"# The Hill\n{GOOD}", "The Hill"),
        (f"Title: The Hill\n\n{GOOD}", "The Hill"),
        (f"The Hill\n\n{GOOD}", "The Hill"),
        (f"```\n{GOOD}\n```", ""),
        (f"{GOOD}\n\nI hope you enjoy this story!\nLet me know.", ""),
        (f"{GOOD}\n\n(Word count: 88)", ""),
        (f"Certainly! Here's a tale for you.\n\n**The Hill**\n\n{GOOD}<|im_end|>", "The Hill"),
    ],
)
def test_what_surrounds_a_story_goes(text, title):
    assert unwrapped(text)[:2] == (GOOD, title)
    assert unwrapped(text)[2]


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from('Sure, here is*#a story:\n."!Title'), max_size=80))
def test_unwrapping_twice_is_unwrapping_once(text):
    once = unwrapped(text)[0]
    assert unwrapped(once)[0] == once


@pytest.mark.parametrize(
    "text", ["Sure enough, the fox came. He ran.", "Of course. He ran.\nHe sat.", '"Hello!"\n\nHe ran.']
)
def test_a_story_that_begins_like_a_preface_keeps_its_words(text):
    assert unwrapped(text) == (text, "", ())


@pytest.mark.parametrize(
    ("broken", "name"),
    [
        (GOOD + " And then the", "last sentence"),
        (GOOD + " They all walked on to the green hill.", "repeated sentence"),
        (GOOD + " This story is about sharing.", "talk about the story"),
        ("He had a gun. " + GOOD, "sentence with a listed word"),
        (GOOD + " They sat." * 20, "too long"),
        (f"Sure, here is a story:\n\n{GOOD}", "preface"),
    ],
)
def test_repairs_mend_and_say_so(broken, name):
    assert not story(broken).passed
    text, edits = repaired(broken, SPEC)
    assert story(text).passed
    assert name in [edit.name for edit in edits]
    assert "happy until the moon came up." in text


def test_hard_words_become_simpler_ones_only_where_too_many_are_hard():
    hard = "Enormous dragons gazed at numerous companions. They ventured rapidly. " + GOOD
    spec = make({**SMALL, "known_words": 1.0})
    text, edits = repaired(hard, spec)
    assert text.startswith("Huge dragons looked at many friends. They went quickly.")
    assert [(edit.removed, edit.added) for edit in edits][0] == ("Enormous", "Huge")
    assert repaired(hard, make({**SMALL, "known_words": 0.1})) == (hard, ())


@given(
    st.lists(
        st.sampled_from(GOOD.split(". ") + ["gun", "\n\n", "Sure, here is a story:\n\n", "And so", "…", "“"]),
        max_size=9,
    )
)
@settings(max_examples=30, deadline=None)
def test_a_repair_never_makes_a_hard_constraint_fail_and_is_done_once(pieces):
    text = ". ".join(pieces)
    mended, edits = repaired(text, SPEC)
    held = {one.constraint for one in check(text, SPEC) if one.hard and one.passed}
    assert not held & {one.constraint for one in check(mended, SPEC) if not one.passed}
    assert (mended == text) == (not edits) or mended.strip() == text.strip()
    assert repaired(mended, SPEC)[0] == mended


def test_a_good_story_is_left_alone():
    assert repaired(GOOD, SPEC) == (GOOD, ())


def test_a_missing_clue_is_brought_in_behind_what_is_kept():
    lost = story(GOOD.replace("friendly dragon", "old goat"))
    made = continuation(lost, SPEC, 0)
    assert made is not None
    assert "a friendly dragon" in made.request.lead
    assert lost.text.startswith(made.kept)
    text, edit = made.applied(" It smiled.")
    assert text == made.request.lead + " It smiled."
    assert edit.added.endswith("It smiled.") and "dragon" in edit.added
    assert len(Prose(made.request.lead).words) + made.request.most <= SPEC.length.max + 15


def test_a_long_text_is_shown_only_as_far_as_the_writer_has_room():
    long = make({**SMALL, "length": "2000-3000"})
    made = continuation(story(GOOD.replace("friendly dragon", "old goat") * 30, long), long, 0)
    assert made is not None
    seen = made.fitted(made.request.most * 2 + 30)
    assert len(Prose(seen.request.lead).words) <= 30 + len(Prose(made.words).words)
    assert made.request.lead.endswith(seen.request.lead) and seen.applied(" Yes.") == made.applied(" Yes.")
    assert made.fitted(None) == made


def test_what_is_too_short_goes_on_and_what_has_no_end_is_ended():
    clueless = make({"topic": "x", "length": "30-60"})
    short = story("The fox ran to the hill and was happy.", clueless)
    made = continuation(short, clueless, 0)
    assert made is not None and made.name == "longer" and made.request.least >= 15
    last = "They sat together on the hill and were happy until the moon came up."
    endless = story(GOOD.replace(last, "It rained.").replace("warm", "grey"))
    made = continuation(endless, SPEC, 0)
    assert made is not None and made.name == "ending"
    assert continuation(story(GOOD), SPEC, 0) is None


def test_a_rewrite_is_told_what_fails():
    asked = rewrite(story(GOOD.replace("dragon", "goat")), SPEC, 3).request
    assert "friendly dragon" in asked.prompt and "clues: missing" in asked.prompt and asked.seed == 3


def test_themes_come_first_then_hard_constraints_then_the_rest():
    good, lost, soft = story(GOOD), story(GOOD.replace("dragon", "goat")), story(GOOD + " Why?")
    bad = story(GOOD + " They had a bomb.")
    order = sorted([bad, lost, soft, good], key=lambda one: standing(one.checks), reverse=True)
    assert order == [good, soft, lost, bad]


def test_different_ones_come_first_and_all_come():
    other = story(
        "Knock, knock! A talking squirrel stood at the door of the mill. Beside her a rainbow butterfly kept flying "
        "around the lamp. The friendly dragon from next door brought soup and bread. They looked into every cupboard "
        "of the kitchen. Behind the flour was a hidden treasure, seven old spoons. They ate, sang a song, washed the "
        "bowls, went home and slept."
    )
    first, twin = story(GOOD), replace(story(GOOD.replace("old tree", "tall tree")), seed=2)
    assert first.passed and twin.passed and other.passed
    assert likeness(first.text, twin.text) > 0.9 > likeness(first.text, other.text)
    order = ranked([first, twin, other])
    assert order.index(other) < 2
    assert sorted(one.seed for one in order) == [1, 1, 2]
    assert ranked([]) == ()


@given(st.text(max_size=60), st.text(max_size=60))
@settings(deadline=None)
def test_likeness_is_symmetric_and_one_for_the_same(one, other):
    assert likeness(one, one) == 1
    assert 0 <= likeness(one, other) == likeness(other, one) <= 1


def test_a_story_survives_json():
    made = replace(story("Sure, here is a story:\n\n" + GOOD), edits=repaired("Okay!\n\n" + GOOD, SPEC)[1])
    assert Story.from_dict(made.to_dict()) == made
    assert made.failed[0] == "story-only" and not made.passed
