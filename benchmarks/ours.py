"""What foreword does in each case, through its own pipeline."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.common import (
    REQUESTS,
    bert_shaped,
    fill,
    mrpc_data,
    mrpc_source,
    named_model,
    prefix_table,
    random_rows,
)
from benchmarks.side import Settings, Side
from foreword.api import prepare
from foreword.assembly import Assembly
from foreword.backbone.allocator import keep_freed_memory
from foreword.backbone.backbone import Backbone
from foreword.backbone.loading import load
from foreword.bank import Bank
from foreword.batch import Item, collate
from foreword.config import RunConfig
from foreword.generation import GenerationOptions, generate
from foreword.injections import Injection, SoftTokens
from foreword.text.rows import Row
from foreword.training import states
from foreword.training.loop import Loop, step_together
from foreword.training.route import Route, follow


class Looped(Side):
    """A run as `foreword train` prepares it: its plan, its route, its loop."""

    def __init__(
        self, settings: Settings, method: dict[str, Any], readout: dict[str, Any], backbone: Backbone | None = None
    ) -> None:
        backbone = backbone or load(settings.get("model", "minilm-l6"))
        self.kept = _cache_of_its_own()
        self.prepared = prepared = prepare(_config(settings, method, readout), backbone)
        for split, rows in prepared.items.items():
            prepared.items[split] = [replace(item, rows=tuple(map(_prompt_first, item.rows))) for item in rows]
        started = time.perf_counter()
        items = follow(prepared.route, prepared.assembly, prepared.items)
        self.once = time.perf_counter() - started if prepared.route.kind in ("trunk", "documents") else 0.0
        self.loop = Loop(prepared.assembly, items["train"], [], None, route=prepared.route)
        # Typed as anything, since what a method and a readout are made of is their own affair.
        self.method: Any = prepared.assembly.method
        self.readout: Any = prepared.assembly.readout
        self.about = f"the training loop of `foreword train`; {prepared.route.why}; {prepared.plan.reads}"

    def step(self, number: int) -> float:
        if number != self.loop.progress.step:
            raise ValueError(f"step {number} was asked for, and the loop stands at {self.loop.progress.step}")
        loss = self.loop.backward(self.loop.begin())
        self.loop.end(loss)
        return loss


def mrpc(settings: Settings) -> Side:
    """Classification of MRPC by [CLS] and a linear layer, with P-Tuning v1 or v2, or LoRA."""
    mrpc_data(settings)
    named_model(settings.get("model", "minilm-l6"))
    side = Looped(settings, _mrpc_method(settings), {"name": "linear", "position": "cls"})
    if settings["method"] == "p-tuning-v2":
        geometry = side.loop.assembly.backbone.geometry
        whole = prefix_table(settings, geometry.layers, geometry.kv_heads, geometry.head_size)
        with torch.no_grad():
            side.method.table.copy_(whole[list(side.method.layers)])
    elif settings["method"] == "lora":
        fill([*side.method.a.values(), *side.method.b.values()], settings["seed"])
    elif settings["method"] == "adapter":
        parts = [(neck.down, neck.up, neck.down_bias, neck.up_bias) for neck in side.method.necks.values()]
        fill([tensor for neck in parts for tensor in neck], settings["seed"])
    else:
        fill(side.method.parameters(), settings["seed"])
    fill([side.readout.weight, side.readout.bias], settings["seed"] + 2)
    return side


def mrpc_bfloat16(settings: Settings) -> Side:
    """As `mrpc`, with `training.precision: bfloat16`."""
    side = mrpc({**settings, "precision": "bfloat16"})
    side.about += "; the layers' matrix products in bfloat16"
    return side


def together(settings: Settings) -> Side:
    """Several rates and seeds of one method, a step of each in one pass."""
    return Several(settings, apart=False)


def apart(settings: Settings) -> Side:
    """The same runs, a step of each after the other."""
    return Several(settings, apart=True)


def verbalizer(settings: Settings) -> Side:
    """Two label words of a masked LM, prompt tuning."""
    from transformers import AutoTokenizer

    data = mrpc_data(settings)
    tokenizer = AutoTokenizer.from_pretrained(named_model("minilm-l6"))
    keep_freed_memory()
    backbone = Backbone(bert_shaped(settings), tokenizer, "masked", "bert-shaped")
    method = {"name": "prompt-tuning", "num_virtual_tokens": settings["tokens"]}
    words = dict(zip(data.labels, settings["words"], strict=True))
    side = Looped(settings, method, {"name": "verbalizer", "words": words}, backbone)
    fill(side.method.parameters(), settings["seed"])
    return side


def causal(settings: Settings) -> Side:
    """Prompt tuning of a causal model on its last tokens."""
    named_model(settings["model"])
    return Causal(load(settings["model"]), settings)


def generation(settings: Settings) -> Side:
    """Requests of eight tasks in one batch."""
    named_model(settings["model"])
    return Generation(load(settings["model"]), settings)


class Several(Side):
    """K runs of MRPC that differ in rate and seed. A step is one of each."""

    def __init__(self, settings: Settings, *, apart: bool) -> None:
        backbone = load("minilm-l6")
        self.kept, self.apart, self.once = _cache_of_its_own(), apart, 0.0
        self.loops: list[Loop] = []
        for number in range(settings["runs"]):
            own = {**settings, "seed": settings["seed"] + number, "rate": settings["rate"] * (1 + number)}
            readout = {"name": "linear", "position": "cls"}
            prepared = prepare(_config(own, _mrpc_method(own), readout), backbone, f"run{number}")
            started = time.perf_counter()
            items = follow(prepared.route, prepared.assembly, prepared.items)
            self.once += time.perf_counter() - started if prepared.route.kind == "trunk" else 0.0
            self.loops.append(Loop(prepared.assembly, items["train"], [], None, route=prepared.route))
        self.about = f"{len(self.loops)} runs {'one after the other' if apart else 'in one pass'}; {prepared.route.why}"

    def step(self, number: int) -> float:
        losses = [step_together([loop])[0] for loop in self.loops] if self.apart else step_together(self.loops)
        return sum(losses) / len(losses)


class Causal(Side):
    """Rows of random tokens; the prompt in front, run once a step, or behind documents whose key/values are kept."""

    def __init__(self, backbone: Backbone, settings: Settings) -> None:
        self.backbone, self.bank, self.kept = backbone, Bank(backbone), _cache_of_its_own()
        self.stage: Callable[[str], AbstractContextManager[Any]] = nullcontext  # a profile puts a clock here
        self.vectors = nn.Parameter(torch.empty(settings["tokens"], backbone.geometry.embedding))
        fill([self.vectors], settings["seed"])
        self.optimizer = torch.optim.AdamW([self.vectors], lr=settings["rate"], weight_decay=0.0)
        texts, labels = random_rows(settings), settings["labels"]
        self.targets: Tensor = texts[:, :, -labels:]
        after = settings.get("placement") == "after"
        place = settings["length"] - labels if after else 0
        rows = [_with_prompt(text, settings["tokens"], place, labels) for batch in texts.tolist() for text in batch]
        self.route = self._documents() if after else Route("front", front=_front(rows[0], settings["tokens"]))
        # `follow` asks an assembly for no more than these two, and a run of random tokens has no other parts.
        parts = cast(Assembly, SimpleNamespace(backbone=backbone, config=SimpleNamespace(training=_Budget())))
        started = time.perf_counter()
        items = follow(self.route, parts, {"train": [Item((row,), "run") for row in rows]})["train"]
        self.once = time.perf_counter() - started if after else 0.0
        size = settings["batch"]
        self.batches = [items[start : start + size] for start in range(0, len(items), size)]
        self.about = (
            "the documents' key/values are kept and read from disk; prompt and targets are run"
            if after
            else "the prompt is run once a step; the last layer and the head are run where labels are"
        )

    def _documents(self) -> Route:
        geometry = self.backbone.geometry
        width = geometry.layers * 2 * geometry.kv_heads * geometry.head_size
        return Route("documents", wanted=states.Wanted(self.backbone.fingerprint, "memory", 0, 0, width, "float32"))

    def step(self, number: int) -> float:
        at = number % len(self.batches)
        self.optimizer.zero_grad(set_to_none=True)
        with self.stage("compile"):  # the prompt is run here
            injection = self.route.compiled(self.backbone, Injection(soft=SoftTokens(self.vectors)))
            self.bank.put("run", injection)
        with self.stage("batch"):
            batch = collate(self.batches[at], self.backbone.pad_id)
        with self.stage("forward"):
            logits = self.bank.logits(batch, batch.answers)
        with self.stage("readout"):
            loss = cross_entropy(logits.flatten(0, 1), self.targets[at].flatten())
        with self.stage("backward"):
            loss.backward()
        with self.stage("optimiser"):
            nn.utils.clip_grad_norm_([self.vectors], 1.0)
            self.optimizer.step()
        return float(loss.detach())


class Generation(Side):
    """Eight forewords in one bank, one mixed batch."""

    def __init__(self, backbone: Backbone, settings: Settings) -> None:
        self.bank, self.items = Bank(backbone), []
        self.options = GenerationOptions(max_new_tokens=settings["new"], eos_token_ids=())
        for number, text in enumerate(REQUESTS):
            vectors = torch.empty(settings["tokens"], backbone.geometry.embedding)
            fill([vectors], settings["seed"] + number)
            self.bank.put(f"task-{number}", Injection(soft=SoftTokens(vectors)))
            row = _with_prompt(backbone.tokenizer(text)["input_ids"], settings["tokens"], 0, 0)
            self.items.append(Item((row,), f"task-{number}"))
        self.about = "one batch of eight rows, each under its own foreword"

    def step(self, number: int) -> float:
        self._round()
        return 0.0

    def check(self, count: int) -> list[float]:
        return [float(token) for ids in self._round() for token in ids]

    def _round(self) -> list[list[int]]:
        return [list(found[0].ids) for found in generate(self.bank, self.items, self.options)]


class _Budget:
    """The padded tokens of one pass when documents are run; the loop's own default."""

    max_tokens = 16384


