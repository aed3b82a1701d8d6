"""Generation with the real chat model, where it has been pulled."""

import pytest
import torch

from foreword import store
from foreword.bank import Bank
from foreword.batch import Item
from foreword.generation import GenerationOptions, generate
from foreword.injections import Injection, KeyValues
from foreword.text.encoder import Encoder
from foreword.text.template import Template

NAME = "smollm2-135m-instruct"
pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.fixture(scope="module")
def backbone():
    if not store.is_pulled(NAME):
        pytest.skip(f"{NAME} is not in the cache; run `foreword models pull {NAME}`")
    from foreword.backbone.loading import load

    return load(NAME)


def items(backbone, owner=None):
    encoder = Encoder(Template.parse("{question}"), backbone.tokenizer, "causal", 200, chat=True)
    questions = ("What is the capital of France?", "Name three colours, please, and nothing else.")
    return [Item((encoder.encode({"question": question}),), owner) for question in questions]


@pytest.mark.parametrize("beams", [1, 4])
def test_chat_answers_equal_transformers(backbone, beams):
    found = generate(Bank(backbone), items(backbone), GenerationOptions(max_new_tokens=20, num_beams=beams))
    assert "Paris" in found[0][0].text
    for item, (ours,) in zip(items(backbone), found, strict=True):
        ids = torch.tensor([item.rows[0].ids])
        made = backbone.model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, num_beams=beams, max_new_tokens=20,
            eos_token_id=backbone.tokenizer.eos_token_id, pad_token_id=backbone.tokenizer.pad_token_id,
        )  # fmt: skip
        assert made[0, ids.shape[1] :].tolist() == list(ours.ids)


@torch.no_grad()
def test_the_chats_beginning_as_key_values_gives_the_same_answer(backbone):
    """Hard text in front, compiled to key/values at its own positions, generates what the whole text does."""
    bank = Bank(backbone)
    whole = items(backbone)[0].rows[0]
    cut = 12
    table = backbone.key_values(backbone.embed(torch.tensor(whole.ids[:cut])))
    layers = tuple(range(backbone.geometry.layers))
    bank.put("start", Injection(key_values=KeyValues(layers, table), position_offset=cut))
    rest = type(whole)(whole.ids[cut:], whole.soft[cut:], whole.types[cut:], None, (len(whole) - cut - 1,))
    options = GenerationOptions(max_new_tokens=12)
    mixed = generate(bank, [Item((rest,), "start"), *items(backbone)], options)
    assert mixed[0][0].ids == mixed[1][0].ids and "Paris" in mixed[0][0].text
