"""The comparison as a page, Markdown, LaTeX, JSON and a study: numbers lead to their runs, no text becomes markup."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from foreword.comparison import pages, texts, wording
from foreword.comparison.examples import disagreements, worst
from foreword.comparison.options import Options
from foreword.comparison.results import read
from foreword.comparison.study import study
from foreword.comparison.table import tables
from support.pages import Page
from support.results import answers, record, several, write


def made(folder: Path, **options):
    return tables(read([folder]).runs, Options(**{"resamples": 200, "data": False} | options))[0]


def test_the_page_shows_what_was_measured_and_leads_to_every_run(tmp_path):
    page = Page(pages.page(made(several(tmp_path)), ["nothing.json: broken JSON"]))
    for text in ("0.9167", "majority class", "random guess", "degenerate", "2 of 3", "12 s", "ECE", "Run it again"):
        assert text in page.words, text
    for text in ("nothing.json", "one answer in all 60", "torch 2.13", "d" * 64, "learning_rate: 0.01"):
        assert text in page.words, text
    links = {a["href"] for tag, a in page.seen if tag == "a"}
    anchors = {"#" + a["id"] for _, a in page.seen if a.get("id")}
    assert len(links) == 3 and links <= anchors
    assert sum(tag == "details" for tag, _ in page.seen) == 7 + 1, "seven runs, and the list of pairs"
    assert sum(tag == "svg" and a.get("role") == "img" for tag, a in page.seen) > 6


HOSTILE = "</td><script>x</script>|$%_&\\"


def test_any_name_stays_text_in_every_output(tmp_path):
    values = record(answers(3), labels=[HOSTILE, "b"], backbone=HOSTILE, task=HOSTILE, method=HOSTILE)
    write(tmp_path, "a-seed0", values)
    compared = made(tmp_path)
    page = Page(pages.page(compared))
    assert "script" not in {tag for tag, _ in page.seen} and HOSTILE in page.words
    markdown = texts.markdown(compared, [])
    assert "<script>" not in re.sub(r"\\<", "", markdown)
    for line in markdown.splitlines():
        if line.startswith("| "):
            assert len(re.findall(r"(?<!\\)\|", line)) in (8, 9, 10, 6, 7, 11)
    latex = texts.latex(compared)
    assert HOSTILE not in "\n".join(line for line in latex.splitlines() if not line.startswith("%"))


def test_markdown_links_every_seed_to_its_file(tmp_path):
    place = tmp_path / "docs" / "page.md"
    text = texts.markdown(made(several(tmp_path / "results")), ["x.json: broken"], place.parent)
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) == 14, "seven runs in the table, and again in the list"
    assert all((place.parent / link).resolve().is_file() for link in links)
    lines = [line for line in text.splitlines() if line.startswith("| **good**")]
    assert len(lines) == 1 and "0.9167 [0.8753, 0.9581]" in lines[0]
    assert "degenerate, seed 1: one answer in all 60" in text and "x.json: broken" in text
    assert "foreword compare" in text and "--recipe" in text


def test_latex_is_a_tabular_that_needs_no_package(tmp_path):
    text = texts.latex(made(several(tmp_path)))
    assert text.count(r"\begin{tabular}{lrrrrr}") == text.count(r"\end{tabular}") == 1
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 6 and all(line.count(" & ") == 5 for line in rows)
    assert r"\textbf{good} & 3 & 0.9167 [0.8753, 0.9581]" in text
    assert not re.search(r"\\(top|mid|bottom)rule|usepackage", text)
    assert sum(line.startswith("% seed") for line in text.splitlines()) == 3
    assert texts.escaped("50 % of a_b & {c} − †") == r"50 \% of a\_b \& \{c\} $-$ \dag{}"


def test_json_has_every_number_with_the_runs_it_is_from(tmp_path):
    values = json.loads(json.dumps(texts.plain(made(several(tmp_path)), []), allow_nan=False))
    (one,) = values["tables"]
    rows = {row["name"]: row for row in one["rows"]}
    assert rows["good"]["metrics"]["accuracy"]["values"].keys() == {"0", "1", "2"}
    assert [run["left_out"] for run in rows["weak"]["runs"]] == [None, "one answer in all 60", None]
    for run in rows["good"]["runs"]:
        assert Path(run["file"]).is_file() and run["command"].startswith("foreword compare ")
        assert run["versions"]["torch"] == "2.13" and run["backbone_fingerprint"] == "d" * 64
    assert len(one["contests"]) == 6 and one["pareto"]["trained"] == ["hard", "good"]
    assert one["worst"][0]["answers"].keys() == {"hard", "weak", "good"} and "text" not in one["worst"][0]


def test_the_study_has_every_task_and_says_how_it_was_made(tmp_path):
    several(tmp_path / "results")
    write(tmp_path / "results", "alone-seed0", record(answers(3), task="other"))
    text = study(made(tmp_path / "results"), [], tmp_path / "study.md", "foreword compare results")
    assert "`foreword compare results` from 8 recorded runs on 2 task(s)" in text
    assert "## made-up" in text and "## other" in text
    assert "| made-up | 60 | accuracy | good | 3 | 0.9167 [0.8753, 0.9581] |" in text


def test_rows_that_tell_more_are_found(tmp_path):
    (one,) = made(several(tmp_path))
    found = disagreements(one)
    assert found and all(len(example.answers) == 3 for example in found)
    assert {example.row for example in found} <= set(range(20))
    lowest = worst(one)
    assert {example.row for example in lowest[:4]} == {0, 1, 2, 3}, "rows that every system gets wrong"
    assert lowest[0].right in ("bad", "good") and lowest[0].hash == f"{lowest[0].row:012x}"


@pytest.mark.parametrize(("value", "written"), [(0.0004, "< 0.001"), (0.0123, "0.012"), (1.0, "1.000"), (None, "–")])
def test_p_values_are_written_with_their_bound(value, written):
    assert wording.p_value(value) == written


def test_a_run_in_its_folder_is_repeated_from_its_own_settings(tmp_path):
    path = write(tmp_path / "a b-seed0", "result", record(answers(3)))
    (run,) = read([path]).runs
    assert "--recipe" in wording.command(run)
    (path.parent / "run.yaml").write_text("seed: 0\n", encoding="utf-8")
    assert wording.command(run) == f"foreword train '{path.parent.as_posix()}/run.yaml' --output runs/again"


def test_results_are_compared_without_torch():
    code = "import sys, foreword.comparison.pages, foreword.comparison.study, foreword.comparison.plan; "
    code += "sys.exit(bool({'torch', 'transformers', 'scipy'} & set(sys.modules)))"
    environment = os.environ | {"PYTHONPATH": str(Path(pages.__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", code], env=environment, timeout=60).returncode == 0


@pytest.mark.slow
def test_twelve_methods_with_three_seeds_are_a_small_page_in_seconds(tmp_path):
    for k in range(12):
        for seed in range(3):
            values = record(answers(3 + k), seed, method="hard" if k == 0 else f"method-{k}")
            part = values["test"]
            for name in ("predictions", "targets", "confidences"):
                part[name] *= 30
            part |= {"rows": 1800, "examples": " ".join(f"{i:012x}" for i in range(1800))}
            write(tmp_path, f"{k}-seed{seed}", values)
    start = time.process_time()
    text = pages.page(made(tmp_path, resamples=10_000))
    assert time.process_time() - start < 10
    assert len(text.encode()) < 1_000_000
