"""The whole comparison on made-up results: what is in the means, what is tested, what is refused or named."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.comparison import wording
from foreword.comparison.calibration import calibration
from foreword.comparison.options import Options
from foreword.comparison.results import read
from foreword.comparison.systems import degenerate
from foreword.comparison.table import Table, table, tables
from foreword.errors import ConfigError, DataError
from foreword.evaluation.statistics import holm
from support.results import TARGETS, answers, record, several, write

QUICK = Options(resamples=500, data=False)


def compared(folder, **options) -> Table:
    (made,), gaps = tables(read([folder]).runs, Options(**{"resamples": 500, "data": False} | options))
    assert gaps == ()
    return made


def row(made: Table, name: str):
    (found,) = [one for one in made.rows if one.name == name]
    return found


def test_means_and_intervals_are_over_the_seeds(tmp_path):
    made = compared(several(tmp_path))
    good = row(made, "good").estimates["accuracy"]
    values = [1 - (4 + seed) / 60 for seed in range(3)]
    low, high = scipy.stats.t.interval(0.95, 2, np.mean(values), scipy.stats.sem(values))
    assert (good.mean, good.low, good.high, good.n) == pytest.approx((np.mean(values), low, high, 3))
    assert made.best is row(made, "good") and made.metric == "accuracy" and made.size == 60


def test_a_run_of_one_answer_is_marked_and_in_no_mean_and_no_test(tmp_path):
    made = compared(several(tmp_path))
    weak = row(made, "weak")
    assert [(run.seed, why) for run, why in weak.system.left_out] == [(1, "one answer in all 60")]
    assert weak.estimates["accuracy"].values == ((0, pytest.approx(1 - 14 / 60)), (2, pytest.approx(1 - 16 / 60)))
    assert wording.seeds(weak) == "2 of 3" and not weak.degenerate
    write(tmp_path, "stuck-seed0", record([1] * 60, method="ia3"))
    made = compared(tmp_path)
    assert row(made, "stuck").degenerate and not row(made, "stuck").estimates
    assert "stuck" not in {name for one in made.contests for name in (one.first, one.second)}
    assert wording.raw(row(made, "stuck"), "accuracy", "test") == "0.7000"


@settings(max_examples=80, deadline=None)
@given(st.integers(20, 400), st.integers(1, 99), st.integers(0, 1))
def test_a_majority_run_is_always_caught_and_a_run_that_is_right_never(rows, percent, answer):
    ones = min(rows - 1, max(1, rows * percent // 100))
    targets = [1] * ones + [0] * (rows - ones)
    part = {"predictions": [answer] * rows, "targets": targets, "degenerate": False}
    assert degenerate(part) == f"one answer in all {rows:,}"
    assert degenerate({**part, "predictions": targets}) is None


def test_a_run_that_is_the_majority_but_for_a_row_is_caught():
    targets = [1] * 350 + [0] * 250
    assert degenerate({"predictions": [0] + [1] * 599, "targets": targets}) == "one answer in 599 of 600"
    assert degenerate({"predictions": [0] * 50 + [1] * 550, "targets": targets}) is None
    assert degenerate({"predictions": ["x"] * 9 + ["y"], "degenerate": False}) is None
    assert degenerate({"predictions": ["", "", ""], "degenerate": True}) == "one answer in all 3"


def test_the_baselines_are_always_there(tmp_path):
    made = compared(several(tmp_path))
    assert [one.name for one in made.rows[:3]] == ["majority", "random", "hard"]
    assert row(made, "majority").estimates["accuracy"].mean == pytest.approx(0.7)
    assert row(made, "random").estimates["accuracy"].mean == pytest.approx(0.7 * 0.6 + 0.3 * 0.4)
    (tmp_path / "hard-seed0.json").unlink()
    made = compared(tmp_path)
    assert row(made, "hard prompt").role == "missing"
    assert any("no hard prompt" in gap for gap in made.gaps)


def test_tests_are_over_the_rows_and_corrected_for_all_pairs(tmp_path):
    made = compared(several(tmp_path))
    assert len(made.contests) == 6, "good, weak, hard and the majority class"
    assert {one.n for one in made.contests} == {60}
    pair = next(one for one in made.contests if {one.first, one.second} == {"good", "hard"})
    expected = np.mean([1 - (4 + s) / 60 for s in range(3)]) - (1 - 20 / 60)
    sign = 1 if pair.first == "good" else -1
    assert sign * pair.difference == pytest.approx(expected)
    assert all(one.holm >= one.randomization for one in made.contests)
    assert wording.verdict(pair) == "good is better"


def test_a_pair_is_tested_over_the_seeds_that_both_learned_with(tmp_path):
    """With seed 1 `good` is bad, and `weak` learned nothing and leaves it out: that may not count for `weak` alone."""
    several(tmp_path)
    write(tmp_path, "good-seed1", record(answers(30), seed=1))
    made = compared(tmp_path)
    found = {frozenset((one.first, one.second)): one for one in made.contests}
    both = found[frozenset(("good", "weak"))]
    sign = 1 if both.first == "good" else -1
    assert both.without == (1,) and sign * both.difference == pytest.approx((14 + 16 - 4 - 6) / 2 / 60)
    assert wording.pair(both).endswith("(without seed 1)")
    alone = found[frozenset(("good", "hard"))]
    assert alone.without == () and "without" not in wording.pair(alone)
    assert found[frozenset(("weak", "majority"))].without == (1,)
    corrected = [one.holm for one in made.contests]
    assert corrected == pytest.approx(holm([one.randomization for one in made.contests]).tolist())
    assert any("weak: its mean is of 2 of 3 seeds; with the degenerate ones accuracy would be" in g for g in made.gaps)


def test_a_pair_without_a_common_seed_is_named(tmp_path):
    for seed, stuck in ((0, "a"), (1, "b")):
        for name in ("a", "b"):
            rows = [1] * 60 if name == stuck else answers(3)
            write(tmp_path, f"{name}-seed{seed}", record(rows, seed=seed, method=name))
    made = compared(tmp_path)
    assert any("no seed that both learned with" in gap for gap in made.gaps)
    assert {frozenset((one.first, one.second)) for one in made.contests} == {
        frozenset(("a", "majority")), frozenset(("b", "majority")),
    }  # fmt: skip


def test_the_best_of_a_loss_is_the_lowest(tmp_path):
    for name, loss, trained in (("small", 0.9, 10), ("large", 0.2, 1000), ("worse", 0.5, 2000)):
        values = record(answers(3), method=name)
        values["test"]["loss"], values["parameters"]["trained"] = loss, trained
        write(tmp_path, f"{name}-seed0", values)
    made = compared(tmp_path, metric="loss")
    assert [one.name for one in wording.front(made, "trained")] == ["small", "large"]


def test_training_on_other_rows_is_told(tmp_path):
    several(tmp_path)
    values = record(answers(3), seed=0, method="ia3")
    values["config"]["data"]["limit"], values["data"]["train"] = {"train": 48}, "9" * 64
    write(tmp_path, "ia3-seed0", values)
    assert any("the rows they were trained on" in note and "999999999999" in note for note in compared(tmp_path).notes)


def test_a_time_that_is_not_of_the_rows_is_no_latency(tmp_path):
    values = record(answers(3), plan={"route": "layers 0 to 5 lie ready for all rows (37 MB, float32)"})
    write(tmp_path, "a-seed0", values)
    assert row(compared(tmp_path), "a").cost.latency is None
    write(tmp_path, "a-seed0", values | {"latency_ms": 3.5})
    assert row(compared(tmp_path), "a").cost.latency == 3.5


def test_one_seed_has_no_interval_and_that_is_said(tmp_path):
    write(tmp_path, "a-seed0", record(answers(3)))
    write(tmp_path, "hard-seed0", record(answers(9), method="hard"))
    made = compared(tmp_path)
    assert row(made, "a").estimates["accuracy"].low is None
    assert any("one seed alone, so no interval over seeds: a, hard" in gap for gap in made.gaps)


def test_recipes_that_differ_are_no_seeds_of_each_other(tmp_path):
    for name, rate in (("x-seed0", 0.01), ("x-seed1", 0.1)):
        values = record(answers(3), seed=int(name[-1]))
        values["config"]["training"]["learning_rate"] = rate
        write(tmp_path, name, values)
    made = compared(tmp_path)
    names = {one.name for one in made.rows if one.system}
    assert names == {"x (learning_rate=0.01)", "x (learning_rate=0.1)"}
    assert "x (learning_rate=0.1): learning rate 0.1" in wording.rates(made)
    assert any("equal budgets are not claimed" in line for line in wording.rates(made))


def test_known_budgets_are_compared(tmp_path):
    for name, trials in (("a", 6), ("b", 6)):
        search = {"learning_rates": [0.001, 0.1], "trials": trials}
        write(tmp_path, f"{name}-seed0", record(answers(3), method=name, search=search))
    assert any("equal budgets: as many trials" in line for line in wording.rates(compared(tmp_path)))
    longer = record(answers(3), method="b", search={"learning_rates": [0.001, 0.1], "trials": 6})
    longer["config"]["training"]["epochs"] = 30
    write(tmp_path, "b-seed0", longer)
    lines = wording.rates(compared(tmp_path))
    assert "trained unequally: None epochs of None of 100 rows: a; 30 epochs of None of 100 rows: b" in lines
    assert not any("equal budgets:" in line for line in lines)
    write(tmp_path, "b-seed0", record(answers(3), method="b", search={"trials": 2}))
    lines = wording.rates(compared(tmp_path))
    assert any("unequal budgets" in line for line in lines)
    assert any(line.startswith("a: learning rates 0.001, 0.01, 0.1, 6 trials") for line in lines)


def changed(**changes):
    return record(answers(9), method="lora", **changes)


OTHER_ROWS = {"data": {"train": "a" * 64, "validation": "b" * 64, "test": "f" * 64}}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (changed(**OTHER_ROWS), "the rows they were scored on"),
        (
            changed(data={"train": "f" * 64, "validation": "b" * 64, "test": "c" * 64}),
            "the train rows of the same source",
        ),
        (changed(backbone_fingerprint="f" * 64), "the weights of tiny"),
        (changed(code={"version": "0.2.0", "source": "e" * 12}), "foreword's version"),
        (changed(code={"version": "0.1.0", "source": "f" * 12}), "foreword's code"),
    ],
)
def test_what_does_not_belong_together_is_refused_by_name_or_shown_with_a_mark(other, message, tmp_path):
    for seed in (0, 1):
        write(tmp_path, f"a-seed{seed}", record(answers(3), seed))
    path = write(tmp_path, "b-seed0", other)
    with pytest.raises(DataError) as caught:
        compared(tmp_path)
    assert message in str(caught.value) and str(path) in str(caught.value) and "--allow-mixed" in str(caught.value)
    made = compared(tmp_path, allow_mixed=True)
    known = {one.name: one.mark for one in made.rows if one.system}
    assert message in " ".join(made.notes)
    assert known == ({"a": "", "b": "†"} if "train rows" not in message else known)


def test_a_library_of_another_version_and_an_old_schema_are_told_and_not_refused(tmp_path):
    write(tmp_path, "a-seed0", record(answers(3)))
    write(tmp_path, "b-seed0", record(answers(5), method="lora", versions={"foreword": "0.1.0", "torch": "9"}))
    write(tmp_path, "c-seed0", record(answers(7), method="ia3", schema=1))
    halves = record(answers(6), method="bitfit")
    halves["config"]["training"] = {**halves["config"].get("training", {}), "precision": "bfloat16"}
    halves["train"] = {**halves.get("train", {}), "steps": 3}
    write(tmp_path, "d-seed0", halves)
    made = compared(tmp_path)
    assert any("the precision of their steps: float32" in note and "bfloat16" in note for note in made.notes)
    assert any("torch's version: 2.13" in note for note in made.notes)
    assert any("1 of 4 results are of schema 1" in note for note in made.notes)
    assert len(made.contests) == 10, "the right answers of one result serve the others on the same rows"


def test_old_results_without_data_say_what_cannot_be_tested(tmp_path):
    write(tmp_path, "a-seed0", record(answers(3), schema=1))
    made = compared(tmp_path)
    assert made.contests == ()
    assert any("no right answers are recorded" in gap for gap in made.gaps)
    assert row(made, "random").note
    again = compared(tmp_path, data=True)
    assert any("the data are not at hand" in gap for gap in again.gaps), "the source is made up"


def test_results_on_some_of_the_rows_are_tested_on_the_common_ones(tmp_path):
    for name in ("a", "b"):
        write(tmp_path, f"{name}-seed0", record(answers(3), method=name))
    part = record(answers(30), method="part", **OTHER_ROWS)
    order = [*range(40, 60), *range(10)]
    hashes = part["test"]["examples"].split()
    for name in ("predictions", "targets", "confidences"):
        part["test"][name] = [part["test"][name][k] for k in order]
    part["test"] |= {"rows": 30, "examples": " ".join(hashes[k] for k in order)}
    path = write(tmp_path, "part-seed0", part)
    made = compared(tmp_path, allow_mixed=True)
    assert {one.n for one in made.contests} == {30}
    assert any("the 30 test examples that all runs have in common" in gap for gap in made.gaps)
    pair = next(one for one in made.contests if (one.first, one.second) == ("a", "part"))
    assert pair.difference == pytest.approx((10 - 3) / 30), "the first ten rows are wrong, three of them for both"
    part["test"]["examples"] = " ".join(["f" * 12] * 30)
    path.write_text(json.dumps(part), encoding="utf-8")
    made = compared(tmp_path, allow_mixed=True)
    assert any("no common test examples are known" in gap for gap in made.gaps)
    assert {one.n for one in made.contests} == {60}, "the others are still tested"


def test_a_metric_that_some_runs_lack_is_a_named_gap(tmp_path):
    write(tmp_path, "a-seed0", record(answers(3)))
    other = record(answers(5), method="lora")
    del other["test"]["f1"]
    write(tmp_path, "b-seed0", other)
    made = compared(tmp_path)
    assert "b: 0 of 1 runs have f1" in made.gaps
    with pytest.raises(ConfigError, match="no result of made-up has the metric 'bleu'"):
        compared(tmp_path, metric="bleu")


def test_a_function_of_the_confusion_matrix_is_tested_by_resampling_it(tmp_path):
    made = compared(several(tmp_path), metric="f1")
    assert made.metric == "f1" and len(made.contests) == 6
    assert all(one.randomization is None for one in made.contests)


def test_validation_rows_can_be_compared_too(tmp_path):
    values = record(answers(3))
    values["validation"] = values["test"]
    write(tmp_path, "a-seed0", values)
    write(tmp_path, "b-seed0", record(answers(3), method="lora"))
    made = compared(tmp_path, split="validation")
    assert [one.name for one in made.rows if one.system] == ["a"]
    assert any("b-seed0.json: has no validation rows" in gap for gap in made.gaps)


def test_every_task_has_a_table_of_its_own(tmp_path):
    write(tmp_path, "a-seed0", record(answers(3)))
    write(tmp_path, "b-seed0", record(answers(3), task="other"))
    made, gaps = tables(read([tmp_path]).runs, QUICK)
    assert [one.task for one in made] == ["made-up", "other"] and gaps == ()


def test_a_task_that_cannot_be_compared_leaves_the_others(tmp_path):
    write(tmp_path, "a-seed0", record(answers(3)))
    other = record(answers(3), task="other")
    del other["test"]["f1"]
    write(tmp_path, "b-seed0", other)
    made, gaps = tables(read([tmp_path]).runs, Options(metric="f1", resamples=200, data=False))
    assert [one.task for one in made] == ["made-up"]
    assert gaps == ("other: no result of other has the metric 'f1'",)
    with pytest.raises(ConfigError, match="has the metric 'bleu'"):
        tables(read([tmp_path]).runs, Options(metric="bleu"))


def test_no_metric_at_all_is_told(tmp_path):
    values = record(answers(3))
    values["test"] = {"rows": 60, "predictions": TARGETS, "accuracy": float("nan")}
    write(tmp_path, "a-seed0", values)
    with pytest.raises(DataError, match="diverged"):
        table(read([tmp_path]).runs, QUICK)


def test_tags_are_tested_by_their_spans(tmp_path):
    tags = [["B-a", "O"], ["O", "O"], ["B-a", "I-a"]]
    for name, right in (("a", [1, 0, 1]), ("b", [0, 0, 1])):
        part = {
            "rows": 3, "span_f1": 2 * sum(right) / 4, "degenerate": False, "predictions": tags,
            "by_row": {"right": right, "predicted": [1, 0, 1], "gold": [1, 0, 1]}, "majority": {"span_f1": 0.0},
        }  # fmt: skip
        values = record(answers(3), method=name, kind="tagging")
        write(tmp_path, f"{name}-seed0", values | {"test": part, "labels": ["O", "B-a", "I-a"]})
    made = compared(tmp_path)
    assert made.metric == "span_f1"
    (pair,) = made.contests
    assert (pair.first, pair.second, pair.difference) == ("a", "b", pytest.approx(0.5))


def test_pareto_fronts_have_only_what_nothing_cheaper_beats(tmp_path):
    for name, trained, wrong in (("small", 10, 9), ("large", 1000, 3), ("waste", 5000, 5)):
        values = record(answers(wrong), method=name)
        values["parameters"]["trained"] = trained
        write(tmp_path, f"{name}-seed0", values)
    assert [one.name for one in wording.front(compared(tmp_path), "trained")] == ["small", "large"]


def test_calibration_is_the_distance_between_sure_and_right():
    found = calibration([0.95] * 10 + [0.55] * 10, [1] * 10 + [1] * 5 + [0] * 5)
    assert found.ece == pytest.approx(0.5 * 0.05 + 0.5 * 0.05)
    assert [(round(a, 2), b, n) for a, b, n in found.points] == [(0.55, 0.5, 10), (0.95, 1.0, 10)]
    assert calibration([0.0, 1.0], [0, 1]).ece == 0.0
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibration([1.2], [1])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40))
def test_ece_is_the_mean_over_bins_as_a_plain_loop_has_it(pairs):
    sure, right = zip(*pairs, strict=True)
    total = 0.0
    for k in range(10):
        inside = [(s, r) for s, r in pairs if (k / 10 < s or k == 0) and s <= (k + 1) / 10]
        if inside:
            total += abs(sum(r for _, r in inside) - sum(s for s, _ in inside))
    # Where rounding puts a confidence into the next bin, both are right; such edges are told apart by nobody.
    if all(abs(s * 10 - round(s * 10)) > 1e-9 for s in sure):
        assert calibration(sure, right).ece == pytest.approx(total / len(pairs))


def test_calibration_of_a_system_takes_all_its_seeds(tmp_path):
    made = compared(several(tmp_path))
    found = row(made, "good").calibration
    assert found.n == 180 and found.ece == pytest.approx(abs(0.9 - (1 - 15 / 180)))
