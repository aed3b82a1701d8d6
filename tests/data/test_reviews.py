from __future__ import annotations

import pytest

from foreword import store
from foreword.config import DataConfig
from foreword.data import load, reviews
from foreword.errors import DataError


def test_ratings_become_classes_and_ambiguous_sentences_are_counted(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("1_1\t-0.9\tR&amp;D was bad.\r\n1_2\t0.45\tmeh\r\n\r\n2\t0.5\tcafé \r\n3\t-0.5\tno\r\n".encode())
    table, dropped = reviews.parse(path)
    assert dropped == 1
    assert table.rows == (
        {"text": "R&D was bad.", "rating": -0.9, "label": "negative"},
        {"text": "café", "rating": 0.5, "label": "positive"},
        {"text": "no", "rating": -0.5, "label": "negative"},
    )
    assert table.lines == (1, 4, 5)


def test_a_sentence_of_any_rating_belongs_to_its_file(tmp_path):
    for number, name in enumerate(reviews.FILES.values()):
        (tmp_path / name).write_text(f"1\t0.1\tmeh {number}\r\n2\t-0.9\tbad {number}\r\n")
    table = reviews.origins(tmp_path)
    assert [(row["text"], row["label"]) for row in table.rows] == [
        (f"{word} {number}", name) for number, name in enumerate(reviews.FILES) for word in ("meh", "bad")
    ]
    assert table.lines == (1, 2) * 4


@pytest.mark.parametrize("line", ["1\t2.0", "1\tgood\ttext", "1\t2.0\ta\tb"])
def test_a_broken_line_is_told_with_its_number(tmp_path, line):
    path = tmp_path / "a.txt"
    path.write_text(f"1\t1.0\tfine\n{line}\n")
    with pytest.raises(DataError, match=r"not id, rating, text\n.*a\.txt:2"):
        reviews.parse(path)


def test_an_unknown_part_names_the_nearest():
    with pytest.raises(DataError, match="did you mean 'movies'"):
        load(DataConfig(source="reviews:movie"))


@pytest.mark.real
@pytest.mark.parametrize(
    ("part", "positive", "negative", "dropped"),
    [
        ("products", 1750, 1235, 723),
        ("movies", 4996, 5076, 533),
        ("news", 1187, 1783, 2220),
        ("tweets", 2345, 1087, 768),
    ],
)
def test_the_real_archive_has_the_documented_counts(part, positive, negative, dropped):
    if not (store.cache_dir() / "packages" / store.VADER.filename).is_file():
        pytest.skip("the reviews are not in the cache: `foreword data show reviews` fetches them")
    table, classes, notes = reviews.read(part)
    labels = [row["label"] for row in table.rows]
    assert (labels.count("positive"), labels.count("negative")) == (positive, negative)
    assert classes == reviews.LABELS and notes[0].startswith(f"{dropped} sentences dropped")
    assert all(row["text"] for row in table.rows)


@pytest.mark.real
def test_of_each_real_sentence_its_origin_may_be_asked():
    if not (store.cache_dir() / "packages" / store.VADER.filename).is_file():
        pytest.skip("the reviews are not in the cache: `foreword data show reviews` fetches them")
    table, classes, _ = reviews.read("origin")
    counts = {name: [row["label"] for row in table.rows].count(name) for name in classes}
    assert counts == {"products": 3708, "movies": 10605, "news": 5190, "tweets": 4200}
    assert len(table.rows) == len(table.lines)
    dataset = load(DataConfig(source="reviews:origin", limit={"train": 480, "validation": 200, "test": 500}))
    assert dataset.labels == ("products", "movies", "news", "tweets")
    assert {example["label"] for example in dataset.rows("train")} == {0, 1, 2, 3}


@pytest.mark.real
def test_the_real_reviews_load_without_shared_inputs():
    if not (store.cache_dir() / "packages" / store.VADER.filename).is_file():
        pytest.skip("the reviews are not in the cache: `foreword data show reviews` fetches them")
    dataset = load(DataConfig(source="reviews"))
    assert {split: len(rows) for split, rows in dataset.splits.items()} == {
        "train": 2090,
        "validation": 298,
        "test": 597,
    }
    assert dataset.labels == ("negative", "positive")
    assert dataset.notes[0].startswith("723 sentences dropped")
    texts = [{row["text"] for row in rows} for rows in dataset.splits.values()]
    assert sum(map(len, texts)) == len(set().union(*texts))
