from __future__ import annotations

import math
import zlib
from itertools import permutations

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.errors import ConfigError
from foreword.stories.diversity import corpus, kernels, likeness, measures, overlap, surface

LENGTH = 24
LETTERS = "bcdfghklmnprst"


def words_of(story: int, count: int = LENGTH) -> list[str]:
    """Words that no other story has, in sentences of six."""
    return [f"{LETTERS[story]}a{LETTERS[i % 6]}o{LETTERS[i // 6]}" for i in range(count)]


def text_of(words: list[str]) -> str:
    sentences = [" ".join(words[i : i + 6]).capitalize() + "." for i in range(0, len(words), 6)]
    return " ".join(sentences)


def sample_of(texts: list[str]) -> corpus.Sample:
    return corpus.sample(texts, LENGTH)


def disjoint(count: int) -> list[str]:
    return [text_of(words_of(i)) for i in range(count)]


def entropy(*shares: float) -> float:
    return math.exp(-sum(p * math.log(p) for p in shares))


def test_vendi_by_hand():
    alike = np.array([[1.0, 0.6], [0.6, 1.0]])
    assert likeness.vendi(alike) == pytest.approx(entropy(0.8, 0.2))
    blocks = np.kron(np.eye(2), np.ones((3, 3)))
    assert likeness.vendi(blocks) == pytest.approx(2)
    assert likeness.vendi(np.kron(blocks, np.ones((2, 2)))) == pytest.approx(2), (
        "all stories twice are no other stories"
    )
    assert likeness.mean_likeness(np.array([[1, 0.2, 0.4], [0.2, 1, 0.6], [0.4, 0.6, 1]])) == pytest.approx(0.4)


def test_the_ngram_kernel_by_hand():
    one, other = "the fox ran home".split(), "the fox sat down".split()
    found = kernels.ngram_kernel([one, other])
    assert found[0, 1] == pytest.approx((2 / 4 + 1 / 3 + 0 + 0) / 4)
    assert np.allclose(np.diag(found), 1)


@pytest.mark.parametrize("count", [2, 5, 8])
def test_equal_stories_are_one_and_disjoint_ones_are_all(count):
    same, other = sample_of([disjoint(1)[0]] * count), sample_of(disjoint(count))
    assert measures.get("vendi_words").value(same) == pytest.approx(1, abs=1e-6)
    assert measures.get("vendi_words").value(other) == pytest.approx(count)
    assert (measures.get("groups").value(same), measures.get("groups").value(other)) == (1, count)
    assert measures.get("self_bleu").value(same) == pytest.approx(100)
    assert measures.get("self_bleu").value(other) == 0
    assert measures.get("repetition_across").value(same) == 1
    assert measures.get("repetition_across").value(other) == 0
    assert measures.get("distinct_2").value(same) == pytest.approx(1 / count)
    assert measures.get("distinct_2").value(other) == 1
    assert measures.get("top_opening").value(same) == 1
    assert measures.get("top_opening").value(other) == pytest.approx(1 / count)
    assert measures.get("compression_ratio").value(same) > measures.get("compression_ratio").value(other)


def test_self_bleu_by_hand():
    one, other = "a b c d e".split(), "a b c d f".split()
    assert overlap.self_bleu([one, other]) == pytest.approx(100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)


def test_self_bleu_is_sacrebleus():
    metric = sacrebleu.metrics.BLEU(effective_order=True, tokenize="none")
    chance = np.random.default_rng(0)
    words = [chance.choice(list("abcdefgh"), size=size).tolist() for size in (30, 30, 30, 12)]
    texts = [" ".join(one) for one in words]
    expected = [metric.sentence_score(one, [*texts[:i], *texts[i + 1 :]]).score for i, one in enumerate(texts)]
    assert overlap.self_bleu(words) == pytest.approx(np.mean(expected))


def test_repetition_and_distinct_by_hand():
    first, second = list("abcdeabcd"), list("abcdxyzuv")
    # 4-grams of the first: abcd bcde cdea deab eabc abcd; of the second: abcd bcdx cdxy dxyz xyzu yzuv
    assert overlap.repetition_across([first, second]) == pytest.approx((2 / 6 + 1 / 6) / 2)
    assert overlap.repetition_inside([first, second]) == pytest.approx((1 / 6 + 0) / 2)
    assert overlap.distinct([first, second], 1) == pytest.approx(10 / 18)
    assert overlap.distinct([["a"]], 2) == 1


def test_compression_is_zlib_once():
    texts = ["one fox ran", "a fox ran home"]
    plain = b"a fox ran home\none fox ran"
    assert overlap.compression_ratio(texts) == pytest.approx(len(plain) / len(zlib.compress(plain, 9)))


