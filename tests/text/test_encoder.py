"""Rows are what the tokenizer itself would make, with virtual tokens and answers in their places."""

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from foreword.errors import DataError, TemplateError
from foreword.text.encoder import Encoder
from foreword.text.shortening import cut_summary
from foreword.text.template import Template
from support.tokenizers import (
    bert_tokenizer,
    distilbert_tokenizer,
    gpt2_tokenizer,
    llama_tokenizer,
    opt_tokenizer,
    roberta_tokenizer,
    t5_tokenizer,
)

MASKED = {"bert": bert_tokenizer, "distilbert": distilbert_tokenizer, "roberta": roberta_tokenizer}
CAUSAL = {"gpt2": gpt2_tokenizer, "llama": llama_tokenizer, "opt": opt_tokenizer}
KIND = dict.fromkeys(MASKED, "masked") | dict.fromkeys(CAUSAL, "causal")
FAMILIES = MASKED | CAUSAL
WORDS = st.text(alphabet="aegst wor.,!'\"é😀\n{}", max_size=24)


def encoder(family: str, text: str, max_length: int = 200, **options) -> Encoder:
    tokenizer = FAMILIES[family]()
    return Encoder(Template.parse(text).resolve(tokenizer), tokenizer, KIND[family], max_length, **options)


def ids(tokenizer, text: str, special: bool = False) -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=special)["input_ids"])


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=25, deadline=None)
@given(a=WORDS, b=WORDS)
def test_without_soft_slots_a_row_is_the_rendered_text_tokenised(family, a, b):
    made = encoder(family, "Review: {a} ({b})! {{x}} {a}")
    row = made.encode({"a": a, "b": b})
    assert row.ids == ids(made.tokenizer, made.template.render({"a": a, "b": b}), special=True)
    assert set(row.soft) == {-1} and row.cut == 0


@pytest.mark.parametrize("family", MASKED)
@settings(max_examples=25, deadline=None)
@given(a=WORDS, b=WORDS)
def test_a_pair_is_what_the_tokenizer_makes_of_a_pair(family, a, b):
    made = encoder(family, "{a}{sep}{b}")
    # In a list, because the tokenizer takes a lone empty second text for none at all.
    row, own = made.encode({"a": a, "b": b}), made.tokenizer([a], [b])
    assert row.ids == tuple(own["input_ids"][0])
    assert row.types == tuple(own.get("token_type_ids", [[0] * len(row)])[0])
    assert row.cls == 0


@pytest.mark.parametrize("family", MASKED)
@settings(max_examples=25, deadline=None)
@given(a=WORDS, b=WORDS, length=st.integers(6, 30))
@example(a="", b="aa ", length=6)
def test_a_long_pair_is_cut_as_the_tokenizer_cuts(family, a, b, length):
    made = encoder(family, "{a}{sep}{b}", length)
    row = made.encode({"a": a, "b": b})
    own = made.tokenizer([a], [b], truncation="longest_first", max_length=length)["input_ids"][0]
    assert row.ids == tuple(own)
    assert row.cut == len(made.tokenizer([a], [b])["input_ids"][0]) - len(own)


@pytest.mark.parametrize("family", MASKED)
@settings(max_examples=25, deadline=None)
@given(a=WORDS)
def test_the_mask_is_read_in_its_sentence(family, a):
    made = encoder(family, "{a} It was {mask}. Yes")
    row = made.encode({"a": a})
    tokenizer = made.tokenizer
    assert row.ids == ids(tokenizer, f"{a} It was {tokenizer.mask_token}. Yes", special=True)
    assert [row.ids[place] for place in row.answers] == [tokenizer.mask_token_id]
    three = made.encode({"a": a}, masks=3)
    assert [three.ids[place] for place in three.answers] == [tokenizer.mask_token_id] * 3
    assert len(three) == len(row) + 2


