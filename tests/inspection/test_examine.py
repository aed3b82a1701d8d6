"""What the pieces say together: drift, effect, the nearest hard prompt, the map, JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from foreword.inspection import Wanted, inspect, plain
from foreword.inspection.drift import drift
from foreword.inspection.effect import moved_tokens
from foreword.inspection.outcomes import Outcome, difference, interval_of, measure, row_losses
from foreword.inspection.plane import plane
from foreword.inspection.subject import without_prompt
from foreword.inspection.vocabulary import Vocabulary
from support.backbones import bare, shared
from support.inspected import subject


def test_without_the_prompt_the_states_are_the_bare_model_s():
    one = subject("bert", "prompt-middle")
    items = without_prompt(one).items(one.items)
    row = items[0].rows[0]
    bank = one.bank(without_prompt(one).injection)
    from foreword.batch import collate

    with torch.no_grad():
        ours = bank.hidden(collate(items[:1], one.backbone.pad_id))
        theirs = bare("bert").bert(input_ids=torch.tensor([row.ids])).last_hidden_state
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_a_prompt_moves_the_text_and_an_empty_one_would_not():
    one = subject("bert", "prompt-vocabulary")
    found = moved_tokens(one)
    assert found.mean > 0.05 and found.most[0].change >= found.most[-1].change
    special = one.backbone.tokenizer.all_special_ids
    places = [pair for item in one.items for pair in zip(item.rows[0].ids, item.rows[0].soft, strict=True)]
    assert found.tokens == sum(soft < 0 and token not in special for token, soft in places)
    still = subject("bert", "lora", stirred=False)
    assert moved_tokens(still).mean == pytest.approx(0, abs=1e-6), "LoRA begins at doing nothing"


def test_drift_is_distance_and_angle():
    one = subject("bert", "prompt-vocabulary")
    start, now = one.initial, one.initial.detached()
    now.soft.vectors.mul_(-2)
    for moved in drift(start, now, one.backbone):
        assert moved.after == pytest.approx(2 * moved.before) and moved.distance == pytest.approx(3 * moved.before)
        assert moved.cosine == pytest.approx(-1, abs=1e-5)


def test_an_interval_has_a_width_where_all_rows_are_right_or_none_changes():
    right = Outcome("accuracy", np.ones(20), 0.1)
    found = interval_of(right)
    assert found.high == pytest.approx(1.0) and found.low == pytest.approx(0.8389, abs=1e-4), "Wilson, 20 of 20"
    same = difference(right, right)
    assert same.difference == 0 and same.interval.high == -same.interval.low == pytest.approx(0.1684, abs=1e-4)
    losses = Outcome("loss", np.full(20, 0.5), 0.5)
    assert difference(losses, losses).interval.high == 0, "a loss has no bound, and another row could do anything"


def test_a_prompt_of_words_loses_nothing_in_words():
    backbone = shared("bert")
    ids = Vocabulary.of(backbone).ids[5:9]
    one = subject("bert", "prompt-vocabulary", backbone=backbone)
    one.injection.soft.vectors.copy_(backbone.embedding.weight[list(ids)])
    found = inspect(one, wanted=Wanted(ablations=False))
    assert found.discrete.tokens == ids
    assert found.discrete.result.nothing
    assert len(found.discrete.random) == 3


def test_the_map_holds_the_largest_variance():
    vocabulary = Vocabulary.of(shared("bert"))
    found = plane(vocabulary.table[:3], vocabulary)
    values = torch.linalg.svdvals(vocabulary.table - vocabulary.table.mean(0)).square()
    assert found.explained == pytest.approx(float(values[:2].sum() / values.sum()), abs=1e-4)
    assert found.tokens.shape == (3, 2) and 0 <= found.inside <= 1


def test_texts_are_measured_by_their_loss():
    one = subject("gpt2", "prompt-vocabulary", readout="last")
    assert measure(one).metric == "accuracy"
    assert row_losses(one.bank(), one.items).mean() == pytest.approx(measure(one).loss, abs=1e-5)


def test_all_of_it_is_json_and_the_score_is_the_evaluation_s():
    one = subject("bert", "prompt-middle")
    found = inspect(one)
    again = json.loads(json.dumps(plain(found)))
    assert again["score"] == pytest.approx(one.foreword.evaluate(one.rows).metrics["accuracy"])
    assert len(again["words"]) == 4 and again["words"][0]["is_near"] in (True, False)
    assert {one["kind"] for one in again["ablations"]} == {"whole", "initial", "token"}
    initial = next(a for a in found.ablations if a.kind == "initial")
    assert initial.nothing, "it was not trained"


def test_without_rows_the_rest_is_shown():
    found = inspect(subject("bert", "prompt-middle", rows=[]))
    assert found.words and found.score is None and "no rows" in found.gaps["rows"]


@pytest.mark.parametrize("method", ["v2-random", "prompt-vocabulary"])
def test_of_an_encoder_decoder_what_there_is_is_shown(method):
    one = subject("t5", method, readout="words")
    found = inspect(one)
    assert {"attention", "effect"} <= set(found.gaps)
    assert {"whole", "initial", "token"} <= {own.kind for own in found.ablations}
    assert found.score == pytest.approx(one.foreword.evaluate(one.rows).metrics["accuracy"])
    assert len(found.moved) > 3
