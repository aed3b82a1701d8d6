"""Dynamic batches: every answer equals its own, whatever shares its pass."""

import random
import threading

import pytest
import torch

from foreword.bank import Bank
from foreword.batch import Item, collate
from foreword.errors import ConfigError
from foreword.serving import cards, residents
from foreword.serving.engine import Engine
from foreword.serving.limits import Limits
from foreword.serving.metrics import Metrics
from foreword.serving.oneshot import Asking, OneShot
from foreword.serving.prompts import row_of_text
from support.backbones import tiny
from support.forewords import ROWS
from support.spots import QUESTIONS, SENTENCES


@pytest.fixture(scope="module")
def judged(judges):
    bank = Bank(tiny("bert"))
    known = {}
    for name, card in cards.scan(judges).cards.items():
        known[name] = residents.read(name, card, judges, bank, 2**30, threading.Lock())
        bank.put(name, known[name].injection, known[name].foreword.reader.readout)
    return bank, known


def item_for(known, name, chance):
    resident = known[name]
    rows = {"class": ROWS, "tags": SENTENCES, "span": QUESTIONS}[resident.card.answer]
    example = {k: v for k, v in chance.choice(rows).items() if k in resident.foreword.reader.task.fields}
    return resident.foreword.reader.item(example, name)


def lines_of(resident, item):
    return {"class": None, "tags": len(item.rows[0].answers), "span": 2}[resident.card.answer]


def alone(bank, item, wants, lines):
    """What one request by itself is answered, without any of the code under test."""
    batch = collate([item], bank.backbone.pad_id)
    if wants == "vector":
        return bank.hidden(batch)[0, batch.soft[0] < 0].mean(0)
    [(_, scores)] = bank.scores(batch)
    return scores[0] if lines is None else scores


@torch.no_grad()
def test_every_answer_under_random_load_equals_its_own(judged):
    bank, known = judged
    chance = random.Random(3)
    asked, lock = [], threading.Event()
    for _ in range(200):
        if chance.random() < 0.15:
            item = Item((row_of_text(bank.backbone, chance.choice(ROWS)["text"], whole=True),))
            asked.append((item, "vector", None))
        else:
            name = chance.choice(list(known))
            item = item_for(known, name, chance)
            wants = "vector" if chance.random() < 0.1 and len(item.rows) == 1 else "scores"
            asked.append((item, wants, lines_of(known[name], item) if wants == "scores" else None))
    expected = [alone(bank, *one) for one in asked]
    engine = Engine(bank, Limits(batch_tokens=400), Metrics())
    answers: list = [None] * len(asked)
    left = [len(asked)]

    def tell(number, answer):
        answers[number] = answer
        left[0] -= 1
        if not left[0]:
            lock.set()

    engine.start()
    try:
        for number, (item, wants, lines) in enumerate(asked):
            engine.submit([Asking(item, wants, lambda a, n=number: tell(n, a), lines)])
        assert lock.wait(60)
    finally:
        engine.stop()
    for answer, own, (item, _, lines) in zip(answers, expected, asked, strict=True):
        assert not isinstance(answer, Exception), answer
        width = own.shape[-1]  # texts of other lengths in the batch make more columns, which mean nothing
        torch.testing.assert_close(answer[..., :width], own, atol=5e-5, rtol=1e-4)
        assert not lines or answer[..., width:].eq(-torch.inf).all(), item.owner
    text = engine.metrics.text().decode().splitlines()
    read = {line.split()[0]: float(line.split()[1]) for line in text if not line.startswith("#")}
    assert read["foreword:batch_forewords_sum"] / read["foreword:batch_forewords_count"] > 2


def test_a_pass_holds_what_is_about_as_long_as_the_oldest(judged):
    bank, _ = judged
    told = []
    shot = OneShot(bank, Limits(batch_tokens=120, batch_items=8), Metrics())
    for length in (4, 60, 5, 4, 58, 5):
        row = row_of_text(bank.backbone, " ".join(["good"] * length), whole=True)
        shot.waiting.append(Asking(Item((row,)), "vector", lambda a, n=length: told.append(n)))
    shot.run()
    assert sorted(told) == [4, 4, 5, 5]
    shot.run()
    assert sorted(told[4:]) == [60] or sorted(told[4:]) == [58, 60]
    while shot.waiting:
        shot.run()
    assert sorted(told) == [4, 4, 5, 5, 58, 60]


def test_one_that_fails_does_not_fail_its_company(judged):
    bank, known = judged
    chance = random.Random(0)
    shot = OneShot(bank, Limits(), Metrics())
    told = {}
    good = item_for(known, "labels/v2-random", chance)
    bad = Item(good.rows, "nobody")
    for number, item in enumerate([good, bad, good]):
        shot.waiting.append(Asking(item, "scores", lambda a, n=number: told.update({n: a})))
    shot.run()
    assert isinstance(told[1], ConfigError)
    torch.testing.assert_close(told[0], told[2])


def test_what_nobody_waits_for_is_not_run(judged):
    bank, known = judged
    shot = OneShot(bank, Limits(), Metrics())
    job = Asking(item_for(known, "labels/lora", random.Random(0)), "scores", pytest.fail)
    job.cancelled = True
    shot.waiting.append(job)
    shot.run()
    assert not shot.waiting


def test_scores_and_vectors_share_a_pass_and_equal_their_own(judged, monkeypatch):
    bank, known = judged
    runs = []
    forward = type(bank.backbone).forward
    monkeypatch.setattr(type(bank.backbone), "forward", lambda *a, **k: runs.append(1) or forward(*a, **k))
    shot = OneShot(bank, Limits(), Metrics())
    told = {}
    item, plain = item_for(known, "labels/v2-random", random.Random(0)), Item((row_of_text(bank.backbone, "good"),))
    shot.waiting += [
        Asking(item, "scores", lambda a: told.update(scores=a)),
        Asking(plain, "vector", lambda a: told.update(vector=a)),
    ]
    shot.run()
    assert len(runs) == 1
    torch.testing.assert_close(told["scores"], alone(bank, item, "scores", None).detach(), atol=5e-5, rtol=1e-4)
    torch.testing.assert_close(told["vector"], alone(bank, plain, "vector", None).detach(), atol=5e-5, rtol=1e-4)


def test_a_pass_that_fails_for_several_alone_is_told_in_the_log(judged, monkeypatch, caplog):
    """Its answers are right, one by one, and slow: nobody would ever know."""
    bank, known = judged
    plain, asked = Bank.scores, "what was asked"

    def failing(self, batch):
        if len(batch.owners) > 1:
            raise RuntimeError(asked)
        return plain(self, batch)

    name = next(name for name, one in known.items() if one.card.answer == "class")
    item, answers = item_for(known, name, random.Random(1)), []
    monkeypatch.setattr(Bank, "scores", failing)
    passes = OneShot(bank, Limits(), Metrics())
    passes.waiting = [Asking(item, "scores", answers.append) for _ in range(3)]
    passes.run()
    with torch.no_grad():
        expected = alone(bank, item, "scores", None)
    assert len(answers) == 3
    for answer in answers:
        torch.testing.assert_close(answer, expected)
    [told] = [record.getMessage() for record in caplog.records]
    assert "a pass of 3 failed, and is run one by one: RuntimeError" in told and asked not in told