@pytest.mark.parametrize("family", CAUSAL)
@settings(max_examples=25, deadline=None)
@given(a=WORDS, b=WORDS)
def test_a_causal_answer_starts_at_the_end_of_the_stripped_text(family, a, b):
    made = encoder(family, "{a}{sep}{b} It was {mask}")
    row = made.encode({"a": a, "b": b})
    assert row.ids == ids(made.tokenizer, f"{a}\n{b} It was", special=True)
    assert row.answers == (len(row) - 1,)
    longer = made.encode({"a": a, "b": b}, continuation=(7, 8))
    assert longer.ids == (*row.ids, 7, 8)
    assert longer.answers == (len(row) - 1, len(row), len(row) + 1)


def test_soft_tokens_stand_after_the_first_special_token():
    for family, first in [("bert", "[CLS]"), ("roberta", "<s>"), ("llama", "<s>"), ("opt", "</s>")]:
        made = encoder(family, "{soft:3}{a}")
        row = made.encode({"a": "great"})
        assert made.tokenizer.convert_ids_to_tokens(row.ids[0]) == first
        assert row.soft[:5] == (-1, 0, 1, 2, -1)
        assert row.cls == (0 if family in MASKED else None)
        without = (row.ids[0], *row.ids[4:])
        assert without == ids(made.tokenizer, "great", special=True)
    assert encoder("gpt2", "{soft:3}{a}").encode({"a": "great"}).soft[:4] == (0, 1, 2, -1)


def test_soft_slots_anywhere_keep_their_order_and_do_not_leave_lone_spaces():
    made = encoder("gpt2", '{a} film {soft:2} was {soft:"it was"} {mask}')
    row = made.encode({"a": "The"})
    tokenizer = made.tokenizer
    start, middle = ids(tokenizer, "The film"), ids(tokenizer, " was")
    assert tuple(place for place in row.soft if place >= 0) == tuple(range(made.template.soft_count))
    assert tuple(token for token, soft in zip(row.ids, row.soft, strict=True) if soft < 0) == (*start, *middle)
    assert row.soft[len(start)] == 0 and row.answers == (len(row) - 1,) and row.soft[-1] >= 0
    assert row.ids[-1] == made.pad_id


def test_a_tokenizer_that_adds_its_own_space_gets_none_twice_after_a_soft_slot():
    made = encoder("llama", "{soft:2} {a}")
    row = made.encode({"a": "great"})
    assert row.ids[3:] == ids(made.tokenizer, "great")


def test_data_that_names_special_tokens_stays_text():
    for family, name in [("bert", "[SEP]"), ("roberta", "</s>"), ("llama", "<|im_end|>")]:
        made = encoder(family, "A {a} film.")
        token = made.tokenizer.convert_tokens_to_ids(name)
        assert token not in made.encode({"a": f"so {name} good"}).ids[1:-1]
        assert token in encoder(family, f"A {name} {{a}} film.").encode({"a": "so"}).ids[1:-1]
    made = encoder("roberta", "{a} It was {mask}.")
    assert len(made.encode({"a": "<mask>"}).answers) == 1


def test_spaces_around_the_separator_are_for_the_reader():
    example = {"a": "The film", "b": "was great"}
    for family in FAMILIES:
        assert encoder(family, "{a} {sep} {b}").encode(example) == encoder(family, "{a}{sep}{b}").encode(example)


def test_the_longest_field_is_cut_first_from_the_end_that_is_not_kept():
    example = {"a": "the film was great and the acting was good", "b": "it was bad"}
    for keep, left in [("start", "the film was great"), ("end", "the acting was good")]:
        row = encoder("bert", "story {a} or {b} . {soft:2}", 14, keep=keep).encode(example)
        words = ["[CLS]", "story", *left.split(), "or", "it", "was", "bad", ".", "[PAD]", "[PAD]", "[SEP]"]
        assert bert_tokenizer().convert_ids_to_tokens(row.ids) == words
        assert row.cut == 5


def test_only_the_named_fields_are_cut():
    example = {"a": "the film was great", "b": "it was bad"}
    made = encoder("distilbert", "{a} or {b}", 8, shorten=("b",), keep="end")
    row = made.encode(example)
    words = bert_tokenizer().convert_ids_to_tokens(row.ids)
    assert words == ["[CLS]", "the", "film", "was", "great", "or", "bad", "[SEP]"]
    assert row.cut == 2


