"""Law 13: eight examples can be overfitted."""

from __future__ import annotations

import pytest
from support.backbones import FAMILIES, shared
from support.forewords import TRAINED, grid, items, make, refused

from foreword.training.loop import Loop, Silent

MOST_STEPS = 240


class Enough(Exception):
    pass


class Watcher(Silent):
    """Stops a run when all its rows are right and the loss is low."""

    def evaluated(self, step: int, metrics: dict[str, float]) -> None:
        if metrics["accuracy"] == 1.0 and metrics["loss"] < 0.2:
            raise Enough


@pytest.mark.parametrize("readout", ["last", "words"])
@pytest.mark.parametrize(
    ("family", "method"),
    [*grid(TRAINED, ("bert", "llama")), *grid(("prompt-text", "p-tuning-mlp", "v2-random", "full"), FAMILIES)],
)
def test_eight_examples_can_be_overfitted(family, method, readout, law):
    if refused(family, method, readout):
        pytest.skip("law 2 asserts this refusal")
    settings = {"schedule": "constant", "learning_rate": 0.003 if method == "full" else 0.03, "batch_size": 8}
    assembly = make(
        family, method, readout, backbone=shared(family), max_steps=MOST_STEPS, epochs=1000, evaluate_every=8, **settings
    )
    rows = items(assembly)
    with pytest.raises(Enough):
        Loop(assembly, rows, rows, reporter=Watcher()).run()
    law(13)
