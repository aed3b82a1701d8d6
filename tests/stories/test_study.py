"""A study goes on where it ended, and its figures are those of its stories."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from foreword.cli.main import main
from foreword.errors import ConfigError, DataError
from foreword.stories import study, study_report
from foreword.stories.diversity import by_approach, compare, read
from foreword.stories.spec import make
from foreword.stories.writers import Draft
from support.story_writers import GOOD, SMALL, Scripted

LOST = GOOD.replace("friendly dragon", "old goat")
SPECS = {"forest": make(SMALL), "hill": make({**SMALL, "topic": "A hill"})}
APPROACHES = {"plain": "plain", "other": "varied"}


def make_study(folder: Path, writer: Scripted, n: int = 2) -> list[study.Made]:
    study.run(study.units(folder, SPECS, APPROACHES), writer, n=n, side=2)
    return study.collect(folder, SPECS, list(APPROACHES))


def test_the_package_holds_twenty_specs_that_can_be_met():
    found = study.load_specs()
    assert len(found) == 20 and "magical-forest" in found
    assert all(4 <= spec.age <= 6 for spec in found.values())
    assert sum(spec.length.max <= 200 for spec in found.values()) >= 15


def test_a_study_has_every_story_and_asks_for_none_twice(tmp_path):
    writer = Scripted(GOOD)
    made = make_study(tmp_path, writer)
    assert [(one.label, one.name, one.number) for one in made][:3] == [
        ("plain", "forest", 0), ("plain", "forest", 1), ("plain", "hill", 0)
    ]  # fmt: skip
    assert len(made) == 8
    asked = len(writer.seen)
    assert len(make_study(tmp_path, writer)) == 8 and len(writer.seen) == asked
    told = study.header(tmp_path, "plain")
    assert told["settings"] == {"model": "scripted"} and told["versions"]["python"] and told["approach"] == "plain"


def test_a_study_that_was_stopped_goes_on_with_what_it_has(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        make_study(tmp_path, Scripted(GOOD, GOOD, GOOD, KeyboardInterrupt()))
    before = study.collect(tmp_path, SPECS, ["plain", "other"], unfinished=True)
    assert len(before) == 3
    with pytest.raises(DataError, match="no unit"):
        study.collect(tmp_path, SPECS, ["plain", "other"])
    writer = Scripted(GOOD)
    made = make_study(tmp_path, writer)
    assert len(made) == 8 and len(writer.seen) == 5
    assert [one.number for one in made if one.label == "other" and one.name == "forest"] == [0, 1]


def test_a_story_that_an_interrupt_cut_short_is_written_anew(tmp_path):
    half = Draft("The fox", 2, 0.1, "interrupted")
    with pytest.raises(KeyboardInterrupt):
        make_study(tmp_path, Scripted(GOOD, half, KeyboardInterrupt()))
    assert len(study.collect(tmp_path, SPECS, ["plain", "other"], unfinished=True)) == 2
    writer = Scripted(GOOD)
    made = make_study(tmp_path, writer)
    assert len(writer.seen) == 7 and all(GOOD in one.raw for one in made)


def test_a_study_goes_on_from_stories_that_were_not_repaired_yet(tmp_path):
    specs = {"forest": SPECS["forest"]}
    todo = study.units(tmp_path, specs, {"plain": "plain"})
    with pytest.raises(KeyboardInterrupt):
        study.run(todo, Scripted(LOST, LOST, " A friendly dragon came home.", KeyboardInterrupt()), n=2)
    writer = Scripted(" A friendly dragon came home.")
    study.run(todo, writer, n=2)
    assert [request.lead != "" for request in writer.seen][:2] == [True, True], (
        "both are repaired, none is written anew"
    )


def test_a_line_that_an_end_cut_off_is_left_out(tmp_path):
    make_study(tmp_path, Scripted(GOOD))
    unit = tmp_path / "plain" / "forest"
    (unit / "stories.json").unlink()
    with (unit / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"event": "sto')
    assert len(make_study(tmp_path, Scripted(GOOD))) == 8


def test_a_unit_of_other_settings_is_refused(tmp_path):
    make_study(tmp_path, Scripted(GOOD))
    with pytest.raises(ConfigError, match="another n"):
        make_study(tmp_path, Scripted(GOOD), n=3)


def test_the_lines_are_what_compare_reads(tmp_path):
    made = make_study(tmp_path, Scripted(GOOD, LOST))
    lines = "".join(json.dumps(one.to_dict()) + "\n" for one in made)
    (tmp_path / "texts.jsonl").write_text(lines, encoding="utf-8")
    found = compare(by_approach(read([tmp_path / "texts.jsonl"])))
    assert found.specs == 2 and found.n == 2 and {side.name for side in found.sides} == {"plain", "other"}


def test_the_figures_tell_shots_repairs_and_best(tmp_path):
    answers = [f"Sure, here is a story:\n\n{GOOD}", LOST, LOST, LOST, GOOD, GOOD, GOOD, GOOD, LOST, " bomb bomb."]
    study.run(study.units(tmp_path, SPECS, {"plain": "plain", "other": "plain"}), Scripted(*answers), n=2)
    made = study.collect(tmp_path, SPECS, ["plain", "other"])
    found = study_report.summary(made, None)
    plain = found["approaches"]["plain"]
    assert found["specs"] == 2 and found["n"] == 2 and found["baseline"] == "plain"
    assert plain["stories"] == 4
    assert set(plain["by_spec"]) == {"forest", "hill"}
    raws = [one.raw_passed for one in made if one.label == "plain"]
    assert plain["single_shot"]["value"] == sum(raws) / 4
    assert plain["best"]["value"] >= plain["best_raw"]["value"]
    assert "ratio" not in plain and "vendi_words" in found["approaches"]["other"]["ratio"]
    shown = study_report.table(found)
    assert "`plain`" in shown and shown.count("\n") >= 8
    assert "clues" in study_report.failures(found)


def test_approaches_are_compared_at_equal_number(tmp_path):
    study.run(study.units(tmp_path, SPECS, {"plain": "plain"}), Scripted(GOOD), n=3)
    study.run(study.units(tmp_path, SPECS, {"other": "varied"}), Scripted(GOOD), n=2)
    found = study_report.summary(study.collect(tmp_path, SPECS, ["plain", "other"]), None)
    assert found["n"] == 2 and [side["stories"] for side in found["approaches"].values()] == [4, 4]
    study.run(study.units(tmp_path, {"forest": SPECS["forest"]}, {"third": "plain"}), Scripted(GOOD), n=2)
    assert study_report.summary(study.collect(tmp_path, SPECS, ["other", "third"]), None)["names"] == ["forest"]
    made = [
        one
        for one in study.collect(tmp_path, SPECS, ["other", "third"])
        if (one.label, one.name) != ("other", "forest")
    ]
    with pytest.raises(DataError, match="no spec"):
        study_report.summary(made, None)


def test_given_words_count_as_far_as_they_stand_in_the_text(tmp_path):
    made = make_study(tmp_path, Scripted(GOOD))
    varied = next(one.story for one in made if one.label == "other")
    assert varied.given and 0 < varied.given_share < 0.5
    plain = next(one.story for one in made if one.label == "plain")
    assert plain.given_share == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [("- a\n", "specs by name"), ("a b: {topic: x}\n", "no name"), ("a: {length: 3}\n", "topic"), ("a: [", "read")],
)
def test_specs_that_are_none_are_told(tmp_path, text, told):
    path = tmp_path / "specs.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=told):
        study.load_specs(path)


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(DataError, match="no unit"):
        study.collect(tmp_path, SPECS, ["plain"])


def test_an_unknown_spec_on_the_command_line_is_told(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["foreword", "story", "study", "--only", "nothing"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "there is no spec" in capsys.readouterr().err
