from __future__ import annotations

import numpy as np
import pytest

from foreword.errors import DataError
from foreword.stories.diversity import corpus
from foreword.stories.language import Prose


def story(words: int, start: str = "word") -> str:
    return " ".join([f"{start}{i}" for i in range(words)]) + "."


def test_the_shortest_story_decides_unless_it_is_far_too_short():
    assert corpus.common_length([story(60), story(50), story(40)]) == 40
    assert corpus.common_length([story(60), story(50), story(24)]) == 50, "24 is less than half of the median"
    assert corpus.common_length([story(60), story(50)], wanted=30) == 30


@pytest.mark.parametrize(
    ("texts", "wanted", "message"),
    [
        ([story(60), " … "], None, "story 2 has no words"),
        ([story(60), story(10), story(12)], None, "12 words of each story are too few|10 words of each"),
        ([story(60), story(50)], 5, "5 words of each story are too few"),
    ],
)
def test_what_cannot_be_compared_is_told(texts, wanted, message):
    with pytest.raises(DataError, match=message):
        corpus.common_length(texts, wanted)


def test_cut_keeps_the_text_as_it_was_written():
    assert corpus.cut("“One,” said two. Three!", 2) == "“One,” said"
    assert corpus.cut("One two.", 5) == "One two."
    assert corpus.long_enough("One two.", 2) and not corpus.long_enough("One two.", 3)


def test_all_stories_have_as_many_words():
    found = corpus.sample([story(40), story(33, "other")], 30)
    assert [len(Prose(text).words) for text in found.texts] == [30, 30]
    assert [len(words) for words in found.words] == [30, 30]
    assert found.best_kernel == "words"
    with pytest.raises(DataError, match="story 2 has 33 words"):
        corpus.sample([story(40), story(33)], 35)


def test_halves_are_every_other_sentence():
    texts = ["Aa bb. Cc dd. Ee ff. Gg hh.", "Aa bb. Cc dd. Ee ff. Gg hh."]
    seen: list[list[str]] = []

    def embed(given):
        seen.append(list(given))
        return np.eye(len(given))

    found = corpus.sample(texts, 8, embed)
    [given] = seen
    assert given[:2] == texts
    assert given[2:] == ["Aa bb. Ee ff."] * 2 + ["Cc dd. Gg hh."] * 2
    assert found.best_kernel == "meaning"
    assert np.array_equal(found.kernels["meaning"], np.eye(2))
    assert np.array_equal(found.halves["meaning"], np.zeros((2, 2)))
    assert found.halves["words"][0, 1] == pytest.approx(0.5), "one half is the other's, and one has none of it"


def test_a_single_sentence_is_cut_in_the_middle():
    seen: list[str] = []

    def embed(given):
        seen.extend(given)
        return np.eye(len(given))

    corpus.sample(["aa bb cc dd", "ee ff gg hh"], 4, embed)
    assert seen[2:] == ["aa bb ", "ee ff ", "cc dd", "gg hh"]
