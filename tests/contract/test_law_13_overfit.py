"""Law 13: eight examples can be overfitted."""

from __future__ import annotations

import pytest

from foreword.training.loop import Loop, Silent
from support.backbones import shared
from support.forewords import METHODS, TRAINED, grid, items, make

MOST_STEPS = 400


class Enough(Exception):
    pass


class Watcher(Silent):
    """Stops a run as soon as all its rows are right."""

    def kept(self, done: int, rows: int) -> None: ...

    def evaluated(self, step: int, metrics: dict[str, float]) -> None:
        if metrics["accuracy"] == 1.0 or metrics["loss"] < 0.1:
            raise Enough


@pytest.mark.parametrize(("family", "method"), grid(TRAINED))
def test_eight_examples_can_be_overfitted(family, method, law):
    overfit(family, method, "last")
    law(13)


# Label words are read through a random head, and the four tokens of an LSTM steer the tiny BERT to seven of the eight
# only (rates 0.003, 0.01 and 0.03); twelve tokens do it.
WIDER = ("p-tuning-lstm", "p-tuning-dropout")


@pytest.mark.parametrize(
    ("family", "method"), grid([method for method in TRAINED if method != "linear-probe"], ("bert", "llama"))
)
def test_eight_examples_can_be_overfitted_with_label_words(family, method, law, monkeypatch):
    if method in WIDER:
        wider = {**METHODS[method]["method"], "num_virtual_tokens": 12}
        monkeypatch.setitem(METHODS, method, {"method": wider})
    overfit(family, method, "words", 0.01 if method in WIDER else None)
    law(13)


def overfit(family, method, readout, rate=None):
    small = method in ("full", "lora-all")  # what changes every matrix of a layer wants small steps
    rate = rate or (0.003 if small else 0.03)
    settings = {"schedule": "constant", "learning_rate": rate, "batch_size": 8}
    assembly = make(
        family,
        method,
        readout,
        backbone=shared(family),
        stirred=False,
        max_steps=MOST_STEPS,
        epochs=1000,
        evaluate_every=8,
        **settings,
    )
    rows = items(assembly)
    with pytest.raises(Enough):
        Loop(assembly, rows, rows, reporter=Watcher()).run()
