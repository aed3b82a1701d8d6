"""Time to quality: minutes until a validation accuracy on MRPC, ours by recorded curves, PEFT's by running it.

python -m benchmarks.quality [--target 0.7577] [--peer METHOD ...] [--seed 0] [--threads N]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import page
from benchmarks.record import machine, versions, watched, write_json
from benchmarks.side import Settings, Skip
from foreword.training.loop import Silent

TARGET = 0.7577
"""The test accuracy of the student report that set the task; here it is asked of the validation rows."""
RUNS = page.ROOT / "results" / "mrpc"
RECIPES = page.ROOT / "recipes" / "mrpc"
PEERS = ("p-tuning-v2", "p-tuning", "prompt-tuning")
INIT_TEXT = "Do these two sentences mean the same?"
"""What PEFT's prompt tuning starts from: its best start in its own records is a text for the task."""


def ours(folder: Path, target: float) -> dict[str, Any]:
    """What the recorded runs of a folder say: for each, the first evaluation at or above `target`, and its minutes.

    A record tells the seconds of a whole run, evaluations included; those of a step are taken as its share of them.
    Making what is kept comes before the first step; older records do not tell how long that took.
    """
    runs = []
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if not record["train"]["steps"] or not all("validation.accuracy" in one for one in record["curve"]):
            continue
        a_step, kept = record["seconds"] / record["train"]["steps"], record.get("kept_seconds") or 0.0
        curve = [(one["step"], one["validation.accuracy"]) for one in record["curve"]]
        runs.append({
            "recipe": path.stem.rpartition("-seed")[0],
            "seed": record["seed"],
            **_reached([(step, kept + step * a_step, score) for step, score in curve], target),
            "minutes_in_all": (kept + record["seconds"]) / 60,
            "together": record.get("together", 1),
            "test": record["test"]["accuracy"],
            "machine": record["machine"],
        })  # fmt: skip
    return {"kind": "quality", "target": target, "runs": runs}


class Reached(Exception):
    """The target is reached; the rest of the run is not wanted."""


class Watch(Silent):
    """Notes (step, seconds, score) at each evaluation. **Raises** `Reached` at the target."""

    def __init__(self, target: float) -> None:
        self.target, self.curve = target, []  # type: float, list[tuple[int, float, float]]
        self.started: float | None = None
        self.first = 0.0

    def step(self, done: int, steps: int, loss: float) -> None:
        """The first step is done, of whose beginning nobody is told: it is taken to be as long as the second."""
        now = time.perf_counter()
        if done == 1:
            self.first = now
        elif done == 2:
            self.started = self.first - (now - self.first)

    def evaluated(self, step: int, metrics: dict[str, float]) -> None:
        """The validation rows were scored."""
        assert self.started is not None
        self.curve.append((step, time.perf_counter() - self.started, metrics["accuracy"]))
        print(f"ours: step {step}: validation accuracy {metrics['accuracy']:.4f}", file=sys.stderr, flush=True)
        if metrics["accuracy"] >= self.target:
            raise Reached


def own(method: str, seed: int, target: float, watch: float = 2.0, **changed: Any) -> dict[str, Any]:
    """Train our recipe of `method` as `foreword train` does, and stop when the target is reached, as the peer does.

    `changed`: fields of the recipe in place of its own, as `--set` names them.
    """
    import torch

    from foreword import api, config

    overrides = [
        f"seed={seed}",
        f"threads={torch.get_num_threads()}",
        *(f"{name}={json.dumps(value)}" for name, value in changed.items()),
    ]
    told = Watch(target)
    with watched(watch) as quiet, tempfile.TemporaryDirectory() as folder, contextlib.suppress(Reached):
        api.train(config.load(RECIPES / f"{method}.yaml", overrides), folder=Path(folder) / "run", reporter=told)
    return {"curve": told.curve, **_reached(told.curve, target), "minutes_in_all": told.curve[-1][1] / 60, **quiet}


