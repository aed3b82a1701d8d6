"""The load test: what it measures, and the command."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from foreword.cli.main import app
from foreword.errors import DataError, ForewordError
from foreword.serving import load


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50), st.sampled_from([1, 50, 90, 99, 100]))
def test_a_percentile_is_the_smallest_value_that_enough_are_not_above(values, share):
    found = load.percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= len(values) * share / 100
    assert sum(value < found for value in values) < len(values) * share / 100 or found == min(values)


def test_texts_and_labels_are_measured(writing):
    found = load.run(writing[0], ["lora", "judge"], 12, 4, ["good", "a bad film"], 5)
    assert found.done == 12 and found.failed == 0 and found.tokens >= 6
    assert len(found.first) == 6 and found.requests_per_second > 0
    facts = json.loads(json.dumps(found.facts()))
    assert facts["latency_seconds"]["p50"] <= facts["latency_seconds"]["p99"]
    assert len(found.table()) == 3


def test_errors_are_counted_by_what_they_say(writing):
    found = load.run(writing[0], ["judge"], 6, 2, [{"other": "x"}], 5)
    assert found.done == 0 and found.failed == 6
    assert list(found.errors) == ["400: an input lacks the text field 'text'; give text"]


def test_who_is_not_there_is_told():
    with pytest.raises(ForewordError, match="no answer from the server"):
        load.run("http://127.0.0.1:9", [], 1, 1, ["x"], 1)


def test_unknown_models_and_broken_inputs_are_told(writing, tmp_path):
    with pytest.raises(ForewordError, match="does not serve 'nobody'"):
        load.run(writing[0], ["nobody"], 1, 1, ["x"], 1)
    file = tmp_path / "inputs"
    for content in ("", "{broken"):
        file.write_text(content)
        with pytest.raises(DataError):
            load.inputs(file)
    file.write_text('good\n{"text": "bad"}\n')
    assert load.inputs(file) == ["good", {"text": "bad"}]


def test_the_command_prints_json(writing):
    ran = CliRunner().invoke(app, ["load-test", writing[0], "--model", "judge", "--requests", "4", "--json"])
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["done"] == 4
