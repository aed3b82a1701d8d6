"""The peer in an environment of its own: left out with a reason where that is not there, and free of foreword."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # `benchmarks` stands beside the source, and is not installed
    sys.path.append(str(ROOT))

from benchmarks.adapterhub import environment, given  # noqa: E402
from benchmarks.cases import HUB, find  # noqa: E402

from benchmarks import pipe, run  # noqa: E402


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FOREWORD_CACHE", str(tmp_path))
    return tmp_path


def a_place(folder: Path) -> Path:
    """What the environment's making would leave behind."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").touch()
    (folder / environment.STAMP).write_text(environment.REQUIREMENTS.read_text())
    return folder


def test_without_its_environment_the_case_is_skipped_with_the_command_that_makes_it() -> None:
    with pytest.raises(run.Skipped, match="python -m benchmarks.adapterhub.environment"):
        run.measure(find("mrpc-adapter"), run.Conditions(1, 1, 0.0, {}, {}))


def test_without_its_environment_another_case_is_run_without_it() -> None:
    said: list[str] = []
    left = run._possible(find("mrpc-lora"), said.append)
    assert set(left.sides) == {"ours", "trainer", "peft"} and left.checked == ("peft",)
    assert "without adapterhub: its environment is not there" in said[0]


def test_an_environment_is_whole_and_of_these_versions_or_missing(cache: Path) -> None:
    assert environment.missing() and environment.folder().is_relative_to(cache)
    folder = a_place(environment.folder())
    assert environment.missing() is None
    assert set(run._possible(find("mrpc-adapter"), lambda text: None).sides) == {"ours", "adapterhub"}
    (folder / environment.STAMP).write_text("adapters==1.0\n")
    assert "other versions" in (environment.missing() or "")


def test_its_worker_is_started_by_its_own_python_without_our_source() -> None:
    assert pipe._python("adapterhub") == str(environment.python()) and pipe._python("peft") == sys.executable
    own = pipe._own("adapterhub")
    assert own["PYTHONPATH"] == str(ROOT) and own["FOREWORD_BENCH_PYTHON"] == sys.executable
    assert pipe._own("peft") == {}


def test_what_runs_there_imports_nothing_of_foreword() -> None:
    """At import; and what is imported later is named here."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import benchmarks.adapterhub.peer, benchmarks.worker; "
        "sys.exit(any(name.split('.')[0] == 'foreword' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(ROOT)]).returncode == 0
    tree = ast.parse(Path(environment.__file__).with_name("peer.py").read_text(encoding="utf-8"))
    named = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    named |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert not any(name.startswith("foreword") for name in named)


def test_what_it_is_given_are_our_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.peer_models import Batches

    from benchmarks import common, peer_models

    rows = [{"input_ids": [0] * (1 + i % 7), "token_type_ids": [0] * (1 + i % 7), "labels": i % 2} for i in range(20)]
    monkeypatch.setattr(peer_models, "mrpc_rows", lambda settings: (rows, 0))
    monkeypatch.setattr(common, "named_model", lambda name: Path("a-model"))
    settings = {"batch": 8, "seed": 3}
    found, batches = given.given(settings), Batches(rows, settings)
    assert len(found["order"]) == 3 * given.EPOCHS
    for number, picked in enumerate(found["order"]):
        assert [rows[index] for index in picked] == batches.rows(number)


def test_every_case_that_names_it_can_do_without_it() -> None:
    cases = [case for case in run.CASES if "adapterhub" in case.sides]
    assert {case.name for case in cases} == {"mrpc-lora", "mrpc-adapter"}
    assert all("adapterhub" in case.optional and case.sides["adapterhub"] == HUB["adapterhub"] for case in cases)