def peer(method: str, seed: int, target: float, watch: float = 2.0, **changed: Any) -> dict[str, Any]:
    """Train PEFT's `method` by the rates, steps and tokens of our recipe; stop when the target is reached.

    PEFT at its best: `benchmarks.peers`, with our batches of similar length and the trunk in eval mode. It reads [CLS]
    by a linear layer, since it has no other readout. `changed`: settings in place of the recipe's. **Raises** `Skip`.
    """
    import torch

    from benchmarks import peers
    from benchmarks.common import mrpc_data

    settings = {**settings_of(method, seed), **changed}
    per_epoch = math.ceil(len(mrpc_data(settings).rows("train")) / settings["batch"])
    settings["steps"] = math.ceil(settings["epochs"] * per_epoch)
    side = peers.mrpc(settings)
    assert isinstance(side, peers.Own)
    head = [p for name, p in side.model.named_parameters() if p.requires_grad and "classifier" in name]
    rest = [p for p in side.trained if all(p is not own for own in head)]
    side.optimizer = torch.optim.AdamW(
        [{"params": rest, "lr": settings["rate"]}, {"params": head, "lr": settings["head_rate"]}],
        weight_decay=settings["weight_decay"],
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(side.optimizer, _decay(settings["steps"], settings["warmup"]))
    validation, test = (_scorer(settings, split) for split in ("validation", "test"))
    curve: list[tuple[int, float, float]] = []
    with watched(watch) as quiet:
        started = time.perf_counter()
        for number in range(settings["steps"]):
            side.step(number)
            schedule.step()
            if (number + 1) % (settings["evaluate_every"] or per_epoch) == 0 or number + 1 == settings["steps"]:
                score = validation(side.model)
                curve.append((number + 1, time.perf_counter() - started, score))
                print(f"{method}: step {number + 1}: validation accuracy {score:.4f}", file=sys.stderr, flush=True)
                if score >= target:
                    break
    return {
        "kind": "quality-peer",
        "method": method,
        "target": target,
        "seed": seed,
        "settings": settings,
        "about": f"{side.about}; a linear layer on [CLS]",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "curve": curve,
        **_reached(curve, target),
        "minutes_in_all": curve[-1][1] / 60,
        "test": test(side.model),
        "threads": torch.get_num_threads(),
        "machine": machine(),
        "versions": versions(),
        **quiet,
    }


def settings_of(method: str, seed: int) -> dict[str, Any]:
    """Our recipe's rates, steps and tokens as the peers' settings."""
    from foreword import config

    run = config.load(RECIPES / f"{method}.yaml")
    training, words = run.training, run.template.text or ""
    slots = [int(part.partition("}")[0]) for part in words.split("{soft:")[1:]]
    tokens = getattr(run.method, "num_virtual_tokens", None) or sum(slots)
    return {
        "method": method,
        "data": {"source": run.data.source},
        "tokens": tokens,
        "init_text": INIT_TEXT,
        "batch": training.batch_size,
        "max_length": run.template.max_length,
        "rate": training.learning_rate,
        "head_rate": training.readout_learning_rate or training.learning_rate,
        "weight_decay": training.weight_decay,
        "warmup": training.warmup,
        "epochs": training.epochs,
        "evaluate_every": training.evaluate_every,
        "seed": seed,
    }


def _reached(curve: Sequence[tuple[int, float, float]], target: float) -> dict[str, Any]:
    """The first point of (step, seconds, score) at or above the target, and the best score of all."""
    first = next(((step, seconds) for step, seconds, score in curve if score >= target), None)
    found = {"best": max(score for *_, score in curve)}
    return found | ({"step": None, "minutes": None} if first is None else {"step": first[0], "minutes": first[1] / 60})


def _decay(steps: int, warmup: float) -> Callable[[int], float]:
    """Our linear schedule, which the recipes have."""
    from foreword.config import TrainingConfig
    from foreword.training.optim import schedule

    config = TrainingConfig(schedule="linear", warmup=warmup)
    return lambda step: schedule(config, min(step, steps - 1), steps)


def _scorer(settings: Settings, split: str) -> Callable[[Any], float]:
    """Accuracy of a model on a split, in batches of similar length."""
    import torch

    from benchmarks.peer_models import mrpc_rows, padded

    rows, pad = mrpc_rows(settings, split)
    ordered = sorted(rows, key=lambda row: len(row["input_ids"]))

    @torch.no_grad()
    def score(model: Any) -> float:
        right = 0
        for start in range(0, len(ordered), 32):
            part = ordered[start : start + 32]
            ids, mask = padded([row["input_ids"] for row in part], pad)
            types, _ = padded([row["token_type_ids"] for row in part], 0)
            logits = model(input_ids=ids, attention_mask=mask, token_type_ids=types).logits
            right += int((logits.argmax(-1) == torch.tensor([row["labels"] for row in part])).sum())
        return right / len(ordered)

    return score


def main(given: Sequence[str] | None = None) -> int:
    """Write `quality.json` from the recorded runs, train the peers that are asked for, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--target", type=float, default=TARGET, help=f"validation accuracy (default: {TARGET})")
    parser.add_argument("--peer", action="append", choices=PEERS, help="train PEFT's method too (may be given again)")
    parser.add_argument("--seed", type=int, default=0, help="of the peer's run")
    parser.add_argument("--threads", type=int, default=machine()["cores"], help="of the peer's run (default: cores)")
    chosen = parser.parse_args(given)
    found = ours(RUNS, chosen.target)
    if not found["runs"]:
        print(f"no recorded runs with a curve in {RUNS}", file=sys.stderr)
        return 1
    write_json(page.RESULTS / "quality.json", found)
    for method in chosen.peer or ():
        import torch

        torch.set_num_threads(chosen.threads)
        try:
            made = {**peer(method, chosen.seed, chosen.target), "ours": own(method, chosen.seed, chosen.target)}
        except Skip as reason:
            print(f"{method}: left out: {reason}", file=sys.stderr)
            continue
        write_json(page.RESULTS / f"quality-peft-{method}-seed{chosen.seed}.json", made)
    page.write(page.RESULTS)
    print("\n".join(page.table(found, page.others("quality-peer", page.RESULTS))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
