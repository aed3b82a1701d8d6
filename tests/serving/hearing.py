"""Requests that are handed to an engine, and what it tells of them."""

from __future__ import annotations

import random
import threading
import time

from foreword.config import GenerationOptions
from foreword.serving import cards, residents
from foreword.serving.engine import Engine
from foreword.serving.limits import Limits
from foreword.serving.metrics import Metrics
from foreword.serving.prompts import row_of_text
from foreword.serving.writing import Piece

from .conftest import SOURCES


class Answer:
    """Collects what one request is told."""

    def __init__(self):
        self.pieces, self.error, self.done = [], None, threading.Event()
        self.left = 1

    def tell(self, event):
        if isinstance(event, Piece):
            self.pieces.append(event)
            self.left -= event.finished is not None
        else:
            self.error, self.left = event, 0
        if self.left <= 0:
            self.done.set()

    def wait(self):
        assert self.done.wait(60)
        if self.error is not None:
            raise self.error
        return self

    def text(self, choice=0):
        return "".join(piece.text for piece in self.pieces if piece.choice == choice)

    def ids(self, choice=0):
        return tuple(token.id for piece in self.pieces if piece.choice == choice for token in piece.tokens)


def resident_of(bank, root, name):
    card = cards.read_card(name, root / name)
    made = residents.read(name, card, root, bank, 2**30, threading.Lock())
    bank.put(name, made.injection, made.foreword.reader.readout)
    return made


def started(bank, **limits):
    engine = Engine(bank, Limits(**limits), Metrics())
    engine.start()
    return engine


def asks(bank, known, count, seed):
    """Random requests: a foreword or none, and options."""
    chance = random.Random(seed)
    for number in range(count):
        name = chance.choice([None, *known])
        text = chance.choice(SOURCES)
        tokens = chance.randint(1, 14)
        if chance.random() < 0.4:
            options = GenerationOptions(
                max_new_tokens=tokens, do_sample=True, temperature=chance.choice([0.7, 1.3]), seed=number,
                top_p=chance.choice([None, 0.9]), top_k=chance.choice([None, 20]),
            )  # fmt: skip
        else:
            options = GenerationOptions(max_new_tokens=tokens, stop_strings=chance.choice([(), ("e",), ("th", "is")]))
        resident = None if name is None else known[name]
        if resident is None:
            row = row_of_text(bank.backbone, text)
        else:
            reader = resident.foreword.reader
            row = reader.item(resident.foreword.example(text), name).rows[0]
        yield row, resident, options, chance.choice([1, 1, 3]) if options.do_sample else 1


def wait_for(what):
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.005)
