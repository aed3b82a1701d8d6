"""Law 4: a mixed batch of several methods, several lengths and rows of none equals separate runs."""

from __future__ import annotations

import random

import pytest

from foreword.batch import Item
from support.backbones import FAMILIES, shared
from support.forewords import (
    READOUTS,
    ROWS,
    anywhere,
    bank_of,
    close,
    hidden,
    items,
    loud,
    make,
    methods_of,
    refused,
    scores,
)

THREE = ("bad", "middling", "good")


def everything(family):
    """Every method on one backbone, each with another readout, one of them with three labels."""
    made = {}
    for number, method in enumerate(methods_of(family)):
        allowed = [readout for readout in READOUTS if not refused(family, method, readout)]
        readout = allowed[number % len(allowed)]
        labels = THREE if READOUTS[readout]["name"] == "linear" and number % 2 else THREE[::2]
        made[method] = loud(make(family, method, readout, backbone=shared(family), labels=labels, seed=number))
    return made


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_mixed_batch_equals_separate_runs(family, side, law):
    assemblies = everything(family)
    bank = bank_of(assemblies)
    rows: list[Item] = []
    for number, (name, assembly) in enumerate(assemblies.items()):
        rows += items(assembly, [ROWS[number % len(ROWS)], ROWS[(number + 3) % len(ROWS)]], name)
    random.Random(3).shuffle(rows)

    separate = {name: bank_of({name: assembly}) for name, assembly in assemblies.items()}
    alone = [scores(separate[row.owner], [row])[0] for row in rows]
    close(scores(bank, rows, side), alone)
    assert len({len(score) for score in alone}) == 2

    plain = [Item(row.rows) for row in rows if all(place < 0 for place in row.rows[0].soft)][:3]
    assert plain
    mixed = [*plain[:1], *rows, *plain[1:]]
    states = [state for row in mixed for state in hidden(separate.get(row.owner, bank), [row])]
    close(hidden(bank, mixed, side), states)
    law(4, times=len(assemblies))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_order_of_a_bank_and_of_its_rows_means_nothing(family, law):
    assemblies = everything(family)
    rows = [item for name, assembly in assemblies.items() for item in items(assembly, ROWS[:1], name)]
    first = scores(bank_of(assemblies), rows)
    turned = scores(bank_of(dict(reversed(assemblies.items()))), rows[::-1])
    close(turned[::-1], first)
    law(4, times=len(assemblies))


@pytest.mark.parametrize("family", FAMILIES)
def test_two_forewords_of_one_method_do_not_meet(family, law):
    """Same method, other seeds: every row sees its own, whichever stands first."""
    backbone = shared(family)
    for method in ("prompt-random", "v2-random", "v2-layers", "p-tuning-mlp", "lora", "adapter-houlsby", "combined"):
        pair = {
            str(seed): loud(make(family, method, anywhere(family), backbone=backbone, seed=seed)) for seed in (1, 2)
        }
        bank = bank_of(pair)
        rows = [item for name, assembly in pair.items() for item in items(assembly, ROWS[:2], name)]
        found = scores(bank, rows)
        close(found, [scores(bank_of({row.owner: pair[row.owner]}), [row])[0] for row in rows])
        assert (found[0] - found[2]).abs().max() > 1e-4
        law(4)
