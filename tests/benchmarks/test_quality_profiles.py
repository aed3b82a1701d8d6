"""Profiles, time to quality and the compiled step, on a tiny encoder and thirty pairs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.folders import rows, write_rows

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # `benchmarks` stands beside the source, and is not installed
    sys.path.append(str(ROOT))

from benchmarks.cases import MRPC, find  # noqa: E402
from benchmarks.side import Skip  # noqa: E402

from benchmarks import compiled, page, profiles, quality, record  # noqa: E402
from foreword.errors import ForewordError  # noqa: E402


@pytest.fixture
def tiny(tmp_path: Path, bert_folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Settings of the MRPC cases on a tiny model and pairs of our own."""
    monkeypatch.setenv("FOREWORD_CACHE", str(tmp_path / "cache"))
    pairs = [{"text1": row["text"], "text2": row["text"][::-1], "label": row["label"]} for row in rows(40)]
    path = write_rows(tmp_path / "pairs.jsonl", pairs)
    columns = {"text1": "text1", "text2": "text2"}
    data = {"source": str(path), "columns": columns, "split": {"validation": 0.25, "test": 0.25}}
    return {**MRPC, "model": str(bert_folder), "data": data, "max_length": 48, "method": "p-tuning-v2", "layers": "all"}


# -- the matrix rate --------------------------------------------------------------------------------------------------


def test_a_profile_tells_stages_operations_and_their_share(tiny: dict[str, Any], tmp_path: Path) -> None:
    found = profiles.measure(replace(find("mrpc-v2"), settings=tiny), steps=2, watch=0.0)
    assert set(found["stages"]) == {"batch", "compile", "forward", "readout", "backward", "optimiser"}
    assert sum(found["stages"].values()) == pytest.approx(found["step"], rel=0.6)
    # counted and planned are two ways to the same: the plan leaves out what is not of the layers
    assert found["gflop"] == pytest.approx(found["gflop_planned"], rel=0.5)
    assert found["share_of_matrix_rate"] == pytest.approx(found["gflop"] / found["gflops"] / found["step"])
    record.write_json(tmp_path / "results" / "profile-mrpc-v2.json", found)
    text = page.made(tmp_path / "results")
    assert "## Against the matrix rate" in text and "backward" in text and "not measured" in text


def test_a_profile_is_no_case_of_its_own(tmp_path: Path) -> None:
    record.write_json(tmp_path / "profile-x.json", {"kind": "profile", "case": "x"})
    assert page.load(tmp_path) == {} and len(page.others("profile", tmp_path)) == 1


def test_a_staged_side_is_timed_by_its_stages() -> None:
    import time
    from contextlib import nullcontext

    from benchmarks.side import Side

    class Staged(Side):
        stage: Any = nullcontext

        def step(self, number: int) -> float:
            with self.stage("slow"):
                time.sleep(0.02)
            with self.stage("fast"):
                time.sleep(0.002)
            return 0.0

    found = profiles._staged(Staged(), 3)
    assert found["step"] > found["stages"]["slow"] > found["stages"]["fast"] > 0


def test_attention_is_counted() -> None:
    import torch
    from benchmarks.side import Side

    class Attends(Side):
        def step(self, number: int) -> float:
            one = torch.ones(1, 1, 8, 4, requires_grad=True)
            torch.nn.functional.scaled_dot_product_attention(one, one, one).sum().backward()
            return 0.0

    forward = 2 * 2 * 8 * 8 * 4 / 1e9
    assert profiles._operations(Attends(), 0, 1)[0] >= 3 * forward


# -- time to quality --------------------------------------------------------------------------------------------------


def a_run(seed: int, scores: list[float], **more: Any) -> dict[str, Any]:
    curve = [{"step": 10 * n, "validation.accuracy": score} for n, score in enumerate(scores, 1)]
    return {
        "seed": seed, "seconds": 600.0, "train": {"steps": 10 * len(scores)}, "curve": curve,
        "test": {"accuracy": 0.75}, "machine": {"cores": 2}, **more,
    }  # fmt: skip


def test_the_first_evaluation_at_the_target_counts(tmp_path: Path) -> None:
    record.write_json(tmp_path / "v2-seed0.json", a_run(0, [0.7, 0.8, 0.7, 0.9]))
    record.write_json(tmp_path / "v2-seed1.json", a_run(1, [0.7, 0.7], together=2))
    found = quality.ours(tmp_path, 0.76)
    first, second = found["runs"]
    assert (first["step"], first["minutes"], first["best"]) == (20, 5.0, 0.9)
    assert (second["step"], second["minutes"]) == (None, None)
    [line] = [line for line in page.table(found, []) if "ours, v2" in line]
    assert "| 1 of 2 seeds | 5.0 (5.0 to 5.0) | 20 | 10.0 (2 runs in one pass) | 0.7500 |" in line


