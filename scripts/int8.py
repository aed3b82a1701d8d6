"""What int8 costs and gains: the test rows of trained forewords, scored in float32 and in int8.

Run it as `python scripts/int8.py RUN_FOLDER...`; it writes results/int8.json. Both are timed one after the other, in
this process, float32 first (a backbone that is rounded stays so).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from foreword import use
from foreword.artifacts.manifest import machine, versions
from foreword.backbone.loading import load as load_backbone
from foreword.evaluation.scoring import Scored
from foreword.evaluation.statistics import approximate_randomization
from foreword.training.record import write_json

RESULT = Path(__file__).resolve().parent.parent / "results" / "int8.json"


def measure(folder: Path) -> dict[str, Any]:
    """Scores and seconds of one foreword's test rows, both ways."""
    found: dict[str, Any] = {}
    backbone = load_backbone(use.storage.read(folder / "artifact").manifest.backbone.name)
    scored: dict[str, Scored] = {}
    for way in ("float32", "int8"):
        foreword = use.load(folder / "artifact", backbone, int8=way == "int8")
        rows = use.data_for(foreword, None).rows("test")
        foreword.evaluate(rows[:64])  # the first pass pays for memory and for choosing kernels
        begun = time.perf_counter()
        scored[way] = foreword.evaluate(rows)
        found[way] = {**scored[way].metrics, "seconds": round(time.perf_counter() - begun, 2), "rows": len(rows)}
    targets = np.array([row["label"] for row in rows])
    right = [(np.array(scored[way].predictions) == targets).astype(float) for way in ("int8", "float32")]
    test = approximate_randomization(*right)
    manifest = foreword.manifest
    return {
        "task": manifest.task, "method": manifest.method["name"], "backbone": manifest.backbone.name,
        "seed": manifest.run["seed"], "data": manifest.run["data"]["source"], **found,
        "accuracy difference": test.difference, "interval": [test.interval.low, test.interval.high],
        "p": test.p_value, "test": test.name, "changed answers": int((right[0] != right[1]).sum()),
    }  # fmt: skip


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    runs = [measure(Path(name)) for name in sys.argv[1:]]
    write_json(RESULT, {"runs": runs, "machine": machine(), "versions": versions()})
    for run in runs:
        print(run["data"], run["method"], run["seed"], {k: run[k] for k in ("float32", "int8", "accuracy difference")})
