"""The server's benchmark: its page, its verdicts, its floor, its line through a soak."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # `benchmarks` stands beside the source, and is not installed
    sys.path.append(str(ROOT))

from benchmarks.cases import Case  # noqa: E402
from benchmarks.serving import floor, page, requests, run, soak  # noqa: E402
from benchmarks.serving.cases import CASES, Asked, Figures, find  # noqa: E402

from benchmarks import record  # noqa: E402
from support.backbones import tiny  # noqa: E402

COMMON = {
    "date": "2026-01-02T03:04:05+00:00", "threads": 2, "load_before": 0.1, "others_before": 0.0, "others_during": 0.1,
    "machine": {"cpu": "a chip", "cores": 2, "memory_gb": 8.0, "gflops": 131.0}, "versions": {"torch": "2.13"},
    "warnings": [],
}  # fmt: skip


def pair(**changed):
    side = {"about": "made in a test", "median_seconds": 0.5, "peak_memory_mb": 100.0}
    case = find("classify-64")
    peers = [name for name in case.sides if name != "ours"]
    return {
        "case": case.name, "unit": case.unit, "notes": "a note", "pairs": 5, "steps_a_block": 6,
        "settings": dict(case.settings),
        "sides": {"ours": side, **{name: side | {"median_seconds": 4.0} for name in peers}},
        "ratios": {peers[0]: record.ratios([0.5], [4.5], 8.0), peers[1]: record.ratios([0.5], [3.5], 8.0)},
        "check": {name: {"equal": True, "difference": 0.0} for name in peers},
        "figures": {"floor": {"unit": "a window", "gflop": 10.0, "gflops": 100.0, "seconds": 0.1}},
        **COMMON, **changed,
    }  # fmt: skip


def figures(**told):
    case = find("folder-10000")
    asked = [run._verdict(one, told) for one in case.asked]
    return {"case": case.name, "kind": "figures", "notes": "", "figures": told, "asked": asked, **COMMON}


def test_the_page_is_what_the_command_makes():
    assert page.PAGE.read_text(encoding="utf-8") == page.render(page.load())


def test_what_is_weaker_is_told_and_what_is_not_there_too():
    made = page.render({"classify-64": pair(), "folder-10000": figures(start_seconds=11.0, resident_share=0.5)})
    assert "9.00 (9.00 to 9.00) |" in made and "7.00 (7.00 to 7.00) (weaker)" in made
    assert "8 / 64 requests" in made and "| 100 ms | 500 ms | 5.0 |" in made
    assert "asked of start_seconds: at most 10; WEAKER" in made and "asked of resident_share: at most 1; met" in made
    assert made.count("not measured") == len(CASES) - 2 + 1
    skipped = {"case": "generate-batch", "kind": "skipped", "title": "x", "reason": "no such thing here"}
    assert "left out: no such thing here" in page.render({"generate-batch": skipped})
    other = pair(check={"peft, grouped": {"equal": False}}, warnings=["the machine was busy"])
    assert "NOT EQUAL" in page.render({"classify-64": other})
    assert "classify-64: the machine was busy" in page.render({"classify-64": other})
    assert any("ANSWERS DIFFER" in line for line in page.case_lines(other))


@pytest.mark.parametrize(("value", "met"), [(9.9, True), (10.0, True), (10.1, False)])
def test_a_bound_holds_up_to_its_value(value, met):
    assert run._verdict(Asked("a.b", most=10.0), {"a": {"b": value}})["met"] is met
    assert run._verdict(Asked("a.b", least=10.0), {"a": {"b": value}})["met"] is (value >= 10)


def test_every_case_has_a_small_form_and_sides_that_exist():
    import importlib

    for case in CASES:
        small = run.quick(case)
        assert small.settings != case.settings or "forewords" not in case.settings
        places = case.sides.values() if isinstance(case, Case) else [case.side]
        for place in places:
            module, _, name = place.partition(":")
            assert callable(getattr(importlib.import_module(module), name))
        if isinstance(case, Figures):
            assert set(case.quick) <= set(case.settings)
    with pytest.raises(KeyError, match="classify-64"):
        find("nothing")


def test_too_few_pairs_are_not_recorded(capsys):
    with pytest.raises(SystemExit):
        run.arguments(["--pairs", "4"])
    assert run.arguments(["--pairs", "1", "--quick"]).pairs == 1
    assert run.main(["--case", "nothing"]) == 2


def test_texts_are_those_of_their_seed():
    assert requests.short_texts(5, 1) == requests.short_texts(5, 1) != requests.short_texts(5, 2)
    assert len(requests.long_text(100).split()) >= 100


@torch.no_grad()
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_the_floor_is_what_the_products_of_a_pass_come_to(family):
    from torch.utils.flop_counter import FlopCounterMode

    backbone = tiny(family)
    ids = torch.arange(12)[None]
    with FlopCounterMode(display=False) as counted:
        backbone.forward(backbone.embed(ids), torch.ones_like(ids), ids, torch.zeros_like(ids))
    shape, whole = backbone.geometry, floor.row_operations(backbone, 12, 0, 12)
    scores = shape.layers * 4 * 12 * 12 * shape.heads * shape.head_size  # torch does not count these on this device
    assert whole == pytest.approx(counted.get_total_flops() + scores, rel=0.001)
    assert floor.row_operations(backbone, 12, 0, 1) < whole < floor.row_operations(backbone, 12, 4, 12)
    assert floor.step_operations(backbone, 2, 5) == 2 * floor.step_operations(backbone, 1, 5)


def test_a_soak_tells_memory_by_minute_and_its_line():
    heard = soak.Heard()
    heard.done.update({"write": 7, "leave": 3})
    heard.failures["500 instead of 200"] += 2
    heard.memory = [(5.0 * n, 300.0 if n < 36 else 400 + 2.0 * n / 12) for n in range(120)]
    told = soak.figures(heard, 10)
    assert told["leak_mb_per_minute"] == pytest.approx(2.0) and told["from_minute"] == 4
    assert len(told["memory_mb_by_minute"]) == 10 and told["memory_mb_by_minute"][0] == 300
    assert (told["failures"], told["requests"], told["left_early"]) == (2, 10, 3)
    made = page.render({"soak": {"case": "soak", "kind": "figures", "notes": "", "figures": told, **COMMON}})
    assert "failures: 2" in made and "rises by 2.00 MB a minute" in made
