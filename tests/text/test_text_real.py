"""The encoder's laws on the tokenizers of the real models, where they have been pulled."""

from pathlib import Path

import platformdirs
import pytest

from foreword.text.encoder import Encoder
from foreword.text.template import Template
from foreword.text.verbalizer import Verbalizer

pytestmark = pytest.mark.real
A, B = "The battery lasts, honestly, 3 days — wow!", "I don't recommend it… at all (really)."


def load(name: str):
    folder = Path(platformdirs.user_cache_dir("foreword")) / "models" / name
    if not (folder / "tokenizer.json").is_file():
        pytest.skip(f"{name} is not in the cache; run `foreword models pull {name}`")
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def test_minilm_pairs_masks_and_words():
    tokenizer = load("minilm-l6")
    row = Encoder(Template.parse("{a}{sep}{b}"), tokenizer, "masked", 64).encode({"a": A, "b": B})
    own = tokenizer(A, B)
    assert row.ids == tuple(own["input_ids"]) and row.types == tuple(own["token_type_ids"]) and row.cls == 0
    encoder = Encoder(Template.parse("{a} It was {mask}.").in_front(4), tokenizer, "masked", 64)
    row = encoder.encode({"a": A})
    assert row.soft[:6] == (-1, 0, 1, 2, 3, -1) and row.ids[row.answers[0]] == tokenizer.mask_token_id
    assert Verbalizer.build({"p": ["great"], "n": ["terrible"]}, ["p", "n"], tokenizer, " ").single


def test_smollm2_text_chat_and_words():
    tokenizer = load("smollm2-135m-instruct")
    text = "Review: {a} {b}\nSentiment: {mask}"
    encoder = Encoder(Template.parse(text), tokenizer, "causal", 200)
    row = encoder.encode({"a": A, "b": B})
    assert row.ids == tuple(tokenizer(f"Review: {A} {B}\nSentiment:")["input_ids"])
    made = Verbalizer.build({"p": ["positive"], "n": ["negative"]}, ["p", "n"], tokenizer, encoder.answer_prefix)
    assert made.single
    whole = tokenizer(f"Review: {A} {B}\nSentiment: positive")["input_ids"]
    assert (*row.ids, *made.words[0][0]) == tuple(whole)
    chat = Encoder(Template.parse(text), tokenizer, "causal", 300, chat=True)
    message = {"role": "user", "content": f"Review: {A} {B}\nSentiment:"}
    own = tokenizer.apply_chat_template([message], add_generation_prompt=True)["input_ids"]
    assert chat.encode({"a": A, "b": B}).ids == tuple(own)
