"""A run from spec to ranked stories, with writers that say what the test tells them to."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.errors import ConfigError, ForewordError
from foreword.stories import Watch, write
from foreword.stories.language import Prose
from foreword.stories.parts import divide, require_room, tail
from foreword.stories.spec import make
from foreword.stories.writers import Draft
from foreword.stories.writers.base import WriterStopped
from support.story_writers import GOOD, SMALL, Scripted

LOST = GOOD.replace("friendly dragon", "old goat")


def log(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def test_candidates_are_verified_repaired_ranked_and_logged(tmp_path):
    writer = Scripted(LOST + " And then", f"Sure, here is a story:\n\n{GOOD}", LOST, " bomb bomb")
    made = write(SMALL, n=3, keep=1, writer=writer, folder=tmp_path / "run", seed=4)
    assert [story.passed for story in made.stories] == [True]
    assert made.stories[0].text == GOOD
    assert [edit.name for edit in made.stories[0].edits] == ["preface"]
    assert len(made.candidates) == 3 and not made.failures and not made.stopped
    events = log(tmp_path / "run")
    assert events[0]["spec"]["topic"] == SMALL["topic"]
    drafts = [event for event in events if event["event"] == "draft"]
    assert [event["prompt"] for event in drafts] == [story.prompt for story in made.candidates]
    assert len({event["seed"] for event in drafts}) == 3
    stories = [event for event in events if event["event"] == "story"]
    assert all(event["checks"] for event in stories)
    kept = json.loads((tmp_path / "run" / "stories.json").read_text(encoding="utf-8"))
    assert kept["stories"][0]["text"] == GOOD and kept["passed"] == 1
    assert made.tokens == sum(story.tokens for story in made.candidates)


def test_the_same_seed_asks_the_same_and_another_one_does_not():
    asked = []
    for seed in (1, 1, 2):
        writer = Scripted(GOOD)
        write(SMALL, n=2, approach="varied", writer=writer, seed=seed)
        asked.append(writer.seen)
    assert asked[0] == asked[1] != asked[2]


def test_a_missing_clue_is_brought_in_by_going_on():
    writer = Scripted(LOST, " He laughed, and they were all happy together.")
    made = write({**SMALL, "length": "60-140"}, n=1, writer=writer)
    story = made.stories[0]
    assert story.passed
    assert "clue brought in" in [edit.name for edit in story.edits]
    assert "a friendly dragon" in story.text
    assert story.tokens == made.tokens


def test_a_revision_that_is_no_better_is_not_taken(tmp_path):
    made = write(SMALL, n=1, writer=Scripted(LOST, " bomb bomb bomb."), folder=tmp_path / "run")
    assert made.stories[0].text == LOST
    assert [event["taken"] for event in log(tmp_path / "run") if event["event"] == "revision"] == [False, False]


def test_without_repair_the_text_stays_as_it_was_written():
    text = f"Sure, here is a story:\n\n{LOST} And"
    writer = Scripted(text)
    made = write(SMALL, n=1, writer=writer, repair=False)
    assert made.stories[0].text == text and not made.stories[0].edits and len(writer.seen) == 1


def test_a_strong_writer_is_asked_to_rewrite():
    writer = Scripted(LOST, GOOD, strong=True)
    made = write(SMALL, n=1, writer=writer)
    assert made.stories[0].passed
    assert made.stories[0].edits[-1].name == "rewrite"
    assert "What is wrong with it" in writer.seen[1].prompt


def test_a_repair_that_cannot_be_made_loses_nothing():
    class Full(Scripted):
        def write(self, requests, done, advance):
            if self.seen:
                raise ConfigError("it does not fit")
            super().write(requests, done, advance)

    made = write(SMALL, n=1, writer=Full(LOST))
    assert made.stories[0].text == LOST and made.stopped == "it does not fit"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), WriterStopped("the budget is spent")])
def test_what_is_written_before_an_end_is_kept(tmp_path, error):
    made = write(SMALL, n=3, writer=Scripted(GOOD, GOOD, error), folder=tmp_path / "run")
    assert len(made.candidates) == 2 and made.stories[0].passed
    assert made.stopped in ("interrupted", "the budget is spent")
    assert json.loads((tmp_path / "run" / "stories.json").read_text(encoding="utf-8"))["stopped"] == made.stopped


def test_single_failures_and_refusals_do_not_end_a_run():
    refused = Draft("I cannot do that.", 4, 0.1, "refused")
    made = write(SMALL, n=3, writer=Scripted(ForewordError("no answer"), refused, GOOD))
    assert len(made.candidates) == 1
    assert made.failures == ("story 1: no answer", "story 2: the writer refused: I cannot do that.")
    with pytest.raises(ForewordError, match="no story could be written: story 1: no answer"):
        write(SMALL, n=2, writer=Scripted(ForewordError("no answer")))
    with pytest.raises(WriterStopped):
        write(SMALL, n=2, writer=Scripted(WriterStopped("spent")))


def test_several_stories_come_from_one_answer():
    answer = f'<story probability="0.1">{GOOD}</story><story>{LOST}</story>'
    writer = Scripted(answer, strong=True)
    made = write(SMALL, n=3, approach="several", writer=writer, repair=False)
    assert len(writer.seen) == 1
    assert [story.text for story in made.candidates] == [GOOD, LOST]
    assert made.candidates[0].edits[0].added == "0.1"
    assert made.failures == ("story 3: the answer holds no such story",)


def test_different_stories_are_written_one_by_one_with_what_was_before():
    writer = Scripted(GOOD, LOST)
    write(SMALL, n=2, approach="different", writer=writer, repair=False)
    assert "Come quickly" not in writer.seen[0].prompt and "Come quickly" in writer.seen[1].prompt


def test_planned_parts_go_on_from_each_other_and_bring_their_clues():
    writer = Scripted(*[f" They walked on for part {i} of the way and saw nothing." for i in range(40)])
    made = write({**SMALL, "length": "240-300"}, n=2, approach="plan", writer=writer, repair=False)
    story = made.candidates[0]
    assert len(made.candidates) == 2
    assert {one.constraint: one.passed for one in story.checks}["clues"]
    assert story.edits and all(edit.name == "first words of a part" for edit in story.edits)
    parts = [request for request in writer.seen if "of 6 parts" in request.prompt]
    assert len(parts) == 12
    assert parts[2].lead in story.text, "a part goes on from the text so far"
    assert story.text.count("They walked on") == 6
    assert "Bring the story to its end" in story.prompt


def test_a_strong_writer_plans_first():
    writer = Scripted("1. A fox wakes up.\n2. He finds a door.\n3. He goes home.", GOOD, strong=True)
    write({**SMALL, "length": "240-300"}, n=1, approach="plan", writer=writer, repair=False)
    assert "Write a plan" in writer.seen[0].prompt
    assert "A fox wakes up." in writer.seen[1].prompt and writer.seen[1].lead == ""
    assert "He goes home." in writer.seen[-1].prompt and writer.seen[-1].lead


def test_an_interrupt_amid_parts_keeps_the_parts():
    made = write(
        {**SMALL, "length": "240-300"},
        n=1,
        approach="plan",
        writer=Scripted("A fox ran.", " He sat.", KeyboardInterrupt()),
    )
    assert made.stopped == "interrupted"
    assert "A fox ran." in made.stories[0].text and "He sat." in made.stories[0].text


@pytest.mark.parametrize(
    ("values", "approach", "room", "told"),
    [
        ({"length": "9000-10000"}, "plain", 1500, "planned parts .approach plan: 25 parts.*1,500 words"),
        ({"length": "900-1000"}, "plain", 60, "at most 60 words"),
        ({"length": "900-1000"}, "plan", 60, "longer context"),
        ({"length": "900000-1000000"}, "plan", 1500, "2500 parts"),
    ],
)
def test_a_length_beyond_the_context_is_told_with_what_can_be_done(values, approach, room, told):
    writer = Scripted(GOOD, room=room)
    with pytest.raises(ConfigError) as caught:
        write({"topic": "x", **values}, approach=approach, writer=writer)
    import re

    assert re.search(told, str(caught.value))
    assert writer.seen == []


def test_ten_thousand_words_fit_a_small_context_in_parts():
    writer = Scripted("The fox ran on.", room=1500)
    made = write({"topic": "x", "length": "9000-10000"}, n=1, approach="plan", writer=writer, repair=False)
    assert len(writer.seen) == 25
    assert all(len(Prose(request.lead).words) + request.most <= 1500 for request in writer.seen)
    assert len(made.candidates) == 1


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"approach": "several"}, "follows long instructions"),
        ({"n": 0}, "at least 1"),
        ({"keep": 0}, "at least 1"),
        ({"spec": {"topic": "x", "clues": ["a gun"]}}, "weapons"),
        ({"spec": "no-such-preset"}, "cannot read the spec"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_written(more, told):
    writer = Scripted(GOOD)
    with pytest.raises(ConfigError, match=told):
        write(**{"spec": SMALL, "writer": writer, **more})
    assert writer.seen == []


def test_a_folder_of_another_run_is_left_alone(tmp_path):
    write(SMALL, n=1, writer=Scripted(GOOD), folder=tmp_path / "run")
    before = (tmp_path / "run" / "log.jsonl").read_bytes()
    with pytest.raises(ForewordError, match="another run"):
        write(SMALL, n=1, writer=Scripted(GOOD), folder=tmp_path / "run")
    assert (tmp_path / "run" / "log.jsonl").read_bytes() == before
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(ForewordError, match="cannot write"):
        write(SMALL, n=1, writer=Scripted(GOOD), folder=tmp_path / "file" / "run")


def test_progress_is_told():
    told = []

    class Counting(Watch):
        def tokens(self, count):
            told.append(count)

        def story(self, ready, count):
            told.append((ready, count))

    write(SMALL, n=2, writer=Scripted(GOOD), watch=Counting())
    assert told == [90, (1, 2), 90, (2, 2)] or [one for one in told if isinstance(one, tuple)] == [(1, 2), (2, 2)]


@given(
    st.integers(1, 5000), st.integers(0, 5000), st.integers(0, 8), st.one_of(st.none(), st.integers(80, 4000)),
    st.integers(0, 9),
)  # fmt: skip
@settings(deadline=None)
def test_parts_add_up(least, more, clues, room, beats):
    spec = make(
        {"topic": "x", "length": {"min": least, "max": least + more}, "clues": [f"thing{i}" for i in range(clues)]}
    )
    parts = divide(spec, room, [f"Beat {i}." for i in range(beats)])
    assert [clue for part in parts for clue in part.clues] == list(spec.clues)
    assert sum(part.words.max for part in parts) >= spec.length.max
    assert sum(part.words.min for part in parts) <= max(spec.length.min, len(parts))
    told = {beat for part in parts for beat in part.beat.split(" Beat") if beat}
    assert bool(told) == bool(beats)
    if room is not None:
        assert max(part.words.max for part in parts) <= max(40, room // 2) + 1
        require_room(spec, 10_000, planned=False)


@given(st.integers(0, 40))
def test_the_tail_is_whole_sentences(words):
    found = tail(GOOD, words)
    assert GOOD.endswith(found) and len(Prose(found).words) <= words
    assert not found or found in [GOOD[span.start :] for span in Prose(GOOD).sentences]
