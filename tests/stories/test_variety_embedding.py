from __future__ import annotations

import numpy as np
import pytest
import torch

from foreword.bank import Bank
from foreword.batch import Item, collate
from foreword.errors import Unsupported
from foreword.stories.diversity import embedding
from foreword.text.rows import as_row
from support.backbones import shared

TEXTS = ["The film was great.", "good", "A boring and awful movie, it was not worth the money"]


def test_a_text_is_the_mean_of_its_states_whatever_stands_beside_it():
    backbone = shared("bert")
    found = embedding.embed(backbone, TEXTS)
    assert found.shape == (3, 32)
    assert np.allclose(np.linalg.norm(found, axis=1), 1)
    for text, vector in zip(TEXTS, found, strict=True):
        ids = backbone.tokenizer(text)["input_ids"]
        with torch.no_grad():
            states = Bank(backbone).hidden(collate([Item((as_row(ids),))], backbone.pad_id))[0].mean(0).double().numpy()
        assert np.allclose(vector, states / np.linalg.norm(states), atol=1e-5)


def test_a_long_text_is_read_in_windows(monkeypatch):
    backbone, told, text = shared("bert"), list[int](), "good cat good cat happy dog"
    monkeypatch.setattr(embedding, "WINDOW", 7)
    [found] = embedding.embed(backbone, [text], told.append)
    first, *ids, last = backbone.tokenizer(text)["input_ids"]
    windows = [[first, *ids[i : i + 5], last] for i in range(0, len(ids), 5)]
    assert len(windows) == sum(told) > 1
    with torch.no_grad():
        states = [Bank(backbone).hidden(collate([Item((as_row(one),))], backbone.pad_id))[0] for one in windows]
    total = torch.cat(states).double().sum(0).numpy()
    assert np.allclose(found, total / np.linalg.norm(total), atol=1e-5), "each window counts by its length"


def test_an_empty_text_has_a_vector_too():
    assert np.isfinite(embedding.embed(shared("bert"), ["", "good"])).all()


def test_a_model_that_writes_does_not_embed():
    with pytest.raises(Unsupported, match="is no encoder"):
        embedding.embedder(shared("gpt2"))
    assert embedding.embedder(shared("bert"))(["good"]).shape == (1, 32)
