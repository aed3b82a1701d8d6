"""First passes in pieces: the same answers, and nobody waits for a whole prompt."""

import threading

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foreword.batch import Item
from foreword.config import GenerationOptions
from foreword.generation import generate
from foreword.serving.attention import routed
from foreword.serving.beginning import Beginning
from foreword.serving.decoding import Decoder
from foreword.serving.limits import Limits
from foreword.serving.metrics import Metrics
from foreword.serving.prompts import row_of_text
from foreword.serving.residents import Resident
from foreword.serving.writing import Writing
from generation.conftest import World

from .conftest import SOURCES
from .hearing import Answer, started

LONG = " ".join([SOURCES[1]] * 4)


def row_for(bank, resident, text):
    if resident is None:
        return row_of_text(bank.backbone, text)
    return resident.foreword.reader.item(resident.foreword.example(text), resident.key).rows[0]


def options(tokens=5):
    return GenerationOptions(max_new_tokens=tokens, eos_token_ids=())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_pieces_of_any_size_give_the_whole_rows_answers(served, data):
    bank, known = served
    names = data.draw(st.lists(st.sampled_from([None, *known]), min_size=1, max_size=4))
    tokens = data.draw(st.integers(1, 40))
    rows = [row_for(bank, known.get(name), data.draw(st.sampled_from([*SOURCES, LONG]))) for name in names]
    decoder, answers = Decoder(bank, Limits(prefill_tokens=tokens), Metrics()), []
    with routed(bank.backbone):
        for row, name in zip(rows, names, strict=True):
            answers.append(Answer())
            decoder.waiting.append(Writing(row, known.get(name), options(), answers[-1].tell))
        while decoder.busy:
            decoder.admit()
            decoder.step()
    for row, name, answer in zip(rows, names, answers, strict=True):
        assert answer.error is None
        assert answer.ids() == generate(bank, [Item((row,), name)], options())[0][0].ids


@pytest.mark.parametrize("begun", [False, True])
def test_one_that_went_while_it_waited_harms_nobody_though_its_foreword_is_gone(begun):
    """Two begin side by side; one's client leaves and its foreword is let go of; the other is answered as alone."""
    world = World("gpt2")
    (first, second), limits = [key for key in world.items if key is not None][:2], Limits(prefill_tokens=2)
    decoder, answers = Decoder(world.bank, limits, Metrics()), {key: Answer() for key in (first, second)}
    expected = generate(world.bank, [world.items[second]], options())[0][0].ids
    jobs = {}
    for key in (first, second):
        resident = Resident(key, None, (), None, world.bank.entry(key).injection, None, 0)
        jobs[key] = Writing(world.items[key].rows[0], resident, options(), answers[key].tell)
    one = Beginning(list(jobs.values()), None)
    decoder._beginnings.append(one)
    with routed(world.bank.backbone):
        if begun:
            decoder.admit()
            assert one.rows is not None and not one.ended
        jobs[first].cancelled = True
        decoder.cancel_gone()
        world.bank.remove(first)
        assert decoder.cached_bytes > 0
        while decoder.busy:
            decoder.admit()
            decoder.step()
    assert answers[second].error is None and answers[second].ids() == expected
    assert not answers[first].ids()


@pytest.mark.parametrize("family", ["gpt2", "opt"])
def test_other_families_and_kinds_of_injection_in_pieces(family):
    world = World(family)
    engine = started(world.bank, prefill_tokens=2)
    try:
        for key, item in world.items.items():
            injection = None if key is None else world.bank.entry(key).injection
            resident = None if key is None else Resident(key, None, (), None, injection, None, 0)
            answer = Answer()
            engine.submit([Writing(item.rows[0], resident, options(8), answer.tell)])
            assert answer.wait().ids() == generate(world.bank, [item], options(8))[0][0].ids
    finally:
        engine.stop()


def test_texts_under_way_get_a_token_between_two_pieces(served, monkeypatch):
    bank, _ = served
    seen, run, step = [], Beginning.run, Decoder._step
    monkeypatch.setattr(Beginning, "run", lambda self, *a: seen.append(len(self.jobs[0].rest)) or run(self, *a))
    monkeypatch.setattr(Decoder, "_step", lambda self, group: seen.append("step") or step(self, group))
    engine, short, long = started(bank, prefill_tokens=8), Answer(), Answer()
    late = row_of_text(bank.backbone, LONG)
    try:
        engine.submit([Writing(row_of_text(bank.backbone, "good"), None, options(60), short.tell)])
        while not short.pieces:
            threading.Event().wait(0.001)
        engine.submit([Writing(late, None, options(3), long.tell)])
        long.wait()
        short.wait()
    finally:
        engine.stop()
    pieces = [place for place, what in enumerate(seen) if what == len(late)]
    assert len(pieces) == -(-len(late) // 8) > 4
    assert all("step" in seen[a:b] for a, b in zip(pieces, pieces[1:], strict=False))


def test_a_short_prompt_behind_a_long_one_does_not_wait_for_all_of_it(served):
    bank, _ = served
    order, answers = [], [Answer(), Answer()]
    decoder = Decoder(bank, Limits(prefill_tokens=4), Metrics())
    for number, text in enumerate((LONG, "good")):

        def tell(event, n=number):
            order.append(n)
            answers[n].tell(event)

        decoder.waiting.append(Writing(row_of_text(bank.backbone, text), None, options(1), tell))
    with routed(bank.backbone), torch.no_grad():
        while decoder.busy:
            decoder.admit()
            decoder.step()
    assert order == [1, 0]


def test_what_fails_or_is_left_in_its_pieces_frees_its_place(served, monkeypatch):
    bank, _ = served
    run = Beginning.run

    def broken(self, bank, tokens):
        if self.rows.done and len(self.jobs[0].row) > 40:
            raise RuntimeError("in the middle")
        run(self, bank, tokens)

    engine = started(bank, prefill_tokens=8, slots=2)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(Beginning, "run", broken)
            failed, fine = Answer(), Answer()
            engine.submit([Writing(row_of_text(bank.backbone, LONG), None, options(), failed.tell)])
            engine.submit([Writing(row_of_text(bank.backbone, "good"), None, options(), fine.tell)])
            with pytest.raises(RuntimeError, match="middle"):
                failed.wait()
            assert len(fine.wait().ids()) == 5
        # left while it is being run: the third gets its slot
        jobs = [Writing(row_of_text(bank.backbone, LONG), None, options(20), lambda event: None) for _ in range(2)]
        engine.submit(jobs)
        for job in jobs:
            job.cancelled = True
        last = Answer()
        engine.submit([Writing(row_of_text(bank.backbone, LONG), None, options(), last.tell)])
        assert len(last.wait().ids()) == 5
    finally:
        engine.stop()
    assert engine.idle


def test_a_thread_that_ends_within_a_piece_tells_whose_it_was(served, monkeypatch):
    bank, _ = served
    monkeypatch.setattr(Beginning, "run", lambda *a: (_ for _ in ()).throw(SystemExit))
    engine, answer = started(bank), Answer()
    engine.submit([Writing(row_of_text(bank.backbone, "good"), None, options(), answer.tell)])
    with pytest.raises(RuntimeError, match="the engine ended"):
        answer.wait()


def test_memory_counts_what_begins(served):
    bank, _ = served
    decoder = Decoder(bank, Limits(prefill_tokens=4), Metrics())
    decoder.waiting.append(Writing(row_of_text(bank.backbone, LONG), None, options(), pytest.fail))
    assert decoder.cached_bytes == 0
    decoder.admit()
    assert decoder.cached_bytes > 0 and decoder.busy and not decoder.running
