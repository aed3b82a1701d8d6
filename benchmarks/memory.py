"""The memory that plans announce, against what runs took: each case in a process of its own, on Linux.

python -m benchmarks.memory [--case NAME ...] [--json]

Each is written to benchmarks/results/memory/. What is compared is the most anonymous memory during the run, above what
there was when the plan was made. Pages of a file that is kept may be in memory or not, and are told apart; with them,
the kernel's own high-water mark is given too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.pipe import ROOT, surroundings
from benchmarks.record import write_json

MB = 2**20
RESULTS = ROOT / "benchmarks" / "results" / "memory"
MRPC = {
    "data": {"source": "mrpc", "limit": {"train": 512, "validation": 128, "test": 16}},
    "backbone": "minilm-l6",
    "template": {"text": "{text1}{sep}{text2}", "max_length": 128},
    "readout": {"name": "linear", "position": "cls"},
    "training": {"batch_size": 16, "epochs": 1},
}
DIALOGS = {
    "data": {"source": "summarization", "limit": {"train": 64, "validation": 16, "test": 4}},
    "backbone": "smollm2-135m-instruct",
    "template": {"text": "{document}\n\nSummary:{mask}", "max_length": 320},
    "readout": {"name": "lm", "max_new_tokens": 48},
    "training": {"batch_size": 8, "epochs": 1},
}
PREFIX = {"name": "p-tuning-v2", "num_virtual_tokens": 5}
PROMPT = {"name": "prompt-tuning", "num_virtual_tokens": 20, "init": "random"}
CASES: Mapping[str, tuple[str, Mapping[str, Any], int]] = {
    "tiny-v2": ("a random BERT of 2 layers, H 64: P-Tuning v2, batch 256", MRPC | {
        "backbone": "tiny", "method": PREFIX, "training": {"batch_size": 256, "epochs": 6, "max_tokens": 65536},
    }, 1),
    "tiny-full": ("the same, full fine-tuning", MRPC | {
        "backbone": "tiny", "method": "full", "training": {"batch_size": 256, "epochs": 6, "max_tokens": 65536},
    }, 1),
    "mrpc-v2": ("MiniLM on MRPC: P-Tuning v2, all layers", MRPC | {"method": PREFIX}, 1),
    "mrpc-v2-top": ("the same, top half, kept trunk", MRPC | {"method": PREFIX | {"layers": "top-half"}}, 1),
    "mrpc-v2-top-half": ("the same, kept in float16", MRPC | {
        "method": PREFIX | {"layers": "top-half"}, "training": {"batch_size": 16, "epochs": 1, "cache": "float16"},
    }, 1),
    "mrpc-lora": ("MiniLM on MRPC: LoRA", MRPC | {"method": "lora"}, 1),
    "mrpc-full": ("MiniLM on MRPC: full fine-tuning", MRPC | {"method": "full"}, 1),
    "mrpc-four": ("MiniLM on MRPC: P-Tuning v2, four seeds in one pass", MRPC | {"method": PREFIX}, 4),
    "smollm-front": ("SmolLM2 on DialogSum: prompt in front, run once a step", DIALOGS | {"method": PROMPT}, 1),
    "smollm-after": ("the same, prompt behind the text, whose key/values are kept", DIALOGS | {
        "method": PROMPT | {"placement": "after"},
    }, 1),
}  # fmt: skip


class Highest:
    """The most anonymous memory (which has no file behind it) that a block of code held, looked at again and again."""

    def __init__(self) -> None:
        self.anonymous = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._done.wait(0.002):
            self.anonymous = max(self.anonymous, status("RssAnon"))

    def __enter__(self) -> Highest:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._done.set()
        self._thread.join()


def status(name: str) -> int:
    """Bytes, of this process, as the kernel tells them by that name."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


def run(name: str) -> dict[str, Any]:
    """Run the case in this process; what was expected and what was measured, in MB."""
    from foreword import api
    from foreword.backbone.loading import load
    from foreword.training.plan import Plan

    _, settings, runs = CASES[name]
    configs = [api.as_config({**settings, "seed": seed}) for seed in range(runs)]
    backbone = _tiny() if settings["backbone"] == "tiny" else load(str(settings["backbone"]))
    plans: list[Plan] = []
    before: dict[str, int] = {}

    def planned(plan: Plan) -> None:
        plans.append(plan)
        if len(plans) == 1:
            before.update(all=status("VmRSS"), anonymous=status("RssAnon"))
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # sets the high-water mark back

    with tempfile.TemporaryDirectory(prefix="foreword-memory-") as folder:
        os.environ["FOREWORD_CACHE"] = folder  # models are loaded; what is kept is made anew
        folders = [Path(folder) / f"run{number}" for number in range(runs)]
        began = time.perf_counter()
        with Highest() as highest:
            api.train_together(configs, folders=folders, on_plan=planned, backbone=backbone)
        took = time.perf_counter() - began
    memory = plans[-1].memory
    added = (highest.anonymous - before["anonymous"]) / MB
    return {
        "case": name,
        "title": CASES[name][0],
        "route": plans[-1].route,
        "expected_mb": round(memory.added / MB, 1),
        "measured_mb": round(added, 1),
        "error": round(memory.added / MB / added - 1, 3),
        "mapped_expected_mb": round(memory.mapped / MB, 1),
        "all_expected_mb": round((memory.added + memory.mapped) / MB, 1),
        "all_measured_mb": round((status("VmHWM") - before["all"]) / MB, 1),
        "parts": memory.to_dict(),
        "seconds": round(took, 1),
    }


def _tiny() -> Any:
    """A masked model with random weights, so small that rows make most of its memory."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

    from foreword.backbone.allocator import keep_freed_memory
    from foreword.backbone.backbone import Backbone
    from foreword.store import resolve_model

    keep_freed_memory()
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(resolve_model("minilm-l6"))
    size: dict[str, Any] = {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 256,
    }
    model = BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=160, **size))
    return Backbone(model, tokenizer, "masked", "tiny")


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """The cases as a Markdown table."""
    lines = ["| case | expected MB | measured MB | error | a kept file's pages |", "|---|---|---|---|---|"]
    for one in found:
        mapped = f"{one['mapped_expected_mb']:.1f}" if one["mapped_expected_mb"] else ""
        both = f"{one['expected_mb']:,.1f} | {one['measured_mb']:,.1f}"
        lines.append(f"| {one['title']} | {both} | {one['error']:+.0%} | {mapped} |")
    return "\n".join(lines)


def main(given: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--case", action="append", choices=CASES, help="only this one (may be given again)")
    parser.add_argument("--json", action="store_true", help="print all that was found as JSON")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(given)
    if chosen.inside:
        print(json.dumps(run(chosen.case[0])))
        return 0
    found = []
    for name in chosen.case or CASES:
        command = [sys.executable, "-m", "benchmarks.memory", "--inside", "--case", name]
        done = subprocess.run(command, cwd=ROOT, env=surroundings(2), stdout=subprocess.PIPE, text=True)
        if done.returncode:
            print(f"{name}: could not be run", file=sys.stderr)
            continue
        found.append(json.loads(done.stdout.splitlines()[-1]))
        print(f"{name}: {found[-1]['error']:+.0%}", file=sys.stderr)
        write_json(RESULTS / f"{name}.json", found[-1])
    print(json.dumps(found, indent=1) if chosen.json else table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