def _mrpc_method(settings: Settings) -> dict[str, Any]:
    if settings["method"] == "lora":
        return {"name": "lora", "r": settings["r"], "lora_alpha": settings["alpha"]}
    if settings["method"] == "adapter":
        return {"name": "adapter", "config": "pfeiffer", "reduction_factor": settings["reduction_factor"]}
    tokens = settings["tokens"]
    if settings["method"] == "p-tuning":
        return {"name": "p-tuning", "num_virtual_tokens": tokens}
    # PEFT moves the text by P positions, which foreword does where it is told to.
    return {
        "name": "p-tuning-v2", "num_virtual_tokens": tokens, "layers": settings["layers"], "position_offset": tokens,
    }  # fmt: skip


def _config(settings: Settings, method: dict[str, Any], readout: dict[str, Any]) -> RunConfig:
    text = settings.get("template", "{text1}{sep}{text2}")
    return RunConfig.model_validate(
        {
            "data": mrpc_source(settings),
            "backbone": settings.get("model", "minilm-l6"),
            "template": {"text": text, "max_length": settings["max_length"]},
            "method": method,
            "readout": readout,
            "training": {
                "learning_rate": settings["rate"],
                "schedule": "constant",
                "batch_size": settings["batch"],
                "epochs": 1000,
                "precision": settings.get("precision", "float32"),
            },
            "seed": settings["seed"],
        }
    )