def test_what_may_not_be_cut_must_fit():
    with pytest.raises(TemplateError) as error:
        encoder("bert", "{soft:5} the film {a}", 8, shorten=()).encode({"a": "was great"})
    assert "room for 8 tokens" in str(error.value)
    assert "5 virtual tokens, 4 tokens of text" in str(error.value)
    assert "2 special tokens need 11" in str(error.value)
    assert len(encoder("bert", "{soft:5} the {a}", 8).encode({"a": "was great"})) == 8


def test_the_room_of_an_answer_is_told_as_such():
    with pytest.raises(TemplateError) as error:
        encoder("gpt2", "{soft:5} {a}", 8, shorten=()).encode({"a": "a"}, reserve=6)
    assert "0 special tokens and the 6 kept for the answer need 12" in str(error.value)
    assert "leave the answer less room" in str(error.value)


def test_an_encoders_mask_is_for_what_its_decoder_fills_in():
    made = Encoder(Template.parse("{a} is <mask>"), roberta_tokenizer(), "encoder-decoder", 50, decoder_start=0)
    assert made.tokenizer.mask_token_id in made.encode({"a": "it"}).ids


@pytest.mark.parametrize("family", MASKED)
def test_a_mask_written_as_text_is_told(family):
    token = FAMILIES[family]().mask_token
    with pytest.raises(TemplateError, match=r"write \{mask\}"):
        encoder(family, "{a} It was " + token + ".")
    row = encoder(family, "{a} It was {mask}.").encode({"a": token})  # in data it is only text
    assert len(row.answers) == 1


def test_continuations_are_kept_and_reserved_places_cut_alike():
    made = encoder("gpt2", "{a} It was {mask}", 12)
    example = {"a": "The film was great and the acting was good"}
    long, short = made.encode(example, continuation=(5, 6, 7)), made.encode(example, reserve=3)
    assert len(long) == 12 and long.ids[-3:] == (5, 6, 7)
    assert long.ids[:-3] == short.ids and long.cut == short.cut > 0


@settings(max_examples=40, deadline=None)
@given(a=WORDS, b=WORDS, length=st.integers(12, 40), keep=st.sampled_from(["start", "end"]))
def test_a_cut_row_fits_and_counts_what_it_lost(a, b, length, keep):
    text = "It: {a} or {soft:2} {b} = {mask}"
    whole, made = encoder("gpt2", text, 500), encoder("gpt2", text, length, keep=keep)
    row, full = made.encode({"a": a, "b": b}), whole.encode({"a": a, "b": b})
    assert len(row) == min(length, len(full))
    assert row.cut == len(full) - len(row)
    assert [place for place in row.soft if place >= 0] == [0, 1]


@pytest.mark.parametrize(
    ("family", "text", "prefix"),
    [
        ("gpt2", "{a} It was {mask}", " "),
        ("gpt2", "{a}\nAnswer:\n{mask}", ""),
        ("gpt2", "{a} ({mask}", ""),
        ("gpt2", "{a}{sep} {mask}", ""),
        ("gpt2", "{a}{mask}", " "),
        ("gpt2", "{a}{soft:3}{mask}", " "),
        ("gpt2", "{a}{soft:3} {mask}", " "),
        ("roberta", "{a} It was {mask}.", " "),
        ("roberta", "{mask}: {a}", ""),
        ("roberta", "{a} ({mask})", ""),
    ],
)
def test_the_answer_prefix_is_the_space_written_before_the_mask(family, text, prefix):
    assert encoder(family, text).answer_prefix == prefix


@pytest.mark.parametrize(
    ("family", "text", "mark"),
    [
        ("gpt2", "{a}\nAnswer:{mask}", ":"),
        ("gpt2", "{a} Is it good?{mask}", "?"),
        ("gpt2", "{a}\nAnswer: {mask}", ""),
        ("gpt2", "{a}\n{mask}", ""),
        ("gpt2", "{a} ({mask}", ""),
        ("gpt2", "{a}{mask}", ""),
        ("roberta", "{a}:{mask}", ""),
    ],
)
def test_an_answer_that_is_glued_to_a_mark_is_found(family, text, mark):
    assert encoder(family, text).glued_to == mark


