"""What must hold of the source itself: sizes, quick imports, no machine's own paths."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "foreword"
MODULES = sorted(SOURCE.rglob("*.py"))
MOST_LINES = 400
HEAVY = ("torch", "transformers", "scipy", "sklearn", "pandas", "pyarrow", "datasets")

# Written in pieces, so that this file does not hold what it looks for.
HOSTS = ("pypi" + ".org", "python" + "hosted", "download.py" + "torch", "anaconda" + ".org", "index" + "-url")
MACHINE_PATHS = ("/wo" + "rk/", "/ho" + "me/", "/Us" + "ers/", "/ro" + "ot/", "/op" + "t/", "C:" + "\\")
TEXT = {".py", ".toml", ".md", ".yaml", ".yml", ".json", ".txt", ".j2", ".cfg", ".sh", ".html", ""}
OURS = ("src", "tests", "recipes", "results", "docs", "scripts", "benchmarks", "examples", ".ci")


def loaded_by(code: str) -> set[str]:
    """The heavy packages that are loaded after `code` has run in a fresh interpreter."""
    report = f"import sys; sys.stderr.write('LOADED ' + ' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.rpartition("LOADED")[2].split())


def project_files() -> list[Path]:
    inside = [p for folder in OURS for p in (ROOT / folder).rglob("*")]
    found = [p for p in [*ROOT.iterdir(), *inside] if p.is_file() and p.suffix in TEXT]
    return sorted(p for p in found if "__pycache__" not in p.parts and p.name != ".git")


def test_there_is_something_to_look_at():
    assert len(MODULES) > 5
    assert ROOT / "pyproject.toml" in project_files()


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_modules_are_short(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines < MOST_LINES, f"{lines} lines: split it by what it is about"


def test_the_package_is_imported_without_the_heavy_libraries():
    assert loaded_by("import foreword") == set()


def test_help_is_printed_without_the_heavy_libraries():
    code = (
        "import sys\n"
        "sys.argv = ['foreword', '--help']\n"
        "from foreword.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code"
    )
    assert loaded_by(code) == set()


def test_metrics_and_report_are_imported_without_the_heavy_libraries():
    names = ("metrics", "statistics", "baselines", "report")
    assert loaded_by("; ".join(f"import foreword.evaluation.{name}" for name in names)) == set()


def test_the_probe_sees_what_is_loaded():
    assert loaded_by("import scipy") == {"scipy"}


def test_no_file_names_a_registry_or_a_machine():
    wrong = re.compile("|".join(re.escape(word) for word in HOSTS) + "|" + "|".join(
        rf"(?<![\w.~:-]){re.escape(path)}" for path in MACHINE_PATHS
    ))  # fmt: skip
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in project_files()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if wrong.search(line)
    ]
    assert found == []


def test_no_star_imports_no_executed_text_no_pickles():
    banned = re.compile(r"^\s*from \S+ import \*|(?<![\w.])(?:eval|exec)\(|pickle\.load|torch\.load\(")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in MODULES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if banned.search(line)
    ]
    assert found == []
