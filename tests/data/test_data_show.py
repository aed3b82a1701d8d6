from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from foreword.cli.data import app, parse_columns
from foreword.errors import DataError


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "all.csv"
    path.write_text("body,label\n" + "".join(f"some text {i},{'yes' if i % 2 else 'no'}\n" for i in range(40)))
    return str(path)


def test_show_prints_tables(source):
    done = CliRunner().invoke(app, ["show", source, "--column", "text=body"])
    assert done.exit_code == 0, done.output
    for words in ("28", "14 (50.0 %)", "words, median", "fingerprint", "inputs of test in train: 0"):
        assert words in done.output


def test_show_prints_json(source):
    done = CliRunner().invoke(app, ["show", source, "--column", "text=body", "--task", "classification", "--json"])
    assert json.loads(done.output)["splits"]["train"]["labels"] == {"no": 14, "yes": 14}


def test_a_users_mistake_reaches_the_caller_as_itself(source):
    done = CliRunner().invoke(app, ["show", source])
    assert isinstance(done.exception, DataError)
    assert "no column 'text'" in str(done.exception)


def test_columns_are_parsed():
    assert parse_columns(["text=body", "label=a=b"]) == {"text": "body", "label": "a=b"}
    for wrong in ("text", "=body", "text="):
        with pytest.raises(DataError, match="FIELD=COLUMN"):
            parse_columns([wrong])
    with pytest.raises(DataError, match="mapped twice"):
        parse_columns(["text=a", "text=b"])
