from __future__ import annotations

import pytest

from foreword.data.dataset import Dataset, canonical
from foreword.errors import DataError


def dataset(*rows):
    return Dataset("toy", {"train": rows}, ("no", "yes"), "classification", "here")


def test_the_fingerprint_depends_on_content_and_order_but_not_on_key_order():
    one, two = {"text": "a", "label": 0}, {"text": "b", "label": 1}
    print_ = dataset(one, two).fingerprint("train")
    assert print_ == dataset({"label": 0, "text": "a"}, two).fingerprint("train")
    assert print_ != dataset(two, one).fingerprint("train")
    assert print_ != dataset(one, {"text": "b", "label": 0}).fingerprint("train")
    assert len(print_) == 64


def test_a_lone_surrogate_can_be_fingerprinted():
    assert len(dataset({"text": "\ud800", "label": 0}).fingerprint("train")) == 64


def test_a_missing_split_is_named():
    with pytest.raises(DataError, match="no split 'tests'.*\n.*here.*\n.*known: train"):
        dataset().rows("tests")


def test_canonical_has_one_spelling():
    assert canonical({"b": "é", "a": 1}) == '{"a":1,"b":"é"}'
