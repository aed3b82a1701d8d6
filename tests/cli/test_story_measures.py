from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from foreword.errors import ForewordError
from foreword.stories import writing
from support.pages import Page

Run = Callable[..., tuple[int, str, str]]
NAMES = "Ada Ben Cleo Dan Eva Fox".split()


@pytest.fixture
def story(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`foreword story ...` on a wide terminal."""
    monkeypatch.setenv("COLUMNS", "300")
    return partial(run, "story")


def stories(path: Path, approach: str, names: list[str]) -> Path:
    texts = [f"Once upon a time {name} found a box by the sea. {name} looked at it. " * 3 for name in names]
    lines = [json.dumps({"text": text, "approach": approach}) for text in texts]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_compare_tells_and_writes(story, tmp_path):
    files = [stories(tmp_path / "p.jsonl", "plain", ["Ada"] * 4), stories(tmp_path / "v.jsonl", "varied", NAMES)]
    code, out, err = story(
        "compare", *files, "--no-model", "--markdown", "c.md", "--html", "c.html", "--result", "c.json"
    )
    assert code == 0, err
    assert "plain: 4 stories, about 1.0" in out and "varied: 4 stories, about " in out
    assert "4 of 4 begin with" in out and "not checked" in out
    assert json.loads(Path("c.json").read_text(encoding="utf-8"))["n"] == 4
    assert "Vendi" in Page(Path("c.html").read_text(encoding="utf-8")).words
    assert Path("c.md").read_text(encoding="utf-8").startswith("# Approaches")
    code, out, err = story("compare", *files, "--no-model", "--json")
    assert code == 0 and json.loads(out) == json.loads(Path("c.json").read_text(encoding="utf-8"))


def test_compare_with_a_model(story, tmp_path, bert_folder):
    file = stories(tmp_path / "v.jsonl", "varied", NAMES)
    code, out, err = story("compare", file, "--model", bert_folder, "--json")
    assert code == 0, err
    assert json.loads(out)["kernel"] == "meaning"


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [(["Ada"], (), "has 1 stories"), (NAMES, ("--baseline", "other"), "no stories of 'other'"),
     (NAMES, ("--words", "500"), "has 0 stories of at least 500 words")],
)  # fmt: skip
def test_compare_tells_mistakes(story, tmp_path, names, options, message):
    code, out, err = story("compare", stories(tmp_path / "v.jsonl", "varied", names), "--no-model", *options)
    assert (code, out) == (2, "")
    assert message in err and "Traceback" not in err


def test_style_trains_and_writes(story, monkeypatch, tmp_path, gpt2_folder):
    (tmp_path / "tales").mkdir()
    for number in range(3):
        text = f"it was a good story {number} and the cat was happy. " * 8
        (tmp_path / "tales" / f"{number}.txt").write_text(text, encoding="utf-8")
    small = ("--backbone", gpt2_folder, "--init-text", "a good story", "--answer-tokens", 16, "--max-steps", 1)
    code, out, err = story("style", "tales", *small, "--output", "run", "--dry-run")
    assert code == 0, err
    assert "3, " in err and "p-tuning-v2" in err and not Path("run").exists()
    code, out, err = story("style", "tales", *small, "--output", "run")
    assert code == 0, err
    assert "bare model" in out and "strength 0.5" in out and "perplexity" in out
    asked = []

    def instead(spec, **options):  # the tiny model has no room for a whole prompt
        asked.append(options["writer"])
        raise ForewordError("asked")

    monkeypatch.setattr(writing, "write", instead)
    code, out, err = story(
        "write", "--topic", "a cat", "--batch", 3, "--style-prompt", "run/artifact", "--strength", 0.5
    )
    assert code == 2 and "asked" in err
    assert asked[0].name.endswith("style-tales at 0.5") and asked[0].batch == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [(("--strength", 0.5), "none is given"), (("--style-prompt", "x", "--model", "y"), "--model names another"),
     (("--style-prompt", "x"), "no foreword here"), (("--style-prompt", "x", "--strength", 2), "a strength of 2")],
)  # fmt: skip
def test_style_prompts_tell_mistakes(story, options, message):
    code, out, err = story("write", "--topic", "a cat", *options)
    assert (code, out) == (2, "")
    assert message in err and "Traceback" not in err
