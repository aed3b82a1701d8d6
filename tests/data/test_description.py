from __future__ import annotations

import json

from foreword.data import Dataset, describe


def toy(**splits):
    made = {s: tuple({"text": t, "label": y} for t, y in rows) for s, rows in splits.items()}
    return Dataset("toy", made, ("no", "yes"), "classification", "here", ("a note",))


def test_repeats_contradictions_and_balance_are_counted():
    dataset = toy(train=[("a b", 0), ("a b", 1), ("c", 1), (" ", 1)], test=[("a b", 0), ("d e f", 0), ("a b", 0)])
    facts = describe(dataset)
    train = facts["splits"]["train"]
    assert train["labels"] == {"no": 1, "yes": 3}
    assert (train["rows"], train["duplicates"], train["empty"]) == (4, 1, 1)
    assert facts["splits"]["test"]["duplicates"] == 1
    assert facts["across"] == {"test in train": 2}
    assert facts["contradictory_inputs"] == 1
    assert train["fingerprint"] == dataset.fingerprint("train")
    assert json.loads(json.dumps(facts)) == facts


def test_lengths_in_words_and_in_tokens():
    dataset = toy(train=[("x " * n, n % 2) for n in range(1, 101)])
    assert describe(dataset)["splits"]["train"]["length"] == {"min": 1, "median": 50.5, "p95": 95, "max": 100}

    def letters(texts, add_special_tokens, verbose):
        assert not add_special_tokens
        return {"input_ids": [list(text) for text in texts]}

    facts = describe(dataset, letters)
    assert facts["length_unit"] == "tokens"
    assert facts["splits"]["train"]["length"]["max"] == 200


def test_pairs_are_measured_and_compared_whole():
    rows = ({"text1": "a b", "text2": "c", "label": 0}, {"text1": "a b", "text2": "d", "label": 1})
    dataset = Dataset("pairs", {"train": rows}, ("no", "yes"), "pair-classification", "here")
    facts = describe(dataset)
    assert facts["splits"]["train"]["length"]["max"] == 3
    assert facts["splits"]["train"]["duplicates"] == facts["contradictory_inputs"] == 0
