"""Ends of rows: end tokens, stop strings, the number of tokens."""

import pytest

from foreword.generation import GenerationOptions
from foreword.generation.stopping import Stopping
from support.tokenizers import gpt2_tokenizer


def stopping(**fields):
    return Stopping(gpt2_tokenizer(), GenerationOptions(**fields))


def ids_of(text):
    return gpt2_tokenizer()(text)["input_ids"]


def first_end(rule, ids):
    """How many tokens are taken until the rule ends the row, and why."""
    return next((count, reason) for count in range(1, len(ids) + 1) if (reason := rule.reason(ids[:count])))


def test_the_tokenizers_end_token_ends_and_is_not_in_the_text():
    end = gpt2_tokenizer().eos_token_id
    ids = [*ids_of("It was great"), end]
    rule = stopping()
    assert first_end(rule, ids) == (len(ids), "eos")
    made = rule.finish(ids, -1.5, "eos")
    assert (made.text, made.ids, made.log_probability, made.finished) == ("It was great", tuple(ids), -1.5, "eos")


def test_chosen_end_tokens_replace_the_tokenizers():
    end = gpt2_tokenizer().eos_token_id
    other = ids_of(".")[0]
    rule = stopping(eos_token_ids=(other,))
    assert rule.reason([end]) is None and rule.reason([5, other]) == "eos"
    assert stopping(eos_token_ids=()).reason([end]) is None


def test_the_length_ends():
    rule = stopping(max_new_tokens=3)
    assert [rule.reason([9] * count) for count in (1, 2, 3)] == [None, None, "length"]


@pytest.mark.parametrize(
    ("text", "stops", "expected"),
    [
        ("Answer: yes\nText: no", ("\n",), "Answer: yes"),
        ("Answer: yes. Text: no.", ("Text", "."), "Answer: yes"),
        ("The film was great", ("wa", "film"), "The "),
        ("great", ("reat",), "g"),
    ],
)
def test_text_is_cut_before_the_first_stop_string(text, stops, expected):
    """Stop strings may begin and end inside tokens, and run over several."""
    ids = ids_of(text)
    rule = stopping(stop_strings=stops)
    count, reason = first_end(rule, ids)
    assert reason == "stop"
    made = rule.finish(ids[:count], 0.0, reason)
    assert made.text == expected and made.ids == tuple(ids[:count])
    assert all(stop not in gpt2_tokenizer().decode(ids[: count - 1]) for stop in stops)


def test_a_stop_string_that_names_a_special_token_is_that_token():
    """It is left out of what is decoded, so a search in the text would never find it."""
    tokenizer = gpt2_tokenizer()
    name = next(token for token in tokenizer.all_special_tokens)
    number = tokenizer.convert_tokens_to_ids(name)
    rule = stopping(stop_strings=(name, "zzz"), eos_token_ids=())
    ids = [*ids_of("The film"), number, *ids_of("was")]
    count, reason = first_end(rule, ids)
    assert (ids[count - 1], reason) == (number, "stop")
    assert rule.finish(ids[:count], 0.0, reason).text == "The film"


def test_an_end_token_that_completes_no_stop_string():
    rule = stopping(stop_strings=("zzz",), max_new_tokens=4)
    assert first_end(rule, ids_of("The film was great and good")) == (4, "length")
    assert rule.finish(ids_of("The film"), 0.0, "length").text == "The film"


def test_of_several_stop_strings_in_a_text_the_first_place_counts():
    rule = stopping(stop_strings=("story", "film", "bad"))
    assert rule.finish(ids_of("The film and the story: bad"), 0.0, "stop").text == "The "
