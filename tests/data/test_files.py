from __future__ import annotations

import gzip
import json
import sys

import pytest

from foreword.data import files
from foreword.errors import DataError

ROWS = [{"text": "good, very\u2028good", "label": "yes"}, {"text": 'a "bad"\nthing', "label": "no"}]
LINES = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS) + "\n"
CSV = 'text,label\n"good, very\u2028good",yes\n"a ""bad""\nthing",no\n'


def test_json_lines_keep_line_numbers_over_blank_lines_and_unicode_separators(tmp_path):
    (tmp_path / "a.jsonl").write_text("\ufeff" + LINES, encoding="utf-8")
    table = files.read(tmp_path / "a.jsonl")
    assert list(table.rows) == ROWS
    assert table.lines == (1, 3)
    assert table.place(1).endswith("a.jsonl:3")


def test_gzipped_files_read_like_plain_ones(tmp_path):
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(LINES.encode()))
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(CSV.encode()))
    assert list(files.read(tmp_path / "a.jsonl.gz").rows) == ROWS
    assert list(files.read(tmp_path / "a.csv.gz").rows) == ROWS


def test_csv_quoting_and_the_line_a_row_begins_on(tmp_path):
    (tmp_path / "a.csv").write_text(CSV + "fine,yes\n", encoding="utf-8")
    table = files.read(tmp_path / "a.csv")
    assert list(table.rows[:2]) == ROWS
    assert table.lines == (2, 3, 5)


def test_tsv_takes_quotation_marks_as_they_are(tmp_path):
    (tmp_path / "a.tsv").write_text('text\tlabel\n"half a quote\tyes\n', encoding="utf-8")
    assert files.read(tmp_path / "a.tsv").rows == ({"text": '"half a quote', "label": "yes"},)


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    assert list(files.read(tmp_path / "a.parquet").rows) == ROWS
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match=r"not a readable Parquet file(.|\n)*b\.parquet"):
        files.read(tmp_path / "b.parquet")


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"pip install 'foreword\[data\]'"):
        files.read(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"text": "a"}\n\n{"text": \n', r"broken line, not JSON(.|\n)*a\.jsonl:3"),
        ("a.jsonl", '{"text": "a"}\n["text"]\n', r"is a list, not an object(.|\n)*a\.jsonl:2"),
        ("a.jsonl", "", "holds no rows"),
        ("a.jsonl", "\n \n", "holds no rows"),
        ("a.jsonl", '{"text": "a"}\n{"text": "\xe9"}\n', r"not UTF-8(.|\n)*a\.jsonl:2(.|\n)*iconv"),
        ("a.csv", "", "holds no rows"),
        ("a.csv", "text,label\n", "holds no rows"),
        ("a.csv", "text,text\na,b\n", "column named twice: text"),
        ("a.csv", 'text,label\n"x\ny",yes\na,b,c\n', r"3 values for 2 columns \(text, label\)(.|\n)*a\.csv:4"),
        ("a.csv", 'text,label\na,yes\n"open,no\n', r"broken line(.|\n)*a\.csv:3"),
        ("a.tsv", "text\tlabel\nalone\n", r"1 values for 2 columns(.|\n)*a\.tsv:2"),
        ("a.jsonl.gz", "not gzip", "cannot read the file"),
        ("a.xml", "<a/>", r"unknown file format 'a\.xml'(.|\n)*known: \.jsonl"),
    ],
)
def test_a_broken_file_is_told_with_its_place(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=message):
        files.read(tmp_path / name)


def test_utf_16_is_told_by_its_name(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\na,b\n", encoding="utf-16")
    with pytest.raises(DataError, match=r"iconv -f utf-16"):
        files.read(tmp_path / "a.csv")


def test_a_value_may_be_long_in_every_format(tmp_path):
    long = "word " * 60_000
    (tmp_path / "a.csv").write_text(f"text,label\n{long},yes\n", encoding="utf-8")
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": long, "label": "yes"}), encoding="utf-8")
    assert files.read(tmp_path / "a.csv").rows == files.read(tmp_path / "a.jsonl").rows


def test_a_folder_is_read_by_the_names_of_its_files(tmp_path):
    for name in ("train.jsonl", "dev.jsonl", "test.jsonl"):
        (tmp_path / name).write_text(LINES, encoding="utf-8")
    (tmp_path / "labels.json").write_text('{"0": "no", "1": "yes"}')
    (tmp_path / "train.txt").write_text("not data")
    assert list(files.read_folder(tmp_path)) == ["train", "validation", "test"]
    assert files.read_label_names(tmp_path) == ("no", "yes")


def test_a_folder_needs_one_training_file(tmp_path):
    (tmp_path / "test.jsonl").write_text(LINES, encoding="utf-8")
    with pytest.raises(DataError, match=r"no training file in this folder \(it holds test\.jsonl\)"):
        files.read_folder(tmp_path)
    for name in ("train.csv", "train.jsonl"):
        (tmp_path / name).write_text(CSV, encoding="utf-8")
    with pytest.raises(DataError, match=r"several files for the split 'train': train\.csv, train\.jsonl"):
        files.read_folder(tmp_path)


def test_label_names_may_be_a_list_or_missing(tmp_path):
    assert files.read_label_names(tmp_path) is None
    (tmp_path / "labels.json").write_text('["no", "yes"]')
    assert files.read_label_names(tmp_path) == ("no", "yes")


@pytest.mark.parametrize("content", ["{", "{}", "3", '{"1": "no"}', '["no", "no"]', "[1, 2]"])
def test_broken_label_names_are_refused(tmp_path, content):
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(DataError, match="does not map"):
        files.read_label_names(tmp_path)


def test_a_line_too_deep_to_read_is_a_broken_line(tmp_path):
    (tmp_path / "deep.jsonl").write_text('{"a":' * 100_000 + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="broken line"):
        files.read(tmp_path / "deep.jsonl")
