"""Words and tokens of a field are found in a row, whatever stands around them and whatever is left out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.text.encoder import Encoder
from foreword.text.rows import Spot
from foreword.text.shortening import dropped, windows_over
from foreword.text.spots import spots_of
from foreword.text.template import Template
from support import tokenizers

MAKERS = {
    "bert": (tokenizers.bert_tokenizer, "masked"),
    "roberta": (tokenizers.roberta_tokenizer, "masked"),
    "gpt2": (tokenizers.gpt2_tokenizer, "causal"),
    "llama": (tokenizers.llama_tokenizer, "causal"),
}
TEMPLATES = ("{a}", "{soft:2}{a}", "The film ({a}) {soft:1}", "{b}{soft:2} {a}", "it was {a}{b}", '"{a}" {sep} {b}')
WORDS = st.lists(st.text("abe dgo'. ü[☃", min_size=1, max_size=6).filter(str.strip), min_size=1, max_size=7)


def encoder(family, template, longest=90, **changes):
    make, kind = MAKERS[family]
    return Encoder(Template.parse(template).resolve(make()), make(), kind, longest, **changes)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(MAKERS)), st.sampled_from(TEMPLATES), WORDS)
def test_every_word_is_at_the_first_token_that_covers_it(family, template, words):
    made = encoder(family, template, 400)
    row = made.encode({"a": tuple(words), "b": "good"}, spot="a")
    text = " ".join(words)
    every = made.encode({"a": text, "b": "good"}, spot="a")
    assert row.ids == every.ids, "words are read as the text that they make"
    covered = dict(zip(every.answers, every.spots, strict=True))
    starts = [sum(len(word) + 1 for word in words[:number]) for number in range(len(words))]
    for number, (start, word) in enumerate(zip(starts, words, strict=True)):
        touching = [at for at, spot in covered.items() if spot.start < start + len(word) and spot.end > start]
        own = [at for at, spot in zip(row.answers, row.spots, strict=True) if spot.number == number]
        assert own == touching[:1]
    for spot in every.spots:
        assert text[spot.start : spot.end].strip() == text[spot.start : spot.end] != ""


def test_spaces_that_are_taken_from_the_front_move_no_character():
    for family in MAKERS:
        for template in ("it was {soft:2} {a}", "{soft:2}{a}", "{a}"):
            row = encoder(family, template).encode({"a": "  good film"}, spot="a")
            assert (row.spots[0].start, row.spots[-1].end) == (2, 11)


def test_names_of_special_tokens_are_words_like_others():
    row = encoder("bert", "{a} {soft:1}").encode({"a": ("good", "[SEP]", "film")}, spot="a")
    assert [spot.number for spot in row.spots] == [0, 1, 2]
    assert row.ids[row.answers[2]] == tokenizers.bert_tokenizer().convert_tokens_to_ids("film")


def test_a_row_without_a_spot_has_none():
    row = encoder("bert", "{a}").encode({"a": "good film"})
    assert row.spots == () and row.answers == ()


def test_spots_of_words_skip_what_has_no_token():
    covered = [(-1, -1), (0, 3), (3, 4), (-1, -1), (7, 9)]
    assert spots_of(("good", "x", "film"), covered) == [(1, Spot(0, 0, 4)), (4, Spot(2, 7, 11))]
    assert spots_of("good x film", covered) == [(1, Spot(0, 0, 3)), (2, Spot(1, 3, 4)), (4, Spot(2, 7, 9))]


@pytest.mark.parametrize(("keep", "gone"), [("start", {4}), ("end", {1})])
def test_a_slot_loses_tokens_at_one_end(keep, gone):
    assert dropped([-1, 0, 2, 0, 0], {0: 1}, keep) == gone
    assert dropped([0, 0], {}, keep) == set()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 60), st.integers(2, 20), st.data())
def test_windows_cover_everything_and_share_what_they_should(count, room, data):
    overlap = data.draw(st.integers(0, room - 1))
    made = windows_over(count, room, overlap)
    assert {token for window in made for token in window} == set(range(count))
    assert all(len(window) == min(room, count) for window in made)
    for one, after in zip(made, made[1:], strict=False):
        shared = len(set(one) & set(after))
        assert shared == overlap or (after is made[-1] and overlap <= shared < room)
    assert len({window.start for window in made}) == len(made)
