"""The cases, as data. To add one: an entry here, and a factory a side (`module:function`) that takes its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """What is timed, who does it, and how far ahead we should be.

    `sides`: name to `module:function`; one is called "ours", and each factory is given `settings`. `targets`: peer to
    the ratio of its time to ours that is asked for; `memory`: peer to the largest share of its peak that ours may have.
    `checked`: the peers that compute the same and start from the same values, so that their first losses must be ours.
    `optional`: peers that are left out where their environment is not there; without another, so is the case.
    `steps`: of a timed block; `unit`: what one of them is. `notes`: what a reader must know, for the page.
    """

    name: str
    title: str
    sides: Mapping[str, str]
    settings: Mapping[str, Any]
    targets: Mapping[str, float]
    memory: Mapping[str, float] = field(default_factory=dict)
    checked: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    steps: int = 5
    check_steps: int = 3
    tolerance: float = 1e-3
    unit: str = "step"
    notes: str = ""


MRPC = {"batch": 16, "max_length": 128, "tokens": 5, "rate": 1e-3, "seed": 0}
SMOL = {"model": "smollm2-135m-instruct", "labels": 8, "rate": 1e-3, "seed": 0, "batches": 8}

MRPC_SIDES = {"ours": "benchmarks.ours:mrpc", "trainer": "benchmarks.trainer:mrpc", "peft": "benchmarks.peers:mrpc"}
HUB = {"adapterhub": "benchmarks.adapterhub.peer:mrpc"}
FRONT_SIDES = {
    "ours": "benchmarks.ours:causal",
    "trainer": "benchmarks.trainer:causal",
    "peft": "benchmarks.peers:causal",
    "peft-sliced": "benchmarks.peers:causal_sliced",
}
AFTER_SIDES = {name: FRONT_SIDES[name] for name in ("ours", "peft", "peft-sliced")}
AFTER_NOTE = (
    "The row is document, prompt, 8 target tokens for us, and prompt, document, the same 8 target tokens for PEFT, "
    "which has no other place for a prompt: two methods of the same lengths, so no equal losses. Epochs after the "
    "first: the document's key/values are made before the clock starts, and what that takes is told as 'once'."
)

CASES: tuple[Case, ...] = (
    Case(
        name="mrpc-v2",
        title="MRPC, MiniLM, P-Tuning v2, all layers (the exact method)",
        sides=MRPC_SIDES,
        settings=MRPC | {"method": "p-tuning-v2", "layers": "all"},
        targets={"trainer": 3.0, "peft": 1.4},
        memory={"trainer": 0.8, "peft": 0.9},
        checked=("peft",),
        steps=12,
        check_steps=5,
    ),
    Case(
        name="mrpc-v2-top",
        title="the same, prompts in the top half, kept trunk, epochs after the first",
        sides=MRPC_SIDES,
        settings=MRPC | {"method": "p-tuning-v2", "layers": "top-half"},
        targets={"trainer": 8.0, "peft": 3.5},
        steps=12,
        notes="PEFT has no choice of layers, so it trains all of them: another method, and no equal losses. The trunk "
        "is run before the clock starts, and what that takes is told as 'once'.",
    ),
    Case(
        name="mrpc-v1",
        title="MRPC, MiniLM, P-Tuning v1 (MLP encoder)",
        sides=MRPC_SIDES,
        settings=MRPC | {"method": "p-tuning"},
        targets={"trainer": 3.0, "peft": 1.3},
        checked=("peft",),
        steps=12,
        check_steps=5,
        notes="PEFT puts the virtual tokens before [CLS]; ours stand there too in this case, so that both compute the "
        "same. PEFT's classifier would read the first virtual token; here it is made to read [CLS].",
    ),
    Case(
        name="mrpc-lora",
        title="MRPC, MiniLM, LoRA on queries and values, r 8",
        sides=MRPC_SIDES | HUB,
        settings=MRPC | {"method": "lora", "r": 8, "alpha": 16},
        targets={"trainer": 1.0, "peft": 1.0, "adapterhub": 1.0},
        checked=("peft", "adapterhub"),
        optional=("adapterhub",),
        steps=12,
        check_steps=5,
        notes="Low-rank terms in every layer, so nothing can be kept or run once; what is left is the last layer, run "
        "for the place that is read, and padding. No figure was asked of this case; 1 says: not slower.",
    ),
    Case(
        name="mrpc-adapter",
        title="MRPC, MiniLM, Pfeiffer's adapter, width H / 16",
        sides={"ours": MRPC_SIDES["ours"]} | HUB,
        settings=MRPC | {"method": "adapter", "reduction_factor": 16},
        targets={"adapterhub": 1.0},
        checked=("adapterhub",),
        optional=("adapterhub",),
        steps=12,
        check_steps=5,
        notes="AdapterHub's `adapters` runs in an environment of its own, with the transformers that it pins. Its "
        "`seq_bn` is told to stand where ours does, in front of the residual and the norm "
        "(`original_ln_before=False`), so that both compute the same. PEFT has no bottleneck adapters. No figure was "
        "asked of this case; 1 says: not slower.",
    ),
    Case(
        name="smollm-p100",
        title="SmolLM2 prompt tuning, P 100, T 64, B 16, labels on the last 8 tokens",
        sides=FRONT_SIDES,
        settings=SMOL | {"tokens": 100, "length": 64, "batch": 16},
        targets={"trainer": 4.5, "peft": 3.5},
        memory={"trainer": 0.8, "peft": 0.9},
        checked=("peft", "peft-sliced"),
        steps=1,
        check_steps=2,
    ),
    Case(
        name="smollm-p20",
        title="the same with P 20",
        sides=FRONT_SIDES,
        settings=SMOL | {"tokens": 20, "length": 64, "batch": 16},
        targets={"trainer": 2.5, "peft": 2.0},
        checked=("peft", "peft-sliced"),
        steps=1,
        check_steps=2,
    ),
    Case(
        name="smollm-after-64",
        title="SmolLM2, P 20 after the document, kept key/values, epochs after the first: T 64, B 16",
        sides=AFTER_SIDES,
        settings=SMOL | {"tokens": 20, "length": 64, "batch": 16, "placement": "after", "batches": 4},
        targets={"peft": 3.5},
        steps=1,
        check_steps=2,
        notes=AFTER_NOTE,
    ),
    Case(
        name="smollm-after-256",
        title="the same with T 256, B 8",
        sides=AFTER_SIDES,
        settings=SMOL | {"tokens": 20, "length": 256, "batch": 8, "placement": "after", "batches": 4},
        targets={"peft": 9.0},
        steps=1,
        check_steps=2,
        notes=AFTER_NOTE,
    ),
    Case(
        name="eight-runs",
        title="8 configurations in one pass against 8 runs of our own: MRPC, P-Tuning v2, all layers",
        sides={"ours": "benchmarks.ours:together", "apart": "benchmarks.ours:apart"},
        settings=MRPC | {"method": "p-tuning-v2", "layers": "all", "runs": 8},
        targets={"apart": 1.5},
        checked=("apart",),
        steps=2,
        check_steps=2,
        notes="Both sides are foreword. What one pass saves is padding (rows of one length meet, whatever their run) "
        "and the work around the matrix products; the products themselves are as many.",
    ),
    Case(
        name="eight-runs-kept",
        title="the same with prompts in the top half and a shared kept trunk",
        sides={"ours": "benchmarks.ours:together", "apart": "benchmarks.ours:apart"},
        settings=MRPC | {"method": "p-tuning-v2", "layers": "top-half", "runs": 8},
        targets={"apart": 3.0},
        checked=("apart",),
        steps=2,
        check_steps=2,
        notes="Both sides read the kept trunk, which is made once for all runs.",
    ),
    Case(
        name="mrpc-v2-compiled",
        title="MRPC, MiniLM, P-Tuning v2, all layers, against the same through `torch.compile`",
        sides={"ours": MRPC_SIDES["ours"], "compiled": "benchmarks.compiled:mrpc"},
        settings=MRPC | {"method": "p-tuning-v2", "layers": "all"},
        targets={},
        checked=("compiled",),
        steps=12,
        check_steps=5,
        notes="Both sides are foreword. Below 1, compiling pays in every step; 'once' is what the compiler took, and "
        "batches of new lengths may make it work again. Left out where there is no C++ compiler.",
    ),
    Case(
        name="mrpc-v2-bfloat16",
        title="MRPC, MiniLM, P-Tuning v2, all layers, against the same with `training.precision: bfloat16`",
        sides={"ours": MRPC_SIDES["ours"], "bfloat16": "benchmarks.ours:mrpc_bfloat16"},
        settings=MRPC | {"method": "p-tuning-v2", "layers": "all"},
        targets={},
        checked=("bfloat16",),
        steps=12,
        check_steps=5,
        tolerance=0.02,
        notes="Both sides are foreword. Below 1, bfloat16 is faster in every step; the losses differ by its rounding.",
    ),
    Case(
        name="smollm-p100-compiled",
        title="SmolLM2 prompt tuning, P 100, against the same through `torch.compile`",
        sides={"ours": FRONT_SIDES["ours"], "compiled": "benchmarks.compiled:causal"},
        settings=SMOL | {"tokens": 100, "length": 64, "batch": 16},
        targets={},
        checked=("compiled",),
        steps=1,
        check_steps=2,
        notes="Both sides are foreword; see the case above.",
    ),
    Case(
        name="verbalizer",
        title="verbalizer on a masked LM (BERT-shaped head of 30k words), MRPC, P 20",
        sides={
            "ours": "benchmarks.ours:verbalizer",
            "trainer": "benchmarks.trainer:verbalizer",
            "peft": "benchmarks.peers:verbalizer",
            "peft-sliced": "benchmarks.peers:verbalizer_sliced",
        },
        settings=MRPC
        | {
            "tokens": 20,
            "template": "{text1} ? {mask} , {text2}",
            "words": ["no", "yes"],
            "shape": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
            "vocabulary": 30522,
        },
        targets={"trainer": 4.0, "peft": 3.0},
        checked=("peft", "peft-sliced"),
        steps=3,
        notes="BertForMaskedLM of MiniLM's shape with random weights. PEFT has no masked-LM task; the model is wrapped "
        "for feature extraction, and the two label words' logits are taken from those of all places and words.",
    ),
    Case(
        name="generation",
        title="batched generation, 8 prompts of different tasks, 32 new tokens each",
        sides={"ours": "benchmarks.ours:generation", "peft": "benchmarks.peers:generation"},
        settings=SMOL | {"tokens": 20, "new": 32},
        targets={"peft": 2.0},
        checked=("peft",),
        steps=1,
        check_steps=1,
        tolerance=0.0,
        unit="round of 8 requests",
        notes="PEFT switches adapters, one request after the other. What is compared in place of losses is the tokens.",
    ),
)


def find(name: str) -> Case:
    """The case called `name`. **Raises** `KeyError` that lists the known ones."""
    for case in CASES:
        if case.name == name:
            return case
    raise KeyError(f"no case is called {name!r}; there are: {', '.join(case.name for case in CASES)}")