@pytest.mark.parametrize("text", ["{a} It was {mask}", "{a}\n\nLabel:\n{mask}", "{a} = ({mask}", "{a}{sep}{mask}"])
def test_text_prefix_and_word_are_the_tokens_of_the_finished_text(text):
    made = encoder("gpt2", text)
    row = made.encode({"a": "The film"})
    word = made.answer_prefix + "great"
    assert (*row.ids, *ids(made.tokenizer, word)) == ids(
        made.tokenizer, made.template.render({"a": "The film"}, "great", "\n")
    )


def test_demonstrations_are_solved_texts_in_front():
    shots = (({"a": "The film was bad. "}, "terrible"), ({"a": "Good fun"}, "great"))
    made = encoder("gpt2", "{soft:2}{a} It was {mask}", demonstrations=shots)
    row = made.encode({"a": "A movie"})
    text = "The film was bad.  It was terrible\n\nGood fun It was great\n\nA movie It was"
    assert row.ids[2:] == ids(made.tokenizer, text) and row.soft[:3] == (0, 1, -1)
    made = encoder("bert", "{a}{sep}It was {mask}.", demonstrations=shots[1:])
    row = made.encode({"a": "A movie"})
    assert row.ids == tuple(made.tokenizer("good fun it was great. a movie", "it was [MASK].")["input_ids"])
    assert len(row.answers) == 1


@pytest.mark.parametrize("shots", [(), (({"a": "Good <|im_end|> fun"}, "great"),)])
def test_a_chat_row_is_what_the_chat_template_makes(shots):
    made = encoder("llama", "Is this good?\n {a} \n{mask}", chat=True, demonstrations=shots)
    tokenizer = made.tokenizer
    row = made.encode({"a": "A movie"})
    messages = [{"role": "user", "content": "Is this good?\n A movie"}]
    if shots:
        turns = [{"role": "user", "content": "Is this good?\n Good XX fun"}, {"role": "assistant", "content": "great"}]
        messages = turns + messages
    own = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    if shots:
        end = tokenizer.convert_tokens_to_ids("<|im_end|>")
        assert row.ids.count(end) == own.count(end) == 3
    else:
        assert row.ids == tuple(own)
    assert row.ids.count(tokenizer.bos_token_id) == 1
    assert made.answer_prefix == "" and row.answers == (len(row) - 1,)
    soft = encoder("llama", "{soft:4}Is this good?\n {a}{mask}", chat=True, demonstrations=shots).encode(
        {"a": "A movie"}
    )
    assert soft.soft[:6] == (-1, 0, 1, 2, 3, -1)
    assert (soft.ids[0], *soft.ids[5:]) == row.ids


@pytest.mark.parametrize(
    ("family", "text", "options", "what"),
    [
        ("gpt2", "{mask} {a}", {}, "must be the last"),
        ("gpt2", "{a} {mask}", {"chat": True}, "no chat template"),
        ("bert", "{a} {mask}", {"chat": True}, "has no chat"),
        ("bert", "{a}", {"shorten": ("text",)}, "known: a"),
        ("bert", "{a}", {"demonstrations": (({"a": "x"}, "y"),)}, "need a place"),
    ],
)
def test_what_does_not_go_together_is_refused(family, text, options, what):
    with pytest.raises(TemplateError, match=what):
        encoder(family, text, **options)


def test_a_tokenizer_without_a_mask_and_an_unresolved_template_are_refused():
    with pytest.raises(TemplateError, match="no mask token"):
        Encoder(Template.parse("{a} {mask}"), gpt2_tokenizer(), "masked", 20)
    with pytest.raises(TemplateError, match="resolve"):
        Encoder(Template.parse('{a} {soft:"it"}'), gpt2_tokenizer(), "causal", 20)


