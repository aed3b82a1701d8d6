"""What the long commands of `foreword story` share: a clean end, and files that are looked at before the work."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from foreword.stories import style, writing
from support.story_writers import GOOD, SMALL, Scripted

Run = Callable[..., tuple[int, str, str]]


class Ended(Scripted):
    """Writes one story; then somebody ends the process."""

    def write(self, requests, done, advance):
        super().write(requests[:1], done, advance)
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def story(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`foreword story ...` with specs beside it, and a writer that SIGTERM ends."""
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(writing, "open_writer", lambda model, **settings: Ended(GOOD))
    Path("spec.json").write_text(json.dumps(SMALL), encoding="utf-8")
    Path("specs.yaml").write_text(json.dumps({"one": SMALL}), encoding="utf-8")
    Path("file").touch()
    Path("folder").mkdir()
    Path("page.md").write_text("# No marks\n", encoding="utf-8")
    return partial(run, "story")


@pytest.fixture(autouse=True)
def handler():
    """SIGTERM would end the tests where a command does not take it; and its handler is put back."""

    def fail(number, frame):
        raise AssertionError("SIGTERM was not taken")

    before = signal.signal(signal.SIGTERM, fail)
    yield
    assert signal.signal(signal.SIGTERM, before) is fail


def test_an_end_of_write_keeps_what_is_written(story):
    code, out, err = story("write", "--spec", "spec.json", "--n", 3, "--output", "out", "--html", "s.html")
    assert code == 130 and "stopped; what was written is kept" in err
    assert "squirrel" in out and "squirrel" in Path("s.html").read_text(encoding="utf-8")
    kept = json.loads(Path("out/stories.json").read_text(encoding="utf-8"))
    assert kept["stopped"] == "interrupted" and kept["candidates"] == 1


def test_an_end_of_a_study_keeps_what_is_written(story):
    code, _, err = story("study", "--specs", "specs.yaml", "--n", 2, "--output", "out", "--approach", "plain")
    assert code == 130 and "what was written is kept" in err
    assert '"event": "story"' in next(Path("out").rglob("log.jsonl")).read_text(encoding="utf-8")


def test_an_end_of_a_style_is_no_crash(story, monkeypatch):
    monkeypatch.setattr(style, "train", lambda *args, **more: os.kill(os.getpid(), signal.SIGTERM))
    assert story("style", "folder")[0] == 130


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--html", "folder"), "--html names a folder"),
        (("--markdown", "file/x.md"), "cannot write --markdown"),
        (("--markdown", "x", "--html", "./x"), "--html and --markdown are the same place"),
        (("--output", "x", "--html", "x"), "--html and the run's folder are the same place"),
    ],
)
def test_targets_that_cannot_be_are_told_before_a_story_is_written(story, options, message):
    code, out, err = story("write", "--spec", "spec.json", "--n", 1, *options)
    assert (code, out) == (2, "") and message in err
    assert not Path("runs").exists() and not Path("x").exists()


def test_a_folder_that_is_not_ours_is_told(story, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "folder")
    code, _, err = story("write", "--spec", "spec.json", "--html", "folder/deep/x.html")
    assert code == 2 and "cannot be written to" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [(("--result", "folder"), "--result names a folder"), (("--markdown", "page.md"), "no place for the tables"),
     (("--texts", "x", "--result", "x"), "are the same place")],
)  # fmt: skip
def test_targets_of_a_study_are_told_before_a_story_is_written(story, options, message):
    code, _, err = story("study", "--specs", "specs.yaml", "--output", "out", *options)
    assert code == 2 and message in err and not Path("out").exists()


def test_targets_of_a_comparison_are_told_before_it_is_made(story):
    code, _, err = story("compare", "nowhere", "--html", "x", "--result", "x")
    assert code == 2 and "are the same place" in err
