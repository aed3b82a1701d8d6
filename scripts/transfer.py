"""What a start from another task's foreword is worth: pairs of the four domains of `reviews`, few rows of the target.

Run it as `python scripts/transfer.py [FOLDER]`; it writes results/transfer.json. For each domain one foreword is
trained on it. Then, for each pair (source, target) and each seed, runs on few rows of the target begin as usual, or at
the source's foreword, or at it and its readout; those of a target share one pass. What the source alone scores on the
target is told as well. Differences are paired over the target's test rows, seeds averaged. The runs that began as
usual are asked as one, too: what an ensemble of seeds gains.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from foreword import api
from foreword.artifacts.manifest import machine, versions
from foreword.backbone.loading import load as load_backbone
from foreword.config import RunConfig, build
from foreword.evaluation.statistics import PairedTest, mean_interval, paired_bootstrap
from foreword.inspection import Subject, ensemble, likeness, plain
from foreword.training.record import write_json

RESULT = Path(__file__).resolve().parent.parent / "results" / "transfer.json"
BACKBONE = "minilm-l6"
PAIRS = (("movies", "products"), ("news", "tweets"))
SEEDS = (0, 1, 2)
SOURCE_ROWS, TARGET_ROWS = 300, 64
LIMITS = {"validation": 40, "test": 300}


def recipe(domain: str, seed: int, rows: int, epochs: float, start: dict[str, Any] | None = None) -> RunConfig:
    """P-Tuning v2 in the two layers next to the output: what is below them is run once for all rows."""
    return build(
        RunConfig,
        {
            "data": {"source": f"reviews:{domain}", "limit": {"train": rows, **LIMITS}},
            "backbone": BACKBONE,
            "template": {"max_length": 40},
            "method": {"name": "p-tuning-v2", "num_virtual_tokens": 8, "layers": [-2, -1]},
            "readout": {"name": "linear", "position": "mean"},
            "training": {"learning_rate": 0.01, "epochs": epochs, "batch_size": 16, "schedule": "linear"},
            "seed": seed,
            "init_from": start,
        },
    )


def of(test: PairedTest) -> dict[str, Any]:
    return {"difference": test.difference, "interval": [test.interval.low, test.interval.high], "p": test.p_value}


def pair(source: Path, names: tuple[str, str], backbone: Any) -> dict[str, Any]:
    """All runs of one pair, in one pass."""
    starts: dict[str, dict[str, Any] | None] = {
        "fresh": None,
        "prompt": {"artifact": str(source)},
        "prompt and readout": {"artifact": str(source), "readout": True},
    }
    plan = [(start, seed) for start in starts for seed in SEEDS]
    runs = [recipe(names[1], seed, TARGET_ROWS, 8, starts[start]) for start, seed in plan]
    results = api.train_together(runs, backbone=backbone)
    source_foreword = api.load(source, backbone)
    rows = api.data_for(results[0].foreword, None).rows("test")
    targets = np.asarray([row["label"] for row in rows])
    by_start: dict[str, list[np.ndarray]] = {start: [] for start in starts}
    for (start, _), result in zip(plan, results, strict=True):
        by_start[start].append((np.asarray(result.scored["test"].predictions) == targets).astype(float))
    found: dict[str, Any] = {
        "source": names[0], "target": names[1], "test rows": len(rows), "target train rows": TARGET_ROWS,
        "majority": results[0].record["test"]["majority"]["accuracy"],
        "source alone": source_foreword.evaluate(rows).metrics["accuracy"],
    }  # fmt: skip
    fresh, losses = np.mean(by_start["fresh"], axis=0), [one.scored["test"].metrics["loss"] for one in results]
    for start, groups in by_start.items():
        scores = [float(one.mean()) for one in groups]
        interval = mean_interval(scores)
        found[start] = {
            "accuracy": float(np.mean(scores)), "by seed": scores, "interval over seeds": [interval.low, interval.high],
            "loss": float(np.mean([losses[i] for i, (one, _) in enumerate(plan) if one == start])),
        }  # fmt: skip
        if start != "fresh":
            found[start]["less fresh"] = of(paired_bootstrap(np.mean(groups, axis=0), fresh))
    members = [Subject(one.foreword) for one, (start, _) in zip(results, plan, strict=True) if start == "fresh"]
    found["ensemble of fresh seeds"] = plain(ensemble(members, rows))
    return found


def main(folder: Path) -> None:
    begun = time.perf_counter()
    backbone = load_backbone(BACKBONE)
    domains = list(dict.fromkeys(name for names in PAIRS for name in names))
    places = {domain: folder / domain for domain in domains}
    sources = [recipe(domain, 0, SOURCE_ROWS, 3) for domain in domains]
    trained = api.train_together(sources, folders=[places[d] for d in domains], overwrite=True, backbone=backbone)
    found: dict[str, Any] = {
        "sources": {
            domain: {"test accuracy": one.scored["test"].metrics["accuracy"]}
            for domain, one in zip(domains, trained, strict=True)
        },
        "source rows": SOURCE_ROWS,
        "pairs": [pair(places[names[0]] / "artifact", names, backbone) for names in PAIRS],
    }
    alike = likeness([Subject(r.foreword, (), places[d] / "artifact") for d, r in zip(domains, trained, strict=True)])
    found["likeness"] = {"domains": domains, "task vectors": alike.moved, "values": alike.values}
    found |= {
        "seconds": round(time.perf_counter() - begun, 1),
        "config": recipe("TARGET", 0, TARGET_ROWS, 8).model_dump(mode="json"),
    }
    write_json(RESULT, {**found, "machine": machine(), "versions": versions()})
    for one in found["pairs"]:
        for start in ("fresh", "prompt", "prompt and readout"):
            print(one["source"], "->", one["target"], start, one[start]["accuracy"], one[start].get("less fresh", ""))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(Path(scratch))
