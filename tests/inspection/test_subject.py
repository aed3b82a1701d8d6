from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.artifacts.rewriting import fewer, slots_of
from foreword.errors import Unsupported
from foreword.inspection.ablation import token_variants
from foreword.inspection.subject import dropping_tokens, thinned, without_tokens
from support.forewords import ROWS, short_words
from support.inspected import TOKENS, subject

SOFT = ("prompt-vocabulary", "prompt-middle", "prompt-after", "prompt-both")
LOADED = {}


def loaded(family: str, method: str):
    key = (family, method)
    if key not in LOADED:
        LOADED[key] = subject(family, method, readout=None if family == "bert" else "last")
    return LOADED[key]


@pytest.mark.parametrize("family", ["bert", "gpt2"])
@pytest.mark.parametrize("method", SOFT)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_a_thinned_row_is_what_a_template_with_fewer_virtual_tokens_gives(family, method, data):
    one = loaded(family, method)
    encoder = one.foreword.reader.encoder
    slots = slots_of(encoder.template)
    kept = sorted(
        i for slot in slots for i in data.draw(st.sets(st.sampled_from(list(slot)), min_size=1, max_size=len(slot)))
    )
    smaller = replace(encoder, template=fewer(encoder.template, kept))
    for example in ROWS[:3]:
        assert thinned(encoder.encode(example), kept) == smaller.encode(example)


def test_an_answer_read_at_a_virtual_token_is_read_before_it_once_that_is_gone():
    words = {"name": "verbalizer", "words": short_words("gpt2")}
    one = subject("gpt2", "prompt-middle", readout=words, template="{text} It was {soft:2}{mask}", rows=ROWS[:1])
    row = one.items[0].rows[0]
    assert row.answers == (len(row) - 1,) and row.soft[-1] == 1
    gone = thinned(row, ())
    assert gone.answers == (len(gone) - 1,) and len(gone) == len(row) - 2


def test_key_values_lose_the_token_in_every_layer_and_keep_their_offset():
    one = subject("gpt2", "v2-text", readout="last")
    fewer_tokens = without_tokens(one.injection, {0, 2})
    assert fewer_tokens.position_offset == one.injection.position_offset > 0
    kept = [i for i in range(one.length) if i not in (0, 2)]
    assert torch.equal(fewer_tokens.key_values.tensor, one.injection.key_values.tensor[:, :, :, kept])


def test_key_values_are_numbered_behind_the_tokens_among_the_words():
    one = subject("bert", TOKENS)
    soft, table = one.injection.soft.vectors, one.injection.key_values.tensor
    assert (one.soft, one.length) == (len(soft), len(soft) + table.shape[3])
    left = dropping_tokens(one, {0, one.soft, one.length - 1}, "some")
    assert torch.equal(left.injection.soft.vectors, soft[1:])
    assert torch.equal(left.injection.key_values.tensor, table[:, :, :, 1:-1])
    assert left.tokens == tuple(range(1, one.soft))
    assert len(token_variants(one)) == one.length


def test_what_it_was_before_training_is_made_again_from_its_settings():
    for method in ("prompt-vocabulary", "p-tuning-lstm", "v2-random", "lora"):
        one = subject("bert", method, stirred=False)
        for name, tensor in one.initial.tensors().items():
            assert torch.equal(tensor, one.injection.tensors()[name]), (method, name)


def test_a_run_that_gives_other_shapes_is_told():
    one = subject("bert", "prompt-vocabulary")
    one.foreword.manifest.run["method"]["num_virtual_tokens"] = 7
    with pytest.raises(Unsupported, match="other shapes"):
        _ = one.initial


@pytest.mark.parametrize("method", ["linear-probe"])
def test_there_is_nothing_to_look_into_where_nothing_is_added(method):
    with pytest.raises(Unsupported, match="adds nothing"):
        subject("bert", method)


def test_what_an_imported_one_was_before_is_not_known():
    one = subject("bert", "prompt-vocabulary")
    one.foreword.manifest.run["data"]["source"] = "peft:mine"
    with pytest.raises(Unsupported, match="imported"):
        _ = one.initial
