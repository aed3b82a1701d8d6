"""Every constraint: its clause, a text that holds it, one that does not, and what the evidence says."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.stories import check
from foreword.stories.checking import constraints_of
from foreword.stories.constraints import constraints
from foreword.stories.constraints.clues import Clues
from foreword.stories.constraints.no_repetition import NoRepetition, before_circling
from foreword.stories.constraints.word_range import WordRange
from foreword.stories.language import Prose
from foreword.stories.spec import StorySpec, make
from support.story_writers import GOOD, SMALL

EVERYTHING = {
    **SMALL,
    "ordered": True,
    "characters": ["Mia: a girl"],
    "avoid": ["sword"],
    "sentences": "5-12",
    "dialogue": True,
    "known_words": 0.8,
}
WHOLE = GOOD.replace("The little girl", "Little Mia") + ' "What a day," said Mia.'
MUTATED = {
    "word-range": lambda text: text + " And so on." * 20,
    "sentence-range": lambda text: text + " Yes. No. Oh. Ah. Hm. So. My.",
    "longest-sentence": lambda text: "And then he went up and down" + " and up and down" * 20 + ". " + text,
    "clues": lambda text: text.replace("dragon", "goat"),
    "clue-order": lambda text: "There is a treasure that is hidden. " + text.replace("treasure", "thing"),
    "forbidden-words": lambda text: text + " They had Swords.",
    "characters": lambda text: text.replace("Mia", "Ida"),
    "opening": lambda text: "Once upon a time it was so. " + text,
    "ending": lambda text: text + " The box was blue. The car was red. The road was long. The sky was grey.",
    "no-cut-off": lambda text: text + " And then the",
    "dialogue": lambda text: text.replace('"', ""),
    "readability": lambda text: "Extraordinary opportunities necessitate considerable imagination. " * 6 + text,
    "known-words": lambda text: text + " Zorp blick gorm frell wug dax" * 6 + ".",
    "themes": lambda text: text + " Somebody killed the wolf.",
    "no-repetition": lambda text: text + " They all walked on to the green hill.",
    "story-only": lambda text: "Sure, here is a story for you:\n\n" + text,
    "language": lambda text: "Der Hund lief schnell nach Hause zurück." * 20 + text,
}


def failing(text: str, values: dict = EVERYTHING) -> set[str]:
    return {one.constraint for one in check(text, make(values)) if not one.passed}


def test_every_constraint_is_asked_for_and_has_a_mutation():
    asked = {one.name for one in constraints_of(make(EVERYTHING))}
    assert asked == set(constraints.names) == set(MUTATED)


def test_a_text_that_was_made_to_hold_everything_holds_everything():
    assert failing(WHOLE) == set()
    assert {one.score for one in check(WHOLE, make(EVERYTHING))} == {1.0}


@pytest.mark.parametrize("name", sorted(MUTATED))
def test_a_mutated_text_fails_there_with_a_lower_score(name):
    mutated = MUTATED[name](WHOLE)
    verdict = next(one for one in check(mutated, make(EVERYTHING)) if one.constraint == name)
    assert not verdict.passed
    assert 0 <= verdict.score < 1
    assert verdict.note


@given(st.text(max_size=300))
@settings(max_examples=50, deadline=None)
def test_any_text_gets_a_whole_verdict(text):
    for one in check(text, make(EVERYTHING)):
        assert 0 <= one.score <= 1
        assert one.passed <= one.lenient, "what passes strictly passes leniently"
        assert one.passed == (one.score == 1) or one.constraint == "known-words"
        assert all(text[span.start : span.end] == span.text for span in one.evidence)


@pytest.mark.parametrize("text", ["", "   \n", "…", "?!"])
def test_an_empty_text_is_no_story(text):
    lost = failing(text)
    assert {"word-range", "clues", "no-cut-off", "story-only", "ending", "opening"} <= lost
    assert not lost & {"themes", "forbidden-words", "no-repetition"}


@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 80))
def test_words_are_counted(least, more, count):
    constraint = WordRange.of(StorySpec(topic="x", length={"min": least, "max": least + more}))
    found = constraint.check(Prose("word " * count))
    assert found.passed == (least <= count <= least + more)
    assert str(least) in constraint.clause() and str(least + more) in constraint.clause()
    closer = constraint.check(Prose("word " * (count + (count < least) - (count > least + more))))
    assert closer.score >= found.score


@given(st.permutations(["The talking squirrel ran.", "Its dragon, friendly, sat.", "The butterfly, all rainbow, flew.",
                        "They hid a treasure.", "The sky was blue."]))  # fmt: skip
def test_clues_do_not_depend_on_the_order_of_sentences(lines):
    assert Clues.of(make(SMALL)).check(Prose(" ".join(lines))).passed
    assert not Clues.of(make(SMALL)).check(Prose(" ".join(line for line in lines if "hid" not in line))).passed


def test_a_clue_stands_in_one_sentence_strictly_and_anywhere_leniently():
    constraint = Clues.of(make({"topic": "x", "clues": ["a friendly dragon"]}))
    apart = Prose("The dragon sat. He was friendly.")
    assert not constraint.check(apart).passed
    assert 0 < constraint.check(apart).score < 1
    assert constraint.check(apart, lenient=True).passed
    assert constraint.missing(apart) == ("a friendly dragon",)
    assert not constraint.check(Prose("He was friendly."), lenient=True).passed


def test_all_clues_in_one_sentence_are_a_list():
    line = "Here come a talking squirrel, a flying rainbow butterfly, a friendly dragon and a hidden treasure."
    found = Clues.of(make(SMALL)).check(Prose(f"{line} They ran."))
    assert not found.passed and "list" in found.note
    assert Clues.of(make(SMALL)).check(Prose(line), lenient=True).passed
    assert Clues.of(make(SMALL)).check(Prose(f"{line} The dragon was friendly.")).passed


def test_words_that_go_in_circles_are_told():
    text = "I am very happy. " + " ".join(f"I am {'very ' * i}happy, so happy." for i in range(2, 12))
    found = NoRepetition().check(Prose(text))
    assert not found.passed and "circles" in found.note and found.score < 1
    assert NoRepetition().check(Prose(GOOD)).passed
    assert before_circling(Prose(f"{GOOD} {text}")).startswith(GOOD)
    assert len(before_circling(Prose(f"{GOOD} {text}"))) < len(GOOD) + len(text) / 2
    assert before_circling(Prose(GOOD)) == GOOD


def test_clues_in_another_language_are_found_letter_by_letter():
    spec = make({"topic": "Wald", "clues": ["ein Drache"], "language": "de", "length": "1-20"})
    verdicts = {one.constraint: one.passed for one in check("Da saß ein DRACHE.", spec)}
    assert verdicts["clues"]
    assert set(verdicts).isdisjoint({"themes", "readability", "known-words", "language", "opening", "ending"})
    assert not {one.constraint: one.passed for one in check("Da saßen Drachen.", spec)}["clues"]


def test_themes_are_listed_and_never_called_safe():
    verdict = next(one for one in check(GOOD, make(SMALL)) if one.constraint == "themes")
    assert verdict.note == "no listed theme found"
    found = next(one for one in check(GOOD + " He shot guns.", make(SMALL)) if one.constraint == "themes")
    assert "weapons" in found.note and "guns" in found.note and "safe" not in found.note
    assert not found.lenient
    mild = next(one for one in check(GOOD + " A ghost came.", make(SMALL)) if one.constraint == "themes")
    assert not mild.passed and mild.lenient
    allowed = make({**SMALL, "allow": ["ghosts"]})
    assert next(one for one in check(GOOD + " A ghost came.", allowed) if one.constraint == "themes").passed
    older = make({**SMALL, "age": 10})
    assert next(one for one in check(GOOD + " A ghost came.", older) if one.constraint == "themes").passed


@pytest.mark.parametrize("words", ["The wind blew.", "They had a drink of water.", "A strange sound came."])
def test_a_word_that_a_listed_form_comes_from_is_not_listed(words):
    assert verdict("themes", f"{GOOD} {words}").passed
    assert not verdict("themes", f"{GOOD} A stranger with wounds was drunk.").passed
    assert not verdict("themes", f"{GOOD} He held a machine-gun.").passed


@pytest.mark.parametrize(
    "ending",
    [
        "At last Mouse had someone to play with.",
        "They all came in.",
        "They had a lot to look forward to.",
        "The End",
        "⭐",
        "They went home ❤️",
    ],
)
def test_a_sentence_may_end_in_a_small_word_a_picture_or_the_end(ending):
    assert verdict("no-cut-off", f"The fox ran.\n\n{ending}").passed
    for cut in ("Then he saw the.", "They walked to the end"):
        assert not verdict("no-cut-off", f"The fox ran. {cut}").passed


@pytest.mark.parametrize(
    "words",
    [
        "“I hope you like it!” he said.",
        '"Let me know if you are cold," said Mia.',
        "Grandpa told a story. The story was long.",
        "Of course, the fox had a tale to tell: it was about a hen.",
        "The book had 20 words.",
    ],
)
def test_what_somebody_says_or_tells_in_a_story_is_no_talk_about_it(words):
    assert verdict("story-only", f"{words} The fox ran home.").passed
    for talk in ("The story has 80 words.", "I hope you like it!", "The story is about a fox."):
        assert not verdict("story-only", f"{words} {talk}").passed


def test_names_are_found_over_lines_and_with_either_apostrophe():
    spec = make({**SMALL, "characters": ["Mia O'Neil"]})
    assert next(one for one in check(GOOD + " Mia\nO’Neil came.", spec) if one.constraint == "characters").passed


def test_many_empty_lines_are_read_quickly():
    began = time.perf_counter()
    check("The fox ran." + "\n" * 20_000 + "The end.", make(SMALL))
    assert time.perf_counter() - began < 20


def verdict(name: str, text: str):
    return next(one for one in check(text, make(SMALL)) if one.constraint == name)


def test_the_lenient_reading_forgives_what_surrounds_a_story():
    text = f"Sure! Here is a story:\n\n**The Hill**\n\n{WHOLE}\n\nI hope you like it!"
    verdicts = check(text, make(EVERYTHING))
    assert {one.constraint for one in verdicts if one.hard and not one.lenient} == set()
    assert "story-only" in {one.constraint for one in verdicts if not one.passed}


def test_every_clause_says_what_is_checked():
    clauses = {one.name: one.clause() for one in constraints_of(make(EVERYTHING))}
    assert "60 to 100 words" in clauses["word-range"]
    assert "5 to 12 sentences" in clauses["sentence-range"]
    assert "25 words" in clauses["longest-sentence"]
    assert all(clue in clauses["clues"] for clue in SMALL["clues"])
    assert "Mia, a girl" in clauses["characters"]
    assert "sword" in clauses["forbidden-words"]
    assert "5-year-old" in clauses["known-words"]
    assert {name for name, clause in clauses.items() if not clause} == {"no-cut-off", "no-repetition", "language"}


def test_checking_changes_nothing():
    for one in constraints_of(make(EVERYTHING)):
        before = repr(one)
        assert one.check(Prose(WHOLE)) == one.check(Prose(WHOLE))
        assert (one.clause(), repr(one)) == (one.clause(), before)