def test_our_recorded_runs_can_be_read() -> None:
    found = quality.ours(quality.RUNS, quality.TARGET)
    assert {"p-tuning", "p-tuning-v2", "prompt-tuning"} <= {one["recipe"] for one in found["runs"]}


@pytest.mark.filterwarnings("ignore")  # of transformers, about what PEFT asks of it
@pytest.mark.parametrize("method", quality.PEERS)
def test_a_peer_runs_by_our_recipe_until_the_target(method: str, tiny: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("peft")
    own = {name: value for name, value in tiny.items() if name not in ("seed", "method")}
    changed = {**own, "tokens": 4, "epochs": 2, "batch": 8, "evaluate_every": None}
    found = quality.peer(method, 0, 2.0, watch=0.0, **changed)
    recipe = quality.settings_of(method, 0)
    assert found["settings"]["rate"] == tiny["rate"] and recipe["rate"] > tiny["rate"]
    assert [step for step, _, _ in found["curve"]] == [3, 6] and found["minutes"] is None
    assert 0 <= found["test"] <= 1
    early = quality.peer(method, 0, 0.0, watch=0.0, **changed)
    assert [step for step, _, _ in early["curve"]] == [3] and early["minutes"] > 0
    record.write_json(tmp_path / "out" / "quality.json", {"kind": "quality", "target": 2.0, "runs": []})
    record.write_json(tmp_path / "out" / "quality-peft.json", found)
    assert f"| PEFT, {method} | no, seed 0: " in page.made(tmp_path / "out")


def test_ours_beside_a_peer_ends_at_the_target_too(tiny: dict[str, Any], tmp_path: Path) -> None:
    changed = {
        "data": tiny["data"], "backbone": tiny["model"], "template.max_length": 48, "training.evaluate_every": 2,
        "training.epochs": 2, "training.batch_size": 8,
    }  # fmt: skip
    whole = quality.own("p-tuning-v2", 0, 2.0, watch=0.0, **changed)
    assert [step for step, _, _ in whole["curve"]] == [2, 4, 6] and whole["minutes"] is None
    seconds = [second for _, second, _ in whole["curve"]]
    assert 0 < seconds[0] < seconds[1] < seconds[2]
    early = quality.own("p-tuning-v2", 0, 0.0, watch=0.0, **changed)
    assert (early["step"], len(early["curve"])) == (2, 1) and early["minutes"] > 0
    beside = {"kind": "quality-peer", "method": "x", "seed": 0, "test": 0.5, "warnings": [], **early, "ours": whole}
    theirs, ours = page.table({"target": 2.0, "runs": []}, [beside])[-2:]
    assert theirs.startswith("| PEFT, x | yes, seed 0 | 0.0 | 2 |") and "| ours beside it, x | no, seed 0: " in ours
    assert theirs.count("|") == ours.count("|") == 7


def test_the_recipes_become_the_peers_settings() -> None:
    assert (quality.settings_of("p-tuning-v2", 3)["tokens"], quality.settings_of("p-tuning", 0)["tokens"]) == (16, 24)
    assert quality.settings_of("p-tuning-v2", 3)["seed"] == 3


# -- torch.compile ----------------------------------------------------------------------------------------------------


def test_where_there_is_no_compiler_it_is_told(monkeypatch: pytest.MonkeyPatch, tiny: dict[str, Any]) -> None:
    def none(*_: object) -> None:
        raise ForewordError("training.compile needs a C++ compiler, and there is none")

    monkeypatch.setattr(compiled, "need_compiler", none)
    with pytest.raises(Skip, match="C\\+\\+ compiler"):
        compiled.mrpc(tiny)


@pytest.mark.slow
def test_the_compiled_step_is_the_plain_one(tiny: dict[str, Any]) -> None:
    code = (
        "import json, sys; from benchmarks import ours, compiled; from benchmarks.side import Skip\n"
        "settings = json.loads(sys.argv[1])\n"
        "try:\n    fast = compiled.mrpc(settings)\n"
        "except Skip as reason:\n    print(json.dumps({'skip': str(reason)})); sys.exit()\n"
        "plain = ours.mrpc(settings)\n"
        "print(json.dumps([fast.check(3), plain.check(3), fast.once]))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "src")))}
    command = [sys.executable, "-c", code, json.dumps(tiny)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=500, env=environment)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout.splitlines()[-1])
    if isinstance(made, dict):
        pytest.skip(made["skip"])
    assert made[0] == pytest.approx(made[1], rel=1e-4) and made[2] > 0
