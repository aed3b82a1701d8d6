from __future__ import annotations

import pytest
import torch

from foreword.inspection.vocabulary import MEASURES, Vocabulary, entries, spelled, whole_ids
from foreword.inspection.words import draws_for, read_words
from support.backbones import shared


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2", "llama"])
def test_whole_words_are_what_the_tokenizer_makes_of_a_word(family):
    backbone = shared(family)
    vocabulary = Vocabulary.of(backbone)
    assert "great" in vocabulary.words and len(vocabulary.ids) > 20
    assert all(word.isalpha() for word in vocabulary.words)
    for token, word in zip(vocabulary.ids[:20], vocabulary.words[:20], strict=True):
        assert backbone.tokenizer(f"a {word}", add_special_tokens=False)["input_ids"][-1] == token
    assert len(Vocabulary.of(backbone, whole=False).ids) > len(vocabulary.ids)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_a_prompt_made_of_known_words_is_read_back_as_those_words(family):
    backbone = shared(family)
    vocabulary = Vocabulary.of(backbone)
    planted = ["great", "battery", "story", "good"]
    planted = [word for word in planted if word in vocabulary.words]
    ids = [vocabulary.ids[vocabulary.words.index(word)] for word in planted]
    readings = read_words(backbone.embedding.weight.detach()[ids], vocabulary)
    assert [one.word for one in readings] == planted
    assert [one.nearest["euclidean"][0].word for one in readings] == planted
    assert all(one.is_near for one in readings)
    assert all(one.nearest["cosine"][0].value == pytest.approx(1, abs=1e-5) for one in readings)
    assert all(one.nearest["euclidean"][0].value == pytest.approx(0, abs=1e-2) for one in readings)


def test_random_vectors_are_no_nearer_than_chance():
    vocabulary = Vocabulary.of(shared("bert"))
    found = 0
    for seed in range(40):
        vectors = vocabulary.random(3, seed=1000 + seed) * (1 + seed % 5)
        found += any(one.is_near for one in read_words(vectors, vocabulary, seed=seed))
    assert found <= 6, "5% of families hold a false yes; more than 6 of 40 has a probability of 0.3%"


def test_how_near_random_directions_are_is_what_similarities_say():
    vocabulary = Vocabulary.of(shared("bert"))
    drawn, lengths = vocabulary.random(7), torch.tensor([0.5, 3.0])
    found = vocabulary.nearest_of_random(drawn, lengths)
    for measure in MEASURES:
        for i, length in enumerate(lengths):
            at_length = torch.nn.functional.normalize(drawn, dim=1) * length
            expected = vocabulary.similarities(at_length, measure).amax(1)
            torch.testing.assert_close(found[measure][i], expected, atol=1e-4, rtol=1e-4)


def test_random_vectors_have_the_words_mean_and_covariance():
    vocabulary = Vocabulary.of(shared("bert"))
    drawn = vocabulary.random(60_000)
    torch.testing.assert_close(drawn.mean(0), vocabulary.table.mean(0), atol=0.01, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), vocabulary.table.T.cov(), atol=0.01, rtol=0)


def test_what_a_token_was_before_is_told():
    backbone = shared("bert")
    vocabulary = Vocabulary.of(backbone)
    start = vocabulary.table[:2]
    begun = start, entries(backbone, start)
    readings = read_words(torch.stack([start[0] * 2, -start[1]]), vocabulary, begun)
    assert [one.start for one in readings] == list(vocabulary.words[:2])
    assert [one.moved for one in readings] == pytest.approx([1, -1], abs=1e-5)


def test_a_part_of_a_word_is_told_as_what_it_is_and_what_is_no_entry_as_none():
    backbone = shared("bert")
    table = backbone.embedding.weight.detach()
    part = next(i for i in range(len(table)) if i not in set(whole_ids(backbone)))
    found = entries(backbone, torch.stack([3 * table[part], table[4] + table[5]]))
    assert found == [spelled(backbone, [part])[0], None]


def test_there_are_draws_enough_for_a_long_prompt():
    for tokens in (1, 20, 100):
        assert tokens / (draws_for(tokens) + 1) < 0.05
