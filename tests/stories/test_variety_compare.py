from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from foreword.errors import DataError
from foreword.stories.diversity import compare, corpus, report
from foreword.stories.story import Story, Verdict
from support.pages import Page

LETTERS = "bcdfghklmnprst"


def text(number: int, words: int = 30) -> str:
    """A story none of whose words another number's has."""
    made = [f"{LETTERS[number]}a{LETTERS[i % 6]}o{LETTERS[i // 6]}" for i in range(words)]
    return " ".join(" ".join(made[i : i + 6]).capitalize() + "." for i in range(0, words, 6))


def story(approach: str, number: int, passed: bool | None = True, **values: Any) -> Story:
    checks = () if passed is None else (Verdict("words", True, passed, passed, float(passed), "so many words"),)
    given = {"text": text(number), "title": "", "seed": number, "prompt": "Tell.", "checks": checks, **values}
    return Story(approach=approach, **given)


def grouped(**kinds: list[int]) -> dict[str, dict[str, list[Story]]]:
    """One spec; for each approach the numbers of its stories, of which every other one passes."""
    return {
        name: {"sea": [story(name, number, i % 2 == 0, tokens=40, seconds=2.0) for i, number in enumerate(numbers)]}
        for name, numbers in kinds.items()
    }


def test_approaches_are_compared_at_equal_number():
    made = compare(grouped(varied=[0, 1, 2, 3], plain=[0, 0, 0, 0, 1, 1]))
    assert [side.name for side in made.sides] == ["plain", "varied"], "the baseline first"
    plain, varied = made.sides
    assert (made.n, made.words, made.specs, made.kernel, made.headline) == (4, 30, 1, "words", "vendi_words")
    assert varied.variety["vendi_words"].value == pytest.approx(4)
    assert 1 < plain.variety["vendi_words"].value < 2, "of four of its six"
    assert plain.groups == [[4, 2]] and varied.groups == [[1, 1, 1, 1]]
    assert plain.passed is not None and plain.passed.value == 0.5
    assert plain.constraints == {"words": (3, 6)}
    assert plain.tokens_per_second == pytest.approx(20) and plain.seconds == pytest.approx(2)
    assert plain.openings[0][1] == 4
    assert made.differences["varied"]["vendi_words"].value == pytest.approx(4 - plain.variety["vendi_words"].value)
    assert made.differences["varied"]["passed"].value == 0
    assert plain.reading["words"] == 30 and plain.reading["words_per_sentence"] == 6


def test_long_stories_are_cut_and_short_ones_left_out():
    given = grouped(plain=[0, 1, 2])
    given["plain"]["sea"].append(story("plain", 3, text=text(3, 12)))
    given["plain"]["sea"].append(story("plain", 4, text=text(4, 36)))
    made = compare(given)
    assert (made.words, made.n) == (30, 4)
    [side] = made.sides
    assert (side.stories, side.short) == (5, 1)
    assert side.variety["vendi_words"].value == pytest.approx(4)
    assert made.differences == {}


def test_specs_are_paired():
    def approach(name: str, *kinds: list[int]) -> dict[str, list[Story]]:
        return {f"spec {i}": [story(name, number) for number in one] for i, one in enumerate(kinds)}

    plain = approach("plain", [0, 0, 0, 1], [0, 0, 1, 1], [0, 0, 0, 0])
    made = compare({"plain": plain, "varied": approach("varied", *[[0, 1, 2, 3]] * 3)})
    one = made.differences["varied"]["vendi_words"]
    assert (made.n, made.specs) == (4, 3)
    assert "3 specs" in one.how and one.clear


def test_meaning_comes_from_the_model():
    def embed(texts):
        return np.array([[1.0, float(one.lower().count("a"))] for one in texts])

    made = compare(grouped(plain=[0, 1, 2]), embed=embed)
    assert (made.kernel, made.headline) == ("meaning", "vendi")
    assert made.sides[0].variety["vendi"].value == pytest.approx(1, abs=0.1), "this model finds all of them alike"
    assert made.sides[0].variety["vendi_words"].value == pytest.approx(3)


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ({}, {}, "no stories to compare"),
        (grouped(plain=[0]), {}, "'plain' has 1 stories of at least 30 words"),
        (grouped(plain=[0, 1]), {"baseline": "other"}, "no stories of 'other'"),
        (
            {"plain": {"sea": [story("plain", 0)] * 2}, "varied": {"wood": [story("varied", 1)] * 2}},
            {},
            "different specs",
        ),
        ({"plain": {"sea": [story("plain", 0), story("plain", 1, text=" ... ")]}}, {}, "story 2 has no words"),
        (grouped(plain=[0, 1]), {"words": 31}, "'plain' has 0 stories of at least 31 words"),
        (grouped(plain=[0, 1]), {"words": corpus.LEAST - 1}, "too few to compare"),
    ],
)
def test_what_cannot_be_compared_is_told(given, options, message):
    with pytest.raises(DataError, match=message):
        compare(given, **options)


def test_stories_that_were_not_checked_have_no_pass_rate():
    given = {name: {"": [story(name, number, None) for number in range(3)]} for name in ("plain", "varied")}
    made = compare(given)
    assert all(side.passed is None and side.constraints == {} for side in made.sides)
    assert "passed" not in made.differences["varied"]
    assert report.trade_off(made) == ""
    assert "not checked" in report.markdown(made)


def test_the_report_says_what_was_found():
    made = compare(grouped(plain=[0, 0, 0, 1], varied=[0, 1, 2, 3]))
    first, second = report.headline(made)
    assert first.startswith("plain: 4 stories, about 1.8 (") and second.startswith("varied: 4 stories, about 4.0 (")
    assert report.worn(made)[0] == 'plain: 3 of 4 begin with "babob bacob badob"'
    columns, rows = report.overview(made)
    assert [row[0] for row in rows] == ["plain", "varied"] and len(columns) == len(rows[0])
    shown = report.markdown(made)
    assert "| words | 2 of 4 | 2 of 4 |" in shown
    assert "What the measures do not see" in shown and "grows with n" in shown
    page = Page(report.html(made))
    assert "share of stories that pass" in page.words and "plain: 4 stories, about 1.8" in page.words
    assert sum(tag == "circle" for tag, _ in page.seen) == 2, "a dot for each approach"


def test_the_result_is_plain_data():
    made = compare(grouped(plain=[0, 0, 1], varied=[0, 1, 2]))
    found = json.loads(json.dumps(made.to_dict()))
    assert found["baseline"] == "plain" and found["n"] == 3
    assert found["differences"]["varied"]["vendi_words"]["clear"] in (True, False)
    assert set(found["measures"]) == set(found["sides"][0]["variety"])