def test_openings_and_names():
    texts = ["Once upon a time there was Lily. She saw Tom.", "Once upon a hill sat a fox. It met Lily there."]
    split = [text.lower().split() for text in texts]
    assert surface.openings(split) == [("once upon a", 2)]
    assert surface.named(texts) == [("lily", 2), ("tom", 1)]
    assert surface.named(["no names here at all."]) == []


def test_groups_join_what_is_like_one_of_them():
    halves = np.array([[0.8, 0.8, 0.1, 0.0], [0.8, 0.8, 0.9, 0.0], [0.1, 0.9, 0.8, 0.0], [0.0, 0.0, 0.0, 0.8]])
    assert likeness.groups(halves) == [[0, 1, 2], [3]]
    assert likeness.groups(np.zeros((3, 3))) == [[0], [1], [2]], "stories without any coherence are like nothing"


def test_groups_of_changed_copies():
    changed = [words_of(0), words_of(0), words_of(1)]
    changed[1][3] = "other"
    assert likeness.groups(sample_of([text_of(one) for one in changed]).halves["words"]) == [[0, 1], [2]]


WORDS = st.sampled_from([f"{a}a{b}" for a in LETTERS[:4] for b in LETTERS[:3]])
STORIES = st.lists(st.lists(WORDS, min_size=LENGTH, max_size=LENGTH), min_size=2, max_size=4)


@settings(max_examples=10, deadline=None)
@given(STORIES, st.randoms(use_true_random=False))
def test_the_order_does_not_matter(stories, chance):
    texts = [text_of(one) for one in stories]
    mixed = chance.sample(texts, len(texts))
    one, other = sample_of(texts), sample_of(mixed)
    for measure in measures.for_sample(one):
        assert measure.value(other) == pytest.approx(measure.value(one), abs=1e-6), measure.name


@settings(max_examples=10, deadline=None)
@given(STORIES)
def test_every_measure_keeps_its_bounds(stories):
    found = sample_of([text_of(one) for one in stories])
    for measure in measures.for_sample(found):
        low, high = measure.bounds(len(found))
        assert low - 1e-9 <= measure.value(found) <= high + 1e-6, measure.name


@settings(max_examples=10, deadline=None)
@given(STORIES, st.data())
def test_a_copy_never_makes_more_variety(stories, data):
    """Of what counts words and groups. Not of Vendi: see below."""
    texts = [text_of(one) for one in stories]
    copied = data.draw(st.sampled_from(texts))
    before, after = sample_of(texts), sample_of([*texts, copied])
    for name in ("distinct_1", "distinct_2", "distinct_3"):
        assert measures.get(name).value(after) <= measures.get(name).value(before) + 1e-9, name
    for name in ("self_bleu", "repetition_across"):
        assert measures.get(name).value(after) >= measures.get(name).value(before) - 1e-6, name
    assert measures.get("groups").value(after) <= measures.get("groups").value(before)


@settings(max_examples=10, deadline=None)
@given(STORIES, st.integers(2, 3))
def test_all_stories_again_are_no_more_by_vendi(stories, times):
    texts = [text_of(one) for one in stories]
    once, again = (likeness.vendi(sample_of(some).kernels["words"]) for some in (texts, texts * times))
    assert again == pytest.approx(once, abs=1e-6)


def test_a_copy_in_the_place_of_a_different_story_lowers_vendi_and_a_rare_one_more_can_raise_it():
    texts = disjoint(4)
    replaced = likeness.vendi(sample_of([*texts[:3], texts[0]]).kernels["words"])
    assert replaced == pytest.approx(entropy(1 / 2, 1 / 4, 1 / 4))
    uneven, evener = [texts[0]] * 3 + [texts[1]], [texts[0]] * 3 + [texts[1]] * 2
    values = [likeness.vendi(sample_of(some).kernels["words"]) for some in (uneven, evener)]
    assert values == pytest.approx([entropy(3 / 4, 1 / 4), entropy(3 / 5, 2 / 5)])
    assert values[1] > values[0], "it is the balance that Vendi counts"


def test_every_measure_says_where_it_is_from_and_where_it_misleads():
    names = [one.name for one in measures.MEASURES]
    assert len(set(names)) == len(names)
    for one in measures.MEASURES:
        assert any(letter.isdigit() for letter in one.source) or "above" in one.source, one.name
        assert len(one.defect) > 20, one.name
        low, high = one.bounds(5)
        assert low < high


def test_an_unknown_measure_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'vendi'"):
        measures.get("vend")


def test_small_orders_of_a_sample_are_seen_alike():
    found = sample_of([*disjoint(2), disjoint(1)[0]])
    taken = {tuple(order): likeness.vendi(found.take(order).kernels["words"]) for order in permutations(range(3))}
    assert max(taken.values()) == pytest.approx(min(taken.values()))
    assert found.take([0, 2]).texts == (found.texts[0],) * 2
