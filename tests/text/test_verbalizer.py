"""Label words: how they are tokenised, what is refused, and that variants score them by the chain rule."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.errors import TemplateError
from foreword.text.encoder import Encoder
from foreword.text.template import Template
from foreword.text.verbalizer import Variant, Verbalizer
from support.tokenizers import bert_tokenizer, gpt2_tokenizer, llama_tokenizer, opt_tokenizer, roberta_tokenizer

WORD = st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple)
SETS = st.lists(st.lists(WORD, min_size=1, max_size=3), min_size=1, max_size=3)


def log_p(seen: tuple, token: int) -> float:
    """A toy next-token log-probability that depends on everything before."""
    return -math.log(2 + (hash((seen, token)) % 1000) / 100)


@settings(max_examples=100, deadline=None)
@given(SETS)
def test_causal_variants_score_every_word_by_the_chain_rule(words):
    text = (9, 9)
    made = Verbalizer(tuple("abc"[: len(words)]), tuple(map(tuple, words)))
    rows = [(text + v.continuation, len(text) - 1) for v in made.variants("causal")]
    placed = made.placements("causal")
    assert [(p.label, p.ids) for p in placed] == [(i, word) for i, group in enumerate(words) for word in group]
    for place in placed:
        row, last = rows[place.variant]
        joint = sum(log_p(row[: last + k + 1], token) for k, token in zip(place.places, place.ids, strict=True))
        direct = sum(log_p(text + place.ids[:k], token) for k, token in enumerate(place.ids))
        assert joint == pytest.approx(direct)


@settings(max_examples=100, deadline=None)
@given(SETS)
def test_variants_are_few_and_equally_long_with_their_reserve(words):
    made = Verbalizer(tuple("abc"[: len(words)]), tuple(map(tuple, words)))
    causal, masked = made.variants("causal"), made.variants("masked")
    for variant in causal:
        others = [v.continuation for v in causal if v != variant]
        assert not any(other[: len(variant.continuation)] == variant.continuation for other in others)
    assert len({len(v.continuation) + v.reserve for v in causal}) == 1
    assert len({v.masks + v.reserve for v in masked}) == 1
    assert {v.masks for v in masked} == {len(word) for group in words for word in group}
    for place in made.placements("masked"):
        assert masked[place.variant].masks == len(place.ids) == len(place.places)
    if made.single:
        assert causal == masked == (Variant(),)


@pytest.mark.parametrize("tokenizer", [gpt2_tokenizer(), opt_tokenizer(), roberta_tokenizer(), llama_tokenizer()])
def test_a_word_is_tokenised_as_it_stands_in_the_text(tokenizer):
    for prefix, before in [(" ", "It was"), ("", "It was\n")]:
        made = Verbalizer.build({"pos": ["great", "good"], "neg": ["terrible"]}, ["pos", "neg"], tokenizer, prefix)
        start = tokenizer(before, add_special_tokens=False)["input_ids"]
        whole = tokenizer(f"{before}{prefix}great", add_special_tokens=False)["input_ids"]
        assert made.words[0][0] == tuple(whole[len(start) :])


def test_words_and_encoder_fit_together():
    tokenizer = gpt2_tokenizer()
    encoder = Encoder(Template.parse("{a} It was {mask}"), tokenizer, "causal", 40)
    made = Verbalizer.build(
        {"p": ["great"], "n": ["not great", "not good"]}, ["p", "n"], tokenizer, encoder.answer_prefix
    )
    rows = [encoder.encode({"a": "Fun."}, v.masks, v.continuation, v.reserve) for v in made.variants("causal")]
    assert not made.single
    for place, word in zip(made.placements("causal"), ["great", "not great", "not good"], strict=True):
        row = rows[place.variant]
        start = row.ids[: row.answers[place.places[0]] + 1]
        assert (*start, *place.ids) == tuple(tokenizer(f"Fun. It was {word}")["input_ids"])
        inside = row.ids[: row.answers[place.places[-1]] + 1]
        assert inside == (*start, *place.ids[:-1])


def test_the_labels_are_their_own_words_where_none_are_given():
    made = Verbalizer.build(None, ["good", "bad"], bert_tokenizer(), " ")
    assert made == Verbalizer.build({"bad": "bad", "good": ["good"]}, ["good", "bad"], bert_tokenizer(), "")
    assert made.single and made.labels == ("good", "bad")


def test_spellings_that_are_one_to_the_tokenizer_count_once():
    made = Verbalizer.build({"p": ["Great", "great"], "n": ["bad"]}, ["p", "n"], bert_tokenizer(), " ")
    assert [len(words) for words in made.words] == [1, 1]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ({"p": ["great"]}, "label 'n' has no word"),
        ({"p": ["great"], "n": []}, "label 'n' has no word"),
        ({"p": ["great"], "n": ["bad"], "neg": ["x"]}, "unknown label 'neg'"),
        ({"p": ["great"], "n": ["GREAT"]}, "'p' and 'n' share a word"),
        ({"p": ["great"], "n": ["好"]}, r"cannot make the label word '好' \(it gives \[UNK\]\)"),
        ({"p": ["great"], "n": ["[SEP]"]}, "cannot make"),
        ({"p": ["great"], "n": [" "]}, "makes nothing"),
        ({"p": ["great"], "n": [1]}, "is int, not text"),
    ],
)
def test_bad_words_are_refused(words, what):
    with pytest.raises(TemplateError, match=what):
        Verbalizer.build(words, ["p", "n"], bert_tokenizer(), " ")