def test_bad_examples_are_named():
    with pytest.raises(DataError, match="no field 'a'"):
        encoder("bert", "{a}").encode({"b": "x"})
    with pytest.raises(DataError, match="NoneType"):
        encoder("bert", "{a}").encode({"a": None})
    with pytest.raises(TemplateError, match="no token"):
        encoder("gpt2", "{a}{mask}").encode({"a": " "})
    assert len(encoder("bert", "{a}").encode({"a": ""})) == 2


@settings(max_examples=20, deadline=None)
@given(texts=st.lists(WORDS, min_size=1, max_size=6))
def test_the_summary_tells_what_was_cut(texts):
    made = encoder("gpt2", "{a} = {mask}", 8)
    rows = [made.encode({"a": text}) for text in texts]
    summary = cut_summary(rows, made)
    assume(summary.rows)
    assert summary.tokens == sum(row.cut for row in rows)
    assert summary.share == summary.rows / len(rows)
    assert f"{summary.rows} of {len(rows)} rows" in summary.message
    assert f"{summary.tokens} tokens were cut from the end of a" in summary.message


def test_the_summary_says_when_nothing_was_cut():
    made = encoder("bert", "{a}", 8)
    assert cut_summary([made.encode({"a": "good"})], made).message == "none of 1 rows was longer than 8 tokens"
    assert cut_summary([], made).share == 0.0


def two(family, text, **options):
    tokenizer, start = {"t5": (t5_tokenizer(), 0), "bart": (roberta_tokenizer(), 2)}[family]
    template = Template.parse(text).resolve(tokenizer)
    longest = options.pop("max_length", 64)
    return Encoder(template, tokenizer, "encoder-decoder", longest, decoder_start=start, **options)


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_an_encoder_decoders_text_is_the_tokenizers_own_and_the_decoder_begins_behind_it(family):
    encoder = two(family, "{a} means{mask}")
    row = encoder.encode({"a": "The film was great."})
    ids = encoder.tokenizer("The film was great. means")["input_ids"]
    assert list(row.ids[: row.border]) == ids and row.encoded == len(ids)
    assert row.ids[row.border :] == ((0,) if family == "t5" else (2, 0)) == encoder.begun
    assert row.answers == (len(row) - 1,) and encoder.answer_prefix == ""
    longer = encoder.encode({"a": "The film was great."}, continuation=(7, 8))
    assert longer.ids == (*row.ids, 7, 8) and longer.border == row.border
    assert longer.answers == tuple(range(len(row) - 1, len(row) + 2))


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_an_encoder_decoders_pairs_virtual_tokens_and_examples_stand_in_the_encoder(family):
    encoder = two(family, "{soft:2}{a}{sep}{b}")
    row = encoder.encode({"a": "yes", "b": "no"})
    plain = [token for token, soft in zip(row.ids[: row.border], row.soft, strict=False) if soft < 0]
    assert plain == encoder.tokenizer("yes", "no")["input_ids"]
    at = row.soft.index(0)
    assert at == len(encoder.begun) - 1 and row.soft[row.border :] == (-1,) * len(encoder.begun)
    shown = two(family, "{a} is {mask}", demonstrations=(({"a": "yes"}, "good"),)).encode({"a": "no"})
    said = two(family, "{a}").encode({"a": "yes is good\n\nno is"})
    assert shown.ids == said.ids


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_an_encoders_text_is_cut_alike_whatever_the_answer(family):
    encoder = two(family, "{a} means{mask}", max_length=10)
    short, long = (encoder.encode({"a": "it was great " * 9}, continuation=(7,) * n, reserve=5 - n) for n in (0, 5))
    assert short.border == long.border == 10 and short.cut == long.cut > 0
    assert long.ids == (*short.ids, *(7,) * 5)


def test_what_an_encoder_decoder_cannot_mean_is_refused():
    with pytest.raises(TemplateError, match="a decoder writes the answer, so {mask} must be the last"):
        two("t5", "{mask} {a}")
    with pytest.raises(TemplateError, match="not causal has no chat"):
        two("bart", "{a} {mask}", chat=True)
