from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from foreword.cli.story_study import _placed
from foreword.errors import ConfigError
from foreword.stories import writing
from support.story_writers import GOOD, SMALL, Scripted

Run = Callable[..., tuple[int, str, str]]
PAGE = "# A page\n\n<!-- study: approaches -->\nnothing yet\n<!-- end of study: approaches -->\n\n"
PAGE += "<!-- study: approaches stories -->\n<!-- end of study: approaches stories -->\n\nThe rest.\n"


@pytest.fixture
def study(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bert_folder: Path) -> Run:
    """`foreword story study` of two small specs by a scripted writer."""
    monkeypatch.setenv("COLUMNS", "300")
    specs = {"one": SMALL, "two": {**SMALL, "topic": "A hill"}}
    (tmp_path / "specs.yaml").write_text(json.dumps(specs), encoding="utf-8")
    monkeypatch.setattr(writing, "open_writer", lambda model, **settings: Scripted(GOOD))
    options = ("--specs", "specs.yaml", "--n", 2, "--output", "out", "--encoder", bert_folder)
    return partial(run, "story", "study", *options)


def test_it_writes_tells_and_fills_the_page(study, tmp_path):
    (tmp_path / "page.md").write_text(PAGE, encoding="utf-8")
    code, out, err = study(
        "--approach", "plain", "--approach", "other=varied",
        "--texts", "t.jsonl", "--result", "r.json", "--markdown", "page.md", "--show", "two",
    )  # fmt: skip
    assert code == 0, err
    assert "`other`" in out and "4 of 4: " in err
    lines = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 8 and {line["approach"] for line in lines} == {"plain", "other"}
    figures = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert figures["approaches"]["other"]["ratio"]["vendi"]["low"] > 0
    assert figures["runs"]["plain"]["settings"] == {"model": "scripted"}
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert page.count("two, `other`, first of 2") == 1 and "> " in page and "**" in page and "one, `" not in page
    assert "nothing yet" not in page and "| `plain` |" in page and page.endswith("The rest.\n")
    code, again, _ = study("--approach", "plain", "--approach", "other=varied", "--no-write", "--json")
    assert code == 0 and json.loads(again) == figures


def test_a_stop_is_told_and_keeps_what_is_there(study, monkeypatch):
    monkeypatch.setattr(writing, "open_writer", lambda model, **settings: Scripted(GOOD, KeyboardInterrupt()))
    code, _, err = study("--approach", "plain")
    assert code == 130 and "what was written is kept" in err
    logs = (path.read_text(encoding="utf-8") for path in Path("out").rglob("log.jsonl"))
    assert sum(log.count('"event": "story"') for log in logs) == 1


def test_a_page_without_a_place_is_refused(tmp_path):
    (tmp_path / "page.md").write_text("# A page\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="no place"):
        _placed(tmp_path / "page.md", "approaches", "x")
    with pytest.raises(ConfigError, match="cannot read"):
        _placed(tmp_path / "none.md", "approaches", "x")
