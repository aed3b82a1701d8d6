"""What serving costs, without HTTP: passes with 1 to 1,000 forewords, and steps with and without a foreword in front.

    python scripts/serving_bench.py classify    # MiniLM, P-Tuning v2 with 16 virtual tokens, made up
    python scripts/serving_bench.py write       # SmolLM2, prompts of 20 virtual tokens, made up

Prints one JSON object a line. The vectors are random: what they say is not looked at, what they take is. Times are the
processor's, over all threads, so that they hold on a machine that others use too.
"""

from __future__ import annotations

import itertools
import json
import sys
import time

import torch

from foreword.backbone.backbone import Backbone
from foreword.backbone.loading import load
from foreword.bank import Bank
from foreword.batch import Item
from foreword.config import GenerationOptions
from foreword.injections import Injection, KeyValues
from foreword.readouts.base import ReadoutSetup
from foreword.readouts.linear import Linear
from foreword.serving.attention import routed
from foreword.serving.decoding import Decoder
from foreword.serving.limits import Limits
from foreword.serving.metrics import Metrics
from foreword.serving.oneshot import Asking, OneShot
from foreword.serving.prompts import row_of_text
from foreword.serving.residents import Resident
from foreword.serving.writing import Writing

TEXT = "The battery lasts for two days and the screen is gorgeous, but the buttons are far too small."


def table(backbone: Backbone, length: int) -> Injection:
    geometry = backbone.geometry
    shape = (geometry.layers, 2, geometry.kv_heads, length, geometry.head_size)
    return Injection(key_values=KeyValues(tuple(range(geometry.layers)), torch.randn(shape) * 0.02))


def classify(requests: int = 256) -> None:
    """Requests a second of the processor, by how many forewords they are spread over."""
    backbone = load("minilm-l6")
    bank = Bank(backbone)
    setup = ReadoutSetup(backbone, ("no", "yes"), "")
    for number in range(1000):
        bank.put(
            str(number), table(backbone, 16), Linear(Linear.Config(position="cls"), setup).eval().requires_grad_(False)
        )
    row = row_of_text(backbone, TEXT, whole=True)
    for count in (1, 64, 1000, 1, 64, 1000):
        names = itertools.cycle(str(number) for number in range(count))
        shot = OneShot(bank, Limits(), Metrics())
        shot.waiting = [Asking(Item((row,), next(names)), "scores", lambda answer: None) for _ in range(requests)]
        began = time.process_time()
        while shot.waiting:
            shot.run()
        rate = requests / (time.process_time() - began)
        print(
            json.dumps({"forewords": count, "tokens": len(row), "requests_per_cpu_second": round(rate, 1)}), flush=True
        )


@torch.no_grad()
def write(steps: int = 16) -> None:
    """Seconds of a step of 8 texts: of none, of one foreword, and of eight."""
    backbone = load("smollm2-135m-instruct")
    bank = Bank(backbone)
    residents = []
    for number in range(8):
        bank.put(str(number), table(backbone, 20))
        residents.append(Resident(str(number), None, (), None, bank.entry(str(number)).injection, None, 0))
    row = row_of_text(backbone, TEXT)
    kinds = {"none": [None] * 8, "one foreword": residents[:1] * 8, "eight forewords": residents}
    rounds = [(name, owners) for _ in range(2) for name, owners in kinds.items()]
    best = dict.fromkeys(kinds, float("inf"))
    with routed(backbone):
        for name, owners in rounds:
            decoder = Decoder(bank, Limits(), Metrics())
            options = GenerationOptions(max_new_tokens=steps + 1, eos_token_ids=())
            decoder.waiting.extend(Writing(row, owner, options, lambda event: None) for owner in owners)
            decoder.admit()
            took = []
            while decoder.busy:
                began = time.process_time()
                decoder.step()
                took.append(time.process_time() - began)
            best[name] = min(best[name], sorted(took)[len(took) // 2])
    for name, seconds in best.items():
        print(json.dumps({"texts": 8, "forewords": name, "step_cpu_ms": round(seconds * 1e3, 1)}))


if __name__ == "__main__":
    {"classify": classify, "write": write}[sys.argv[1]]()
