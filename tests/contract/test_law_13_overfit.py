"""Law 13: eight examples can be overfitted."""

from __future__ import annotations

import pytest

from foreword.training.loop import Loop, Silent
from support.backbones import shared
from support.forewords import TRAINED, grid, items, make

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


# An LSTM's four tokens get seven of the eight right on the tiny random BERT in 250 steps (rates 0.003, 0.01 and 0.03
# without dropout, 0.03 with): why is not known. See the lab log.
TOO_HARD = ("bert-p-tuning-lstm", "bert-p-tuning-dropout")
WITH_WORDS = [
    pytest.param(*pair.values, id=pair.id, marks=[*pair.marks, pytest.mark.xfail(reason="7 of 8, why is not known")])
    if pair.id in TOO_HARD
    else pair
    for pair in grid([method for method in TRAINED if method != "linear-probe"], ("bert", "llama"))
]


@pytest.mark.parametrize(("family", "method"), WITH_WORDS)
def test_eight_examples_can_be_overfitted_with_label_words(family, method, law):
    overfit(family, method, "words")
    law(13)


def overfit(family, method, readout):
    rate = 0.003 if method in ("full", "lora-all") else 0.03  # what changes every matrix of a layer wants small steps
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
