"""The benchmark's own machinery, with sides that sleep in place of models."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # `benchmarks` stands beside the source, and is not installed
    sys.path.append(str(ROOT))

from benchmarks.cases import CASES, Case, find  # noqa: E402
from benchmarks.pipe import BenchmarkError, Process  # noqa: E402
from benchmarks.worker import serve  # noqa: E402

from benchmarks import page, record, run  # noqa: E402

FAKE = """
import time
from benchmarks.side import Side, Skip

class Sleeper(Side):
    once, about = 0.25, "it sleeps"
    def __init__(self, settings, seconds, values):
        self.seconds, self.values, self.mark = seconds, values, settings["mark"]
    def step(self, number):
        print("a library's chatter on standard output")
        with open(self.mark, "a") as file:
            file.write(f"{type(self).__name__}{self.seconds}:{number}\\n")
        time.sleep(self.seconds)
        return self.values[number % len(self.values)]

def fast(settings):
    return Sleeper(settings, 0.02, [1.0, 0.5, 0.25])

def slow(settings):
    return Sleeper(settings, 0.06, [1.0, 0.5, 0.25])

def other(settings):
    return Sleeper(settings, 0.06, [1.0, 0.9, 0.8])

def absent(settings):
    raise Skip("the data is on the moon")

def broken(settings):
    raise ValueError("no such thing")
