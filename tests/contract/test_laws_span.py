"""The laws for answers that are parts of a text, which may be read in windows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from foreword.artifacts import storage
from foreword.batch import collate
from foreword.errors import ConfigError, DataError, TemplateError, Unsupported
from foreword.evaluation.spotting import best_span, found, span_of
from foreword.readouts.span import spots_in
from foreword.training.loop import Loop, Silent
from foreword.training.route import follow, route_of
from support.backbones import MASKED, ONE_STACK, TWO_STACKS, shared
from support.forewords import bank_of, close, gradients, grid, hidden, items, loud, make, near
from support.spots import CHOSEN, QUESTIONS, SENTENCES, finder, tagger

PAIRS = [*grid(CHOSEN, ONE_STACK), *grid(("prompt-after",), MASKED)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREWORD_CACHE", str(tmp_path))


def end_scores(bank, rows, side="right"):
    """`[2, N]` of each item over its own tokens, computed in one batch."""
    done = {}
    with torch.no_grad():
        for numbers, scores in bank.scores(collate(rows, bank.backbone.pad_id, side)):
            for number, own in zip(numbers, scores.split(2), strict=True):
                count = len(spots_in(rows[number].rows))
                assert bool(torch.isinf(own[:, count:]).all())
                done[number] = own[:, :count]
    return [done[number] for number in range(len(rows))]


@pytest.mark.parametrize(("family", "method"), PAIRS)
def test_tokens_are_read_where_they_stand_under_any_prompt(family, method, law):
    assembly = loud(finder(family, method))
    tokenizer, rows = assembly.backbone.tokenizer, items(assembly, QUESTIONS, "own")
    plain = items(finder(family, "linear-probe"), QUESTIONS)
    for item, bare, question in zip(rows, plain, QUESTIONS, strict=True):
        context, spots = question["context"], spots_in(item.rows)
        assert spots == spots_in(bare.rows), "a prompt moves no character"
        assert [spot.number for spot in spots] == list(range(len(spots)))
        assert context[spots[0].start : spots[-1].end] == context.strip()
        for row in item.rows:
            assert len(row) <= 32 and row.cut == 0
            for place, spot in zip(row.answers, row.spots, strict=True):
                assert row.soft[place] == -1
                read = tokenizer.decode([row.ids[place]]).strip().removeprefix("##")
                there = context[spot.start : spot.end]
                assert read in ("", "[UNK]") or not there.isascii() or "\ufffd" in read or read.lower() == there.lower()
        first, last = item.label
        answer = next(answer for answer in question["answers"] if answer in context)
        assert context[spots[first].start : spots[last].end].strip() == answer
    bank, weight = bank_of({"own": assembly}), assembly.readout.weight
    for side in ("left", "right"):
        states = iter(hidden(bank, rows, side))
        for scores, item in zip(end_scores(bank, rows, side), rows, strict=True):
            best = torch.full_like(scores, float("-inf"))
            for row in item.rows:
                own = next(states) @ weight.T
                for place, spot in zip(row.answers, row.spots, strict=True):
                    best[:, spot.number] = torch.maximum(best[:, spot.number], own[place])
            close([scores], [best])
    law(5)


@pytest.mark.parametrize(("family", "method"), PAIRS)
def test_a_batch_equals_single_rows_and_a_mixed_one_separate_runs(family, method, law):
    one, other = loud(finder(family, method, seed=1)), loud(finder(family, "v2-random"))
    bank = bank_of({"one": one, "other": other})
    mixed = [*items(one, QUESTIONS, "one"), *items(other, QUESTIONS, "other")]
    assert any(len(item.rows) > 1 for item in mixed), "some texts are read in windows"
    alone = [end_scores(bank, [item])[0] for item in mixed]
    for side in ("left", "right"):
        close(end_scores(bank, mixed, side), alone)
    separate = [found(bank, [item], 400)[0] for item in mixed]
    for one, other in zip(found(bank, mixed, 400), separate, strict=True):
        assert (one.text, one.start, one.end) == (other.text, other.start, other.end)
        assert one.probability == pytest.approx(other.probability, rel=1e-3)
    law(3)
    law(4)


@pytest.mark.parametrize("family", ONE_STACK)
def test_answers_of_every_kind_share_a_batch(family, law):
    tags, ends = loud(tagger(family, "prompt-middle")), loud(finder(family, "v2-random"))
    classes = loud(make(family, "prompt-text", "last", backbone=shared(family)))
    bank = bank_of({"tags": tags, "ends": ends, "classes": classes})
    parts = [items(tags, SENTENCES, "tags"), items(ends, QUESTIONS, "ends"), items(classes, owner="classes")]
    mixed = [item for three in zip(*parts, strict=True) for item in three]
    with torch.no_grad():
        together = bank.scores(collate(mixed, bank.backbone.pad_id))
        assert sorted(number for numbers, _ in together for number in numbers) == list(range(len(mixed)))
        for numbers, scores in together:
            [(_, separate)] = bank.scores(collate([mixed[number] for number in numbers], bank.backbone.pad_id))
            close([scores], [separate])
    law(4)


@pytest.mark.parametrize(("family", "method"), PAIRS)
def test_no_route_changes_the_loss_or_the_gradient(family, method, law):
    assembly = loud(finder(family, method))
    assembly.method.eval()
    rows = items(assembly, QUESTIONS)
    whole = Loop(assembly, rows, rows)
    whole.bank.whole = True
    slow, slow_gradients, measured = whole.backward(rows), gradients(assembly), whole.evaluate(rows)
    assert measured.metrics["loss"] == pytest.approx(slow, rel=1e-4)
    assert all(float(gradient.abs().max()) > 0 for gradient in slow_gradients.values())
    route = route_of(assembly, {"train": rows})
    routed = follow(route, assembly, {"train": rows})["train"]
    for parameter in assembly.trained().values():
        parameter.grad = None
    loop = Loop(assembly, routed, routed, route=route)
    assert loop.backward(routed) == pytest.approx(slow, rel=1e-4)
    near(gradients(assembly), slow_gradients)
    assert loop.evaluate(routed).predictions == measured.predictions
    law(8)


@pytest.mark.parametrize("family", ONE_STACK)
def test_what_is_saved_finds_as_before(family, law, tmp_path):
    assembly = loud(finder(family, "v2-random"))
    rows = items(assembly, QUESTIONS, "own")
    artifact = storage.read(storage.save(assembly, tmp_path / "kept", "own"))
    reader = artifact.attach(shared(family))
    again = [reader.item(question, "own") for question in QUESTIONS]
    assert again == rows
    bank = bank_of({"own": assembly})
    before = end_scores(bank, rows)
    bank.put("own", artifact.injection, reader.readout)
    assert all(torch.equal(one, other) for one, other in zip(end_scores(bank, again), before, strict=True))
    law(7)


class Enough(Exception):
    pass


class Watcher(Silent):
    def evaluated(self, step, metrics):
        assert list(metrics) == ["answer_f1", "exact_match", "loss"]
        if metrics["exact_match"] == 100.0:
            raise Enough


@pytest.mark.parametrize("method", ["linear-probe", "full", "prompt-text", "p-tuning-mlp", "v2-random"])
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_eight_questions_can_be_overfitted(family, method, law):
    settings = {"schedule": "constant", "learning_rate": 0.003 if method == "full" else 0.03, "batch_size": 8}
    long = {"readout": {"max_answer_length": 12}, "max_tokens": 4000}
    assembly = finder(family, method, max_steps=400, epochs=1000, evaluate_every=8, **long, **settings)
    rows = items(assembly, QUESTIONS)
    with pytest.raises(Enough):
        Loop(assembly, rows, rows, reporter=Watcher()).run()
    law(13)


def test_answers_are_legal_parts_of_their_text():
    assembly = loud(finder("bert", "v2-random"))
    bank, rows = bank_of({"own": assembly}), items(assembly, QUESTIONS, "own")
    for item, made in zip(rows, found(bank, rows, 400), strict=True):
        spots = spots_in(item.rows)
        assert made.text == item.source[made.start : made.end] and made.text
        inside = [spot for spot in spots if made.start <= spot.start and spot.end <= made.end]
        assert 1 <= len(inside) <= assembly.readout.max_answer_length
        assert 0 < made.probability <= 1


@pytest.mark.parametrize("longest", [1, 2, 9])
def test_the_best_span_is_the_best_of_all(longest):
    scores = torch.randn(2, 7, generator=torch.Generator().manual_seed(longest))
    legal = [(i, j) for i in range(7) for j in range(i, min(7, i + longest))]
    assert best_span(scores, longest) == max(legal, key=lambda pair: float(scores[0, pair[0]] + scores[1, pair[1]]))


def test_windows_share_their_stride_and_leave_nothing_out():
    assembly = finder("bert", "linear-probe")
    context = "good film " * 40
    item = assembly.reader.item({"context": context, "question": "Is it good?", "answers": ("film",)})
    numbers = [[spot.number for spot in row.spots] for row in item.rows]
    assert len(item.rows) > 3 and {number for one in numbers for number in one} == set(range(80))
    for row, one, after in zip(item.rows, numbers, numbers[1:], strict=False):
        assert len(row) == 32
        assert len(set(one) & set(after)) == 4 or after[-1] == 79
    assert item.label == (1, 1)
    assert assembly.reader.cut([item]).startswith("1 of 1 texts")


def test_an_answer_ends_with_its_accent_though_the_tokenizer_strips_it():
    assembly = finder("bert", "linear-probe")
    bank = bank_of({"own": assembly})
    item = assembly.reader.item({"context": "the cafe\u0301 was good", "question": "Is it good?"}, "own")
    spots = spots_in(item.rows)
    last = next(number for number, spot in enumerate(spots) if spot.end == len("the cafe"))
    scores = torch.zeros(2, len(spots))
    scores[0, last], scores[1, last] = 9.0, 9.0
    assert span_of(bank, item, scores).text == "e\u0301"


def test_a_text_without_tokens_has_the_empty_answer():
    assembly = loud(finder("bert", "linear-probe"))
    bank = bank_of({"own": assembly})
    empty = assembly.reader.item({"context": " ", "question": "Is it good?"}, "own")
    [made] = found(bank, [empty], 400)
    assert (made.text, made.start, made.end, made.probability) == ("", 0, 0, 0.0)
    full = assembly.reader.item(QUESTIONS[0], "own")
    both = found(bank, [full, empty], 400)
    assert both[1] == made and both[0].text == found(bank, [full], 400)[0].text


def test_what_does_not_go_together_is_refused():
    with pytest.raises(Unsupported, match="hard trains nothing, and a span readout"):
        finder("bert", "hard")
    with pytest.raises(ConfigError, match="are spans, and the readout linear gives classes"):
        make("bert", "full", "last", rows=QUESTIONS, labels=(), task="extractive-qa", template="{context}")
    for family in ("gpt2", "llama"):
        with pytest.raises(Unsupported, match="none of the words"):
            finder(family, "prompt-after")
    with pytest.raises(TemplateError, match="leaves out 'context'"):
        finder("bert", "full", template="{question}")
    assembly = finder("bert", "full", readout={"stride": 30})
    with pytest.raises(TemplateError, match="windows over it share 30"):
        assembly.reader.item({"context": "good film " * 40, "question": "Is it good?"})
    with pytest.raises(DataError, match="stands in its text"):
        assembly.reader.item({"context": "good", "question": "", "answers": ("bad",)})


@pytest.mark.parametrize("family", TWO_STACKS)
def test_a_decoder_points_at_no_text(family, law):
    with pytest.raises(Unsupported, match=rf"{family}.*encoder-decoder.*a part of it is read in the text"):
        finder(family, "prompt-text")
    law(5, "refused")
