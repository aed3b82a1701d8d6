from __future__ import annotations

import pytest

from foreword.data import checking
from foreword.data.files import Table
from foreword.errors import DataError
from foreword.tasks.classification import Classification
from foreword.tasks.pair_classification import PairClassification
from foreword.tasks.translation import Translation

MAPPING = {"text": "text", "label": "label"}
TASK = Classification()


def table(*rows):
    return Table(tuple(rows), tuple(range(10, 10 + len(rows))), "a.jsonl")


def test_columns_are_mapped_and_others_left_out():
    mapping = checking.check_mapping({"text": "body"}, Classification())
    assert mapping == {"text": "body", "label": "label"}
    rows = checking.select(table({"body": "hello", "label": " yes ", "idx": 3, "text": "other"}), mapping, TASK)
    assert rows == [{"text": "hello", "label": "yes"}]


def test_a_column_for_two_fields_is_refused():
    with pytest.raises(DataError, match="'body' is used for both 'text1' and 'text2'"):
        checking.check_mapping({"text1": "body", "text2": "body"}, PairClassification())
    with pytest.raises(DataError, match="'text2' is used for both"):
        checking.check_mapping({"text1": "text2"}, PairClassification())


def test_an_unknown_field_names_the_nearest():
    with pytest.raises(DataError, match="no field 'txt'(.|\n)*did you mean 'text'"):
        checking.check_mapping({"txt": "body"}, Classification())


def test_a_missing_column_lists_the_known_ones():
    with pytest.raises(
        DataError, match=r"no column 'text'\n.*a\.jsonl:11\n.*did you mean 'texts'\? known: label, texts"
    ):
        checking.select(table({"text": "a", "label": 0}, {"texts": "a", "label": 0}), MAPPING, TASK)


@pytest.mark.parametrize(("value", "kind"), [(None, "nothing"), (3, "a int"), (["a"], "a list")])
def test_text_must_be_a_string(value, kind):
    with pytest.raises(DataError, match=rf"'text' holds {kind}, not text\n.*a\.jsonl:10"):
        checking.select(table({"text": value, "label": 0}), MAPPING, TASK)


@pytest.mark.parametrize(("value", "label"), [(1, 1), (1.0, 1), (True, "true"), ("yes", "yes"), ("1", "1")])
def test_labels_may_be_spelled_as_the_format_likes(value, label):
    assert checking.select(table({"text": "a", "label": value}), MAPPING, TASK)[0]["label"] == label


@pytest.mark.parametrize("value", [None, "", "  ", 0.5, float("nan"), ["yes"]])
def test_a_value_that_is_no_class_is_refused(value):
    with pytest.raises(DataError, match="holds no class label"):
        checking.select(table({"text": "a", "label": value}), MAPPING, TASK)


def test_the_order_of_class_names():
    assert checking.class_names(["b", "a", "b"], None, None) == ("a", "b")
    assert checking.class_names([10, 9, -1], None, None) == ("-1", "9", "10")
    assert checking.class_names(["10", "9"], None, None) == ("9", "10")
    assert checking.class_names([0, 1], ("no", "yes"), None) == ("no", "yes")
    assert checking.class_names([0, 1], ("no", "yes"), ["yes", "no"]) == ("yes", "no")
    assert checking.class_names(["a"], None, ["b", "a"]) == ("b", "a")


def test_wanted_class_names_must_fit():
    with pytest.raises(DataError, match="named twice"):
        checking.class_names([], None, ["a", "a"])
    for wanted in (["yes"], ["yes", "never"], ["a", "b", "c"]):
        with pytest.raises(DataError, match="does not fit the source's classes: no, yes"):
            checking.class_names([], ("no", "yes"), wanted)


def indices(values, names, source_names=None):
    rows = [{"text": "a", "label": v} for v in values]
    return [row["label"] for row in checking.index_labels(table(*rows), rows, "label", names, source_names)]


def test_labels_become_indices_by_name_and_else_by_number():
    assert indices(["yes", 0, "1"], ("no", "yes")) == [1, 0, 1]
    assert indices([9, 10], ("9", "10")) == [0, 1]
    # reordered: number 0 is still the source's first class, whose index is now 1
    assert indices([0, "no", "yes"], ("yes", "no"), ("no", "yes")) == [1, 1, 0]
    # renamed: the source's spelling still counts
    assert indices([0, "yes", "good"], ("bad", "good"), ("no", "yes")) == [0, 1, 1]


@pytest.mark.parametrize("value", ["yse", 2, -1])
def test_an_unknown_label_is_told_with_its_line(value):
    with pytest.raises(DataError, match=rf"unknown label '{value}'\n.*a\.jsonl:11\n.*known: no, yes"):
        indices(["yes", value], ("no", "yes"))


def examples(*labels):
    return [{"text": "a", "label": label} for label in labels]


def test_one_class_only_is_refused():
    with pytest.raises(DataError, match="all 2 training rows have one class, 'yes'"):
        checking.check_classes({"train": examples(1, 1)}, "label", ("no", "yes"), "here")


def test_a_class_only_outside_of_training_is_refused():
    splits = {"train": examples(0, 1), "validation": examples(0), "test": examples(1, 2)}
    with pytest.raises(DataError, match="met only in test, never in training: 'maybe'"):
        checking.check_classes(splits, "label", ("no", "yes", "maybe"), "here")


def test_a_rare_tag_outside_of_training_is_told_and_not_refused():
    splits = {"train": examples((0, 1)), "test": examples((0, 2))}
    [note] = checking.check_classes(splits, "label", ("O", "B-a", "B-b"), "here", tags=True)
    assert "met only in test" in note and "'B-b'" in note


def test_a_number_that_may_be_an_answer_is_no_class_number():
    rows = [{"text": "a", "label": "3"}]
    with pytest.raises(DataError, match="unknown label '3'"):
        checking.index_labels(table(*rows), rows, "label", ("a", "b", "c", "it"), None, numbered_too=False)


def test_half_a_character_is_told_where_it_stands():
    with pytest.raises(DataError, match=r"half a character\n.*a\.jsonl:10"):
        checking.select(table({"text": "a \ud800 b", "label": "yes"}), MAPPING, TASK)


WRITTEN = {"source": "source", "translation": "translation"}


@pytest.mark.parametrize(
    ("value", "texts"), [("ja", ("ja",)), (" ja\n", ("ja",)), (["ja", "jawohl"], ("ja", "jawohl")), (("ja",), ("ja",))]
)
def test_an_answer_that_is_a_text_may_be_one_or_several(value, texts):
    rows = checking.select(table({"source": "yes", "translation": value}), WRITTEN, Translation())
    assert rows == [{"source": "yes", "translation": texts}]


def test_answers_in_the_form_of_squad_are_read():
    value = {"text": ["ja", "jawohl"], "answer_start": [3, 9]}
    rows = checking.select(table({"source": "yes", "translation": value}), WRITTEN, Translation())
    assert rows == [{"source": "yes", "translation": ("ja", "jawohl")}]


@pytest.mark.parametrize("value", [None, 3, "", "  ", [], ["ja", ""], ["ja", 3], {"text": []}, {"answer_start": [3]}])
def test_an_answer_without_text_is_refused_with_its_line(value):
    with pytest.raises(DataError, match="no text to be written") as caught:
        checking.select(table({"source": "yes", "translation": value}), WRITTEN, Translation())
    assert "10" in str(caught.value)


def test_half_a_character_in_an_answer_is_refused():
    with pytest.raises(DataError, match="half a character"):
        checking.select(table({"source": "yes", "translation": "a \ud800"}), WRITTEN, Translation())