"""


@pytest.fixture
def sides(tmp_path, monkeypatch):
    (tmp_path / "fake_sides.py").write_text(FAKE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    mark = tmp_path / "marks"

    def case(**sides: str) -> Case:
        return Case(
            name="sleep",
            title="sleeping",
            sides={name: f"fake_sides:{factory}" for name, factory in sides.items()},
            settings={"mark": str(mark)},
            targets={"peft": 2.0},
            memory={"peft": 100.0},
            checked=("peft",),
            steps=2,
            check_steps=2,
        )

    return case, mark


def conditions(pairs: int = 2, load: float = 0.1) -> run.Conditions:
    return run.Conditions(
        pairs, 1, load, {"cpu": "test", "cores": 1, "memory_gb": 1.0, "gflops": 10.0}, {"torch": "2"}, 0.0
    )


def a_record(**changed: object) -> dict:
    side = {"about": "made in a test", "once_seconds": 0.0, "median_seconds": 1.0, "peak_memory_mb": 100.0}
    theirs = side | {"median_seconds": 1.2, "peak_memory_mb": 200.0, "once_seconds": 3.0}
    return {
        "case": "mrpc-v2",
        "unit": "step",
        "notes": "a note",
        "date": "2026-01-02T03:04:05+00:00",
        "pairs": 5,
        "steps_a_block": 20,
        "threads": 2,
        "sides": {"ours": side, "peft": theirs},
        "ratios": {"peft": record.ratios([1.0, 1.0, 1.0], [1.1, 1.2, 1.3], 1.4)},
        "memory": {"peft": record.memory_share(100.0, 200.0, 0.9)},
        "check": {"peft": record.compared([1.0, 0.5], [1.0, 0.5], 1e-3)},
        "machine": {"cpu": "a chip", "cores": 2, "memory_gb": 8.0, "gflops": 131.0},
        "versions": {"torch": "2.13"},
        "load_before": 0.1,
        "others_before": None,
        "others_during": None,
        "warnings": [],
        **changed,
    }


# -- statistics -------------------------------------------------------------------------------------------------------


def test_ratios_are_taken_pair_by_pair():
    found = record.ratios([1.0, 2.0, 4.0], [3.0, 4.0, 16.0], 3.0)
    assert found["values"] == [3.0, 2.0, 4.0]  # the ratio of the medians would be 2
    assert (found["median"], found["min"], found["max"], found["met"]) == (3.0, 2.0, 4.0, True)


@pytest.mark.parametrize(("target", "met"), [(1.9, True), (2.0, True), (2.1, False)])
def test_a_target_is_met_from_its_value_on(target, met):
    assert record.ratios([1.0], [2.0], target)["met"] is met


def test_without_a_target_nothing_is_said_of_one():
    assert "met" not in record.ratios([1.0], [2.0])
    assert "met" not in record.memory_share(1.0, 2.0)


def test_ratios_need_as_many_of_theirs():
    with pytest.raises(ValueError):
        record.ratios([1.0, 2.0], [1.0])


@given(st.lists(st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)), min_size=1, max_size=9))
def test_the_median_lies_in_the_range_and_turns_round_with_the_sides(pairs):
    ours, theirs = zip(*pairs, strict=True)
    there, back = record.ratios(ours, theirs), record.ratios(theirs, ours)
    assert there["min"] <= there["median"] <= there["max"]
    assert there["min"] == pytest.approx(1 / back["max"])


def test_less_memory_is_better():
    assert record.memory_share(80.0, 100.0, 0.8)["met"] is True
    assert record.memory_share(81.0, 100.0, 0.8)["met"] is False


def test_curves_are_equal_within_the_tolerance_of_their_size():
    assert record.compared([10.0, 1.0], [10.009, 1.0], 1e-3)["equal"]
    far = record.compared([10.0, 1.0], [10.0, 1.01], 1e-3)
    assert not far["equal"] and far["difference"] == pytest.approx(0.01)


@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1.0], [1.0, 2.0]), ([1.0], [])])
def test_curves_that_cannot_be_compared_are_not_equal(ours, theirs):
    assert record.compared(ours, theirs, 1.0)["equal"] is False


def test_a_curve_that_is_not_a_number_is_not_equal():
    assert record.compared([float("nan")], [1.0], 1.0)["equal"] is False


# -- a busy machine ---------------------------------------------------------------------------------------------------


def test_a_quiet_machine_gives_no_warning():
    assert record.busy_warnings(0.7, 0.7, 0.0) == []
    assert record.busy_warnings(0.0, None, None) == []


def test_each_kind_of_business_is_told():
    assert "load average 0.71" in record.busy_warnings(0.71, None, None)[0]
    assert "before this case" in record.busy_warnings(0.0, 1.5, 0.0)[0]
    assert "during this case" in record.busy_warnings(0.0, 0.0, 1.5)[0]
    assert record.busy_warnings(2.0, 0.0, 0.0) == []
    assert len(record.busy_warnings(2.0, 2.0, 2.0)) == 2


def test_the_warning_is_in_the_record_and_in_the_output(sides, tmp_path):
    case, _ = sides
    said: list[str] = []
    [found], wrong = run.run([case(ours="fast", peft="slow")], conditions(1, load=3.2), tmp_path / "out", said.append)
    assert not wrong
    assert any("load average 3.20" in text for text in found["warnings"])
    assert any(text.startswith("WARNING") and "load average 3.20" in text for text in said)
    assert "load average 3.20" in page.render({found["case"]: found}, [case(ours="fast", peft="slow")])


def test_others_are_what_is_left_of_the_machines_work():
    assert record.others_during(10.0, 30.0, 15.0, 10.0) == pytest.approx(0.5)
    assert record.others_during(10.0, 20.0, 15.0, 10.0) == 0.0
    assert record.others_during(None, 20.0, 1.0, 1.0) is None


# -- writing ----------------------------------------------------------------------------------------------------------


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    target = tmp_path / "case.json"
    record.write_json(target, {"a": 1})

    def fails(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(record.os, "replace", fails)
    with pytest.raises(OSError, match="disk full"):
        record.write_json(target, {"a": 2})
    assert json.loads(target.read_text()) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["case.json"]


def test_a_record_is_written_in_readable_numbers(tmp_path):
    record.write_json(tmp_path / "new" / "case.json", {"a": [1.23456789], "b": {"c": 2, "d": None, "e": True}})
    assert json.loads((tmp_path / "new" / "case.json").read_text()) == {
        "a": [1.23457],
        "b": {"c": 2, "d": None, "e": True},
    }


# -- the pipe and the driver ------------------------------------------------------------------------------------------


def test_sides_take_turns_and_the_order_is_swapped(sides):
    case, mark = sides
    found = run.measure(case(ours="fast", peft="slow"), conditions(pairs=2))
    a, b = "Sleeper0.02:", "Sleeper0.06:"
    expected = [a + "0", a + "1", b + "0", b + "1"]  # the check, which warms up
    expected += [a + "2", a + "3", b + "2", b + "3"]  # the first pair
    expected += [b + "4", b + "5", a + "4", a + "5"]  # the second, in the other order
    assert mark.read_text().split() == expected
    assert len(found["ratios"]["peft"]["values"]) == 2
    assert found["ratios"]["peft"]["median"] > 1.2  # 3, had the machine nothing else to do
    assert found["sides"]["ours"]["median_seconds"] >= 0.02
    assert found["sides"]["ours"]["once_seconds"] == 0.25
    assert found["sides"]["ours"]["losses"] == [[0.25, 1.0], [0.5, 0.25]]
    assert found["sides"]["peft"]["peak_memory_mb"] > 5
    assert found["check"]["peft"]["equal"] and found["check"]["peft"]["difference"] == 0.0
    assert found["memory"]["peft"]["met"]


def test_unequal_losses_are_found(sides):
    case, _ = sides
    found = run.measure(case(ours="fast", peft="other"), conditions(pairs=1))
    assert not found["check"]["peft"]["equal"]
    assert found["check"]["peft"]["difference"] == pytest.approx(0.4)


def test_a_case_that_cannot_be_run_is_left_out_with_its_reason(sides, tmp_path):
    case, _ = sides
    said: list[str] = []
    records, wrong = run.run([case(ours="absent", peft="slow")], conditions(), tmp_path / "out", said.append)
    assert (records, wrong) == ([], [])
    assert "the data is on the moon" in said[-1]
    assert not (tmp_path / "out").exists()


def test_a_side_that_fails_is_named_and_keeps_no_other_case(sides, tmp_path):
    case, _ = sides
    good = replace(case(ours="fast", peft="slow"), name="good")
    bad = case(ours="fast", peft="broken")
    records, wrong = run.run([bad, good], conditions(1), tmp_path / "out", lambda text: None)
    assert [one["case"] for one in records] == ["good"]
    assert len(wrong) == 1 and "peft" in wrong[0] and "no such thing" in wrong[0]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.json"]


def test_an_order_to_a_worker_that_is_not_prepared_is_an_error():
    with Process("ours", 1) as worker, pytest.raises(BenchmarkError, match="no side is prepared"):
        worker.ask("block", start=0, count=1)


def test_a_worker_answers_a_line_with_a_line():
    answers = io.StringIO()
    serve(io.StringIO('{"do": "facts"}\n{"do": "facts"}\n'), answers)
    assert [set(json.loads(line)) for line in answers.getvalue().splitlines()] == [{"memory_mb", "cpu_seconds"}] * 2


# -- the command line -------------------------------------------------------------------------------------------------


def test_quick_keeps_nothing(sides, tmp_path, monkeypatch, capsys):
    case, _ = sides
    monkeypatch.setattr(run, "CASES", (case(ours="fast", peft="slow"),))
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(run, "conditions_of", lambda pairs, threads, watch: conditions(pairs))
    monkeypatch.setattr(page, "write", lambda *_: pytest.fail("the page was written"))
    assert run.main(["--quick", "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)
    assert (found["pairs"], found["steps_a_block"]) == (1, 2)
    assert not (tmp_path / "results").exists()


def test_the_cases_are_listed(capsys):
    assert run.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [case.name for case in CASES]


@pytest.mark.parametrize("given", [["--pairs", "4"], ["--steps", "0"], ["--threads", "0"]])
def test_what_would_be_no_measurement_is_refused(given):
    with pytest.raises(SystemExit):
        run.arguments(given)


def test_an_unknown_case_is_answered_with_the_known_ones(capsys):
    assert run.main(["--case", "nonsense"]) == 2
    assert "mrpc-v2" in capsys.readouterr().err


# -- the cases --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_holds_together(case):
    assert find(case.name) is case  # no name twice
    assert "ours" in case.sides and len(case.sides) > 1
    assert {*case.targets, *case.memory, *case.checked} <= set(case.sides) - {"ours"}
    for factory in case.sides.values():
        module, _, name = factory.partition(":")
        source = ROOT.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8")
        assert f"\ndef {name}(" in source
    json.dumps(dict(case.settings))


# -- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_tells_ratio_range_memory_and_what_is_weaker(tmp_path):
    (tmp_path / "results").mkdir()
    record.write_json(tmp_path / "results" / "mrpc-v2.json", a_record())
    page.write(tmp_path / "results", tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "| peft | ≥ 1.4 | 1.20 (1.10 to 1.30) (weaker) | 1.2 / 1 | 200 / 100 |" in text
    assert "against peft: 1.20 where 1.4 was asked, 14% short." in text
    assert "0.50 of theirs, at most 0.9 asked\n" in text
    assert "once: 3.0 s" in text and "a note" in text
    assert "a chip, 2 cores, 8 GB, 2 threads a side; torch 2.13" in text
    assert "Not measured: mrpc-v2-top" in text


def test_the_page_says_so_when_all_was_met():
    case = find("mrpc-v2")
    text = page.render({"mrpc-v2": a_record(ratios={"peft": record.ratios([1.0], [2.0], 1.4)})}, [case])
    assert "2.00 (2.00 to 2.00) |" in text and "(weaker)" not in text


def test_the_page_warns_where_the_machine_was_busy():
    text = page.render({"mrpc-v2": a_record(load_before=2.0)})
    assert "> **mrpc-v2: the machine was busy before the run: load average 2.00.**" in text
    assert "Not to be relied upon" not in page.render({"mrpc-v2": a_record()})


def test_the_page_shows_unequal_losses_and_counts_them_as_weaker():
    text = page.render({"mrpc-v2": a_record(check={"peft": record.compared([1.0], [2.0], 1e-3)})})
    assert "(not equal)" in text and "the first losses are not equal" in text


def test_the_page_of_no_records_names_every_case_as_not_measured():
    text = page.render({})
    assert text.count("not measured") == len(CASES)
    for case in CASES:
        assert case.title in text


def test_the_page_that_is_kept_is_the_one_that_the_records_give():
    assert page.PAGE.read_text(encoding="utf-8") == page.made()
