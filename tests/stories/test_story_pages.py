"""Stories to read, and the commands."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from foreword.cli.main import app
from foreword.errors import ForewordError
from foreword.stories import Story, check, pages, writing
from foreword.stories.repair import repaired
from foreword.stories.spec import make
from foreword.whole import put
from support.story_writers import GOOD, SMALL, Scripted, completion, endpoint

RUN = CliRunner()
EVIL = 'A fox <script>alert("x")</script> & a dog.\n\n' + GOOD


def story(text: str) -> Story:
    mended, edits = repaired(text, make(SMALL))
    return Story(mended, "The <Hill>", "plain", 1, "the prompt", check(mended, make(SMALL)), edits)


def test_a_page_shows_the_whole_text_and_runs_nothing():
    html = pages.page([story(EVIL), story("Sure, here is a story:\n\n" + GOOD)], title="a & b")
    assert "<script" not in html and "The &lt;Hill&gt;" in html
    assert html.count("<article>") == 2 and "@media print" in html
    assert '<mark title="clues: a talking squirrel">talking squirrel</mark>' in html
    assert "http" not in re.sub(r"<!doctype html>", "", html)
    bare = pages.page([story(GOOD)], title="x", checks=False)
    assert "<mark title" not in bare and "the prompt" not in bare


@pytest.mark.parametrize("text", [GOOD, EVIL, "One.\n\nTwo\nlines.", "x", ""])
def test_pieces_are_the_text(text):
    made = Story(text, "t", "plain", 1, "p", check(text, make(SMALL)))
    joined = "".join("".join(piece.text for piece in pieces) for pieces in pages.paragraphs(made))
    assert re.sub(r"\s", "", joined) == re.sub(r"\s", "", text)


def test_markdown_tells_verdicts_and_repairs():
    text = pages.markdown([story("Sure, here is a story:\n\n" + GOOD)])
    assert GOOD in text and "| clues | hard | pass | pass | 1.00 |" in text and "preface" in text


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    put(tmp_path / "new" / "a.html", "x")
    assert (tmp_path / "new" / "a.html").read_text(encoding="utf-8") == "x"
    with pytest.raises(ForewordError, match="cannot write"):
        put(tmp_path, "x")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


@pytest.fixture
def scripted(monkeypatch):
    """A writer in the place of the model."""
    writer = Scripted(GOOD)
    monkeypatch.setattr(writing, "open_writer", lambda model, **settings: writer)
    return writer


FLAGS = ["--topic", SMALL["topic"], "--length", "60-100", *(f"--clue={clue}" for clue in SMALL["clues"])]


def test_write_prints_writes_files_and_logs(scripted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = ["--markdown", "a.md", "--html", "a.html"]
    done = RUN.invoke(app, ["story", "write", *FLAGS, "--n", "2", "--keep", "1", "--json", *files])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["passed"] == 2 and len(found["stories"]) == 1 and found["stories"][0]["text"] == GOOD
    assert GOOD in (tmp_path / "a.md").read_text(encoding="utf-8") and (tmp_path / "a.html").exists()
    assert (tmp_path / "runs/stories/adventure-in-a-magical-forest-1/log.jsonl").exists()
    again = RUN.invoke(app, ["story", "write", *FLAGS, "--n", "1"])
    assert again.exit_code == 0 and "Come quickly" in again.stdout and "tokens/s" in again.stderr
    assert (tmp_path / "runs/stories/adventure-in-a-magical-forest-2").exists()


def test_write_says_when_nothing_holds_and_when_it_was_stopped(scripted, tmp_path):
    scripted.answers = [GOOD.replace("dragon", "goat")]
    done = RUN.invoke(app, ["story", "write", *FLAGS, "--n", "1", "--no-repair", "--output", str(tmp_path / "a")])
    assert done.exit_code == 1 and "FAIL" in done.stdout
    scripted.answers = [GOOD, KeyboardInterrupt()]
    done = RUN.invoke(app, ["story", "write", *FLAGS, "--n", "2", "--output", str(tmp_path / "b")])
    assert "what was written is kept" in str(done.exception) and "Come quickly" in done.stdout


def test_show_prompt_writes_nothing(scripted):
    done = RUN.invoke(
        app, ["story", "write", "--preset", "magical-forest", "--approach", "varied", "--n", "2", "--show-prompt"]
    )
    assert done.exit_code == 0 and done.stdout.count("Write a playful and imaginative story") == 2
    assert "[begins with]" in done.stdout and scripted.seen == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "a story needs a topic"),
        (["--preset", "seaside", "--spec", "x.yaml"], "given twice"),
        ([*FLAGS, "--approach", "several"], "long instructions"),
        ([*FLAGS, "--timeout", "3"], "for an endpoint"),
        ([*FLAGS, "--endpoint", "http://localhost/v1"], "name of a model"),
        ([*FLAGS, "--avoid", "dragon"], "to be avoided"),
        ([*FLAGS, "--endpoint", "http://localhost/v1", "--model", "m", "--timeout", "0"], "timeout"),
    ],
)
def test_bad_input_is_told(scripted, arguments, told):
    done = RUN.invoke(app, ["story", "write", *arguments])
    assert isinstance(done.exception, ForewordError) and told in str(done.exception)
    assert scripted.seen == []


def test_write_by_an_endpoint(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with endpoint(completion(GOOD)) as (url, seen):
        arguments = ["--endpoint", url, "--model", "big", "--n", "1", "--json", "--output", str(tmp_path / "run")]
        done = RUN.invoke(app, ["story", "write", *FLAGS, *arguments])
    assert done.exit_code == 0 and json.loads(done.stdout)["writer"] == "big at 127.0.0.1" and len(seen) == 1


def test_check_a_file(tmp_path):
    path = tmp_path / "story.txt"
    path.write_text("\ufeff" + GOOD, encoding="utf-8")
    done = RUN.invoke(app, ["story", "check", str(path), *FLAGS, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    clues = next(one for one in found["checks"] if one["constraint"] == "clues")
    assert found["passed"] and GOOD[clues["evidence"][0]["start"] :].startswith("talking squirrel")
    path.write_text("A fox.", encoding="utf-8")
    assert RUN.invoke(app, ["story", "check", str(path), *FLAGS]).exit_code == 1
    assert RUN.invoke(app, ["story", "check", "-", *FLAGS], input=GOOD).exit_code == 0
    path.write_bytes(b"\xff\xfe")
    assert "not UTF-8" in str(RUN.invoke(app, ["story", "check", str(path), *FLAGS]).exception)
    assert "cannot read" in str(RUN.invoke(app, ["story", "check", str(tmp_path / "none"), *FLAGS]).exception)


def test_checking_needs_no_torch():
    code = "import sys, foreword.stories as s; s.check('A fox.', s.StorySpec(topic='x')); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"
