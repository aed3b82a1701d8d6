"""Law 3: a batch of n rows equals n single rows, with padding on the left, on the right, and none."""

from __future__ import annotations

import pytest

from foreword.errors import Unsupported
from support.backbones import shared
from support.forewords import READOUTS, bank_of, close, grid, hidden, items, loud, make, refused, scores


@pytest.mark.parametrize(("family", "method"), grid())
def test_a_batch_equals_its_rows_one_by_one(family, method, law):
    backbone = shared(family)
    for readout in READOUTS:
        if refused(family, method, readout):
            with pytest.raises(Unsupported):
                make(family, method, readout, backbone=backbone)
            law(3, "refused")
            continue
        assembly = loud(make(family, method, readout, backbone=backbone))
        bank, rows = bank_of({"own": assembly}), items(assembly, owner="own")[:5]
        alone = [scores(bank, [row])[0] for row in rows]
        assert max(abs(float(alone[0][0] - other[0])) for other in alone[1:]) > 1e-3
        for side in ("right", "left"):
            close(scores(bank, rows, side), alone)
        if readout in ("mean", "long-words"):
            states = [state for row in rows for state in hidden(bank, [row])]
            for side in ("right", "left"):
                close(hidden(bank, rows, side), states)
        same_length = [rows[0], rows[0]]
        close(scores(bank, same_length), [alone[0], alone[0]])
        law(3)
