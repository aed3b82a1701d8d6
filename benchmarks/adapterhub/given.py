"""What the peer is given: rows, batches and the model's folder, made by foreword's own Python and told as JSON.

The peer's process cannot import foreword; this one is started by it, reads settings and writes what follows from them.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from benchmarks.side import Settings, Skip

EPOCHS = 4


def given(settings: Settings) -> dict[str, Any]:
    """Rows of MRPC, the padding's id, the batches of some epochs, and where the model is."""
    from benchmarks.common import named_model
    from benchmarks.peer_models import mrpc_rows
    from foreword.training.batching import epoch_batches

    rows, pad = mrpc_rows(settings)
    lengths, size, seed = [len(row["input_ids"]) for row in rows], settings["batch"], settings["seed"]
    order = [batch for epoch in range(EPOCHS) for batch in epoch_batches(lengths, size, seed, epoch)]
    folder = str(named_model(settings.get("model", "minilm-l6")))
    return {"rows": rows, "pad": pad, "order": order, "model": folder}


def main() -> None:
    """Settings from standard input, what is given to standard output; a reason why not, where there is one."""
    try:
        answer = given(json.load(sys.stdin))
    except Skip as reason:
        answer = {"skip": str(reason)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