def _prompt_first(row: Row) -> Row:
    """The row with its virtual tokens in front of everything, [CLS] too: where PEFT puts them."""
    order = sorted(range(len(row)), key=lambda place: row.soft[place] < 0)
    now = {old: new for new, old in enumerate(order)}
    return replace(
        row,
        ids=tuple(row.ids[place] for place in order),
        soft=tuple(row.soft[place] for place in order),
        types=tuple(row.types[place] for place in order),
        cls=None if row.cls is None else now[row.cls],
        answers=tuple(now[place] for place in row.answers),
    )


def _with_prompt(ids: list[int], tokens: int, place: int, labels: int) -> Row:
    """A row with its virtual tokens at `place`; the places that predict its last `labels` tokens are its answers."""
    size = len(ids) + tokens
    soft = (*[-1] * place, *range(tokens), *[-1] * (len(ids) - place))
    answers = tuple(range(size - labels - 1, size - 1)) if labels else ()
    return Row((*ids[:place], *[0] * tokens, *ids[place:]), soft, (0,) * size, None, answers)


def _front(row: Row, tokens: int) -> Row:
    return Row(row.ids[:tokens], row.soft[:tokens], row.types[:tokens], None, ())


def _cache_of_its_own() -> tempfile.TemporaryDirectory[str]:
    """An empty cache, so that what is made once is made now, and timed. Models are loaded before it is set."""
    folder = tempfile.TemporaryDirectory(prefix="foreword-bench-")
    os.environ["FOREWORD_CACHE"] = folder.name
    return folder
