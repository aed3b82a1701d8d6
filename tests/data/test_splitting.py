from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.config import SplitConfig
from foreword.data.dataset import canonical
from foreword.data.splitting import cut, sample
from foreword.errors import DataError

SHARES = st.sampled_from([0.0, 0.05, 0.1, 0.2, 0.34, 0.45])
CLASS_SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=4).filter(lambda sizes: sum(sizes) >= 12)


def rows_of(sizes):
    return [{"text": f"{label}-{i}", "label": label} for label, size in enumerate(sizes) for i in range(size)]


def counts(rows):
    return Counter(canonical(row) for row in rows)


@settings(max_examples=60, deadline=None)
@given(CLASS_SIZES, SHARES, SHARES, st.integers(0, 5))
def test_a_cut_covers_all_rows_once_with_every_class_in_its_share(sizes, validation, test, seed):
    rows = rows_of(sizes)
    config = SplitConfig(validation=validation, test=test, seed=seed)
    try:
        parts = cut(rows, ("text",), "label", config, "here")
    except DataError as error:  # only when every class is too small to give a row
        assert "too few" in str(error)
        assert sum(size - 1 for size in sizes) < 2 * len(sizes)
        return
    assert sum(map(counts, parts.values()), Counter()) == counts(rows)
    for split, share in (("validation", validation), ("test", test)):
        assert (split in parts) == (share > 0)
        found = Counter(row["label"] for row in parts.get(split, ()))
        assert all(abs(found[label] - size * share) < 1 for label, size in enumerate(sizes))
    assert {row["label"] for row in parts["train"]} == set(range(len(sizes)))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdefghij"), st.integers(0, 1)), min_size=1, max_size=60), st.randoms())
def test_repeated_inputs_share_a_split_and_the_order_of_the_file_does_not_matter(pairs, rng):
    rows = [{"text": text, "label": label} for text, label in pairs] + rows_of([15, 15])
    shuffled = list(rows)
    rng.shuffle(shuffled)
    parts = cut(rows, ("text",), "label", SplitConfig(), "here")
    assert parts == cut(shuffled, ("text",), "label", SplitConfig(), "here")
    texts = [{row["text"] for row in part} for part in parts.values()]
    assert sum(map(len, texts)) == len(set().union(*texts))
    assert sum(map(counts, parts.values()), Counter()) == counts(rows)


def test_the_seed_changes_the_cut_and_no_stratification_is_allowed():
    rows = rows_of([50, 50])
    tests = [set(map(canonical, cut(rows, ("text",), "label", SplitConfig(seed=s), "here")["test"])) for s in (0, 1)]
    assert tests[0] != tests[1]
    plain = cut(rows, ("text",), "label", SplitConfig(stratify=False), "here")
    assert [len(plain[s]) for s in ("train", "validation", "test")] == [70, 10, 20]


def test_impossible_cuts_are_refused():
    with pytest.raises(DataError, match="leave no training rows"):
        cut(rows_of([5, 5]), ("text",), "label", SplitConfig(validation=0.5, test=0.5), "here")
    with pytest.raises(DataError, match="2 rows are too few to cut a validation split") as caught:
        cut(rows_of([1, 1]), ("text",), "label", SplitConfig(), "here")
    assert "data.split.stratify: false" in str(caught.value)
    alone = cut(rows_of([1] * 40), ("text",), "label", SplitConfig(stratify=False), "here")
    assert [len(alone[s]) for s in ("train", "validation", "test")] == [28, 4, 8]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=2), st.integers(1, 90), st.integers(0, 5))
def test_a_sample_is_in_proportion_nested_and_independent_of_the_file(sizes, count, seed):
    rows = rows_of(sizes)
    taken = sample(rows, "label", count, seed)
    assert len(taken) == min(count, len(rows))
    found = Counter(row["label"] for row in taken)
    assert all(abs(found[label] - len(taken) * size / len(rows)) <= 1.01 for label, size in enumerate(sizes))
    assert taken == sample(rows, "label", count + 5, seed)[: len(taken)]
    assert taken == sample(random.Random(seed).sample(rows, len(rows)), "label", count, seed)


def test_a_limit_below_one_is_refused():
    with pytest.raises(DataError, match="a limit of 0 rows"):
        sample(rows_of([2, 2]), "label", 0, 0)
