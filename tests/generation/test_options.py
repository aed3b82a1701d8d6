"""Generation options: what is refused, and how it is said."""

import pytest

from foreword.config import build, dump
from foreword.errors import ConfigError
from foreword.generation import GenerationOptions


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"do_sample": True, "num_beams": 2}, "exclude each other"),
        ({"temperature": 0.5}, "temperature has no effect without sampling"),
        ({"top_k": 5}, "top_k has no effect"),
        ({"top_p": 0.5}, "top_p has no effect"),
        ({"length_penalty": 0.5}, "length_penalty has no effect"),
        ({"num_beams": 2, "num_return_sequences": 3}, "num_return_sequences=3 of num_beams=2"),
        ({"num_return_sequences": 2}, "greedy search finds one"),
        ({"stop_strings": ("a", "")}, "empty stop string"),
    ],
)
def test_combinations_that_are_refused(fields, words):
    with pytest.raises(ConfigError, match=words):
        GenerationOptions(**fields)
    with pytest.raises(ConfigError, match=words):
        build(GenerationOptions, fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"max_new_tokens": 0},
        {"num_beams": 0},
        {"do_sample": True, "temperature": 0.0},
        {"do_sample": True, "top_p": 1.5},
        {"do_sample": True, "top_k": 0},
        {"seed": -1},
        {"max_tokens": 5},
        {"length_penalty": float("nan"), "num_beams": 2},
    ],
)
def test_values_that_are_refused(fields):
    with pytest.raises(ConfigError) as error:
        build(GenerationOptions, fields)
    assert next(name for name in fields if name not in ("do_sample", "num_beams") or len(fields) == 1) in str(
        error.value
    )


def test_options_that_go_together():
    sampled = GenerationOptions(do_sample=True, temperature=0.7, top_k=10, top_p=0.9, num_return_sequences=3)
    beams = GenerationOptions(num_beams=4, num_return_sequences=4, length_penalty=-1)
    assert sampled.num_return_sequences == 3 and beams.length_penalty == -1
    assert "top_p: 0.9" in dump(sampled)
    with pytest.raises(ValueError, match="frozen"):
        sampled.seed = 1
