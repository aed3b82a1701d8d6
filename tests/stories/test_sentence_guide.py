"""The guide that goes along sentence by sentence: what it takes back, what it gives, when it ends a text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.errors import ConfigError
from foreword.stories import check, write
from foreword.stories.resources import table
from foreword.stories.sentence_guide import SentenceGuide, hero
from foreword.stories.spec import StorySpec, make
from support.story_writers import GOOD, SMALL, Scripted

WORDS = "The fox ran to the old hill and sat down in the soft grass. "


def spec(**more: object) -> StorySpec:
    return make({"topic": "A fox", "length": "60-100", **more})


def guide(seed: int = 1, prompt: str = "", **more: object) -> SentenceGuide:
    return SentenceGuide(spec(**more), seed, prompt)


@pytest.mark.parametrize(
    ("sentence", "told"),
    [
        ("He took a gun.", "themes"),
        ("This story is about a fox.", "story-only"),
        ("The fox ran to the old hill and sat down in the soft grass.", "no-repetition"),
        ("The fox ran up the old hill and then sat in soft grass.", "said before"),
        ("The cat shouted.", "forbidden"),
        ("It was big and red and blue and green and good and old and new and soft and warm and slow and fast and "
         "small and long and short.", "a sentence of"),
        ("Yes.", "hardly"),
        ("The fox [blue] sat.", "signs"),
        ("Notwithstanding quantum bureaucracy prevailed.", "does not know"),
        ("The crab sat on a bucket near the shell.", "as in a list"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_sentence_is_told(sentence, told):
    who = guide(avoid=["shout"], clues=["a crab", "a bucket", "a shell"])
    assert told in who.judge(WORDS + sentence, 0)
    assert who.judge(WORDS + "A small bird sang in the tree.", 0) == ""


def test_strange_words_are_let_through_in_the_end_and_faults_are_not():
    who = guide()
    assert who.judge(WORDS + "Quantum bureaucracy prevailed.", 2) == ""
    assert who.judge(WORDS + "He took a gun.", 4)


def test_a_story_does_not_say_its_request_again():
    who = guide(prompt="Write a story about a fox. It shows that small helpers matter a lot.")
    assert "request" in who.judge("It shows that small helpers matter a lot.", 0)


def test_clues_in_order_wait_for_their_turn():
    who = guide(clues=["a crab", "a bucket"], ordered=True)
    assert "turn" in who.judge("There stood a bucket near the sea.", 0)
    assert who.judge("A crab came. There stood a bucket near the sea.", 0) == ""


def test_a_missing_clue_is_begun_at_its_turn_and_no_other_word_is_given():
    who = guide(clues=["a blue crab", "a bucket"])
    assert who.lead("The fox ran.", (), 0) == ""
    words = who.lead(WORDS * 2, (), 0)
    assert words is not None and "a blue crab" in words.lower() and len(words.split()) <= 6
    assert "a bucket" in (who.lead(WORDS * 3 + "A blue crab came.", (), 0) or "")
    assert who.lead(WORDS * 2 + "The fox saw a blue crab.", (), 0) == "", "what the writer brought in is not given"


def test_what_happens_is_begun_in_order_and_once_and_never_behind_the_ending():
    first, second = "All the lights went out, and", "Snow began to fall, and"
    who = SentenceGuide(
        spec(), 1, "Write a story. In it, all the lights go out and the snow comes early.", (first, second)
    )
    assert who.lead("The fox ran.", (), 0) == "", "not at once"
    assert who.lead(WORDS, (), 0) == f" {first}"
    assert who.lead(WORDS, (first,), 0) == "", "the other half a story later"
    assert who.lead(WORDS * 3, (first,), 0) == f" {second}"
    assert who.lead(WORDS * 3, (first, second), 0) == ""
    closing = table("bridges")["closings"][0]
    assert who.lead(WORDS * 2, (closing,), 0) == ""
    assert who.judge(f"{WORDS}{first} it was dark.", 0) == "", "the request says it, and so may the story"


def test_other_attempts_are_begun_with_other_words():
    who = guide(clues=["a crab"])
    assert len({who.lead(WORDS * 4, (), tries) for tries in range(4)}) > 2
    late = {guide(seed).lead("The fox ran.", (), 4) for seed in range(4)}
    assert late == {f" {words}" for words in table("bridges")["turns"]}


@pytest.mark.parametrize(("opened", "mark"), [('"', '"'), ("“", "”")])
def test_a_quotation_may_have_two_sentences_and_is_closed_then(opened, mark):
    who = guide()
    said = f"The fox said, {opened}I am here."
    assert who.judge(said, 0) == "" and who.lead(said, (), 0) == ""
    assert who.lead(f"{said} I am big.", (), 0) == mark
    assert who.lead(WORDS * 6 + said, (), 0) == mark, "not long before the end, at once"
    assert who.lead(f"{said} I am big.{mark}", (), 0) == ""


def test_a_named_character_comes_first_and_someone_speaks_where_it_is_asked_for():
    assert guide(characters=["Mia: a girl"]).lead("", (), 0) == "Mia"
    said = guide(dialogue=True).lead(WORDS * 3, (), 0)
    assert said is not None and said.endswith('"') and said.startswith(" Somebody")
    assert guide(dialogue=True).lead(WORDS * 3 + "So Tom ran. Then Tom sat.", (), 0).split()[0] == "Tom"


def test_it_ends_when_the_end_was_begun_and_has_come_and_not_before():
    who = guide(clues=["a crab"])
    body = WORDS * 5 + "A crab came."
    closing = who.lead(body, (), 0)
    assert closing is not None and closing.strip() in table("bridges")["closings"]
    ended = f"{body}{closing} they all went home."
    assert who.lead(ended, (closing.strip(),), 0) is None
    assert who.lead(f"{WORDS * 2} {closing} they all went home.", (closing.strip(),), 0), "too short, a clue is missing"
    assert who.lead(f"{body}{closing} they sat", (closing.strip(),), 0) == "", "never inside of a sentence"
    assert who.lead(WORDS * 7 + "He saw a bird.", (), 0) is None, "no room for more"


@given(st.integers(0, 2**32 - 1), st.integers(1, 400), st.integers(0, 400))
@settings(deadline=None)
def test_the_length_that_is_aimed_at_is_one_that_is_asked_for(seed, least, more):
    found = SentenceGuide(make({"topic": "x", "length": {"min": least, "max": least + more}}), seed).target
    assert least <= found <= least + more


@given(st.integers(0, 1000), st.integers(0, 4))
@settings(deadline=None)
def test_what_is_given_is_few_words_and_holds_no_listed_word(seed, tries):
    who = SentenceGuide(make({**SMALL, "length": "60-100"}), seed)
    words = who.lead(WORDS * 2, (), tries) or ""
    assert len(words.split()) <= 8
    verdicts = {one.constraint: one.passed for one in check(f"The fox ran.{words} came.", who.spec)}
    assert verdicts["themes"] and verdicts["story-only"]


def test_closing_words_do_not_pass_the_ending_by_themselves():
    for words in table("bridges")["closings"]:
        verdicts = {one.constraint: one.passed for one in check(f"{WORDS}{words} the fox ran.", spec())}
        assert not verdicts["ending"]


def test_the_hero_is_the_commonest_name():
    assert hero("The day came. Then Tom saw Mia, and Tom ran. Here Tom sat.") == "Tom"
    assert hero("The fox ran. It sat.") == ""


def test_only_writers_that_can_be_guided_are_guided():
    with pytest.raises(ConfigError, match="of this machine"):
        write(SMALL, approach="stepwise", writer=Scripted(GOOD))

    class Guided(Scripted):
        guides = True

    writer = Guided(GOOD)
    made = write(SMALL, n=2, approach="stepwise+varied", writer=writer, seed=3)
    assert all(request.guide is not None for request in writer.seen)
    assert all(story.given for story in made.candidates), "the first words of varied are told as given"
    happens = [request.guide.events for request in writer.seen]
    assert len({*happens[0], *happens[1]}) == 6, "a time and two events each, none twice before all were there"
    with pytest.raises(ConfigError, match="choose one"):
        write(SMALL, approach="stepwise+plan", writer=Guided(GOOD))
    with pytest.raises(ConfigError, match="English"):
        write({**SMALL, "language": "de"}, approach="stepwise", writer=Guided(GOOD))
