"""A style prompt: a prefix that is trained on a folder of texts, so that stories come out in their manner."""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field

from foreword import api
from foreword import config as configs
from foreword.artifacts import storage
from foreword.artifacts.manifest import machine, versions
from foreword.backbone.backbone import Backbone
from foreword.backbone.loading import load as load_backbone
from foreword.bank import Bank
from foreword.batch import Item
from foreword.config import RunConfig, Settings
from foreword.errors import ConfigError
from foreword.evaluation.writing import token_loss
from foreword.injections import Injection
from foreword.stories import style_texts
from foreword.stories.style_strength import interpolated
from foreword.stories.style_texts import Rows, Texts
from foreword.training.checkpoint import Progress
from foreword.training.folder import check_folder, make_folder
from foreword.training.loop import Reporter, Silent, run_together
from foreword.training.plan import Plan
from foreword.training.record import write_json

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Where on the line from the initial words to the learned prompt the held-out loss is measured."""


class StyleConfig(Settings):
    """How a style prompt is trained.

    `init_text`: the words it begins as, in front of every request; its tokens are the prompt's length. `answer_tokens`:
    how much of a story a row shows. `per_text`: rows of one text at the most, so that a long one does not rule.
    `held_out`: the share of the texts, whole ones, that the loss is measured on, by at most `held_out_rows` rows.
    """

    backbone: str = "smollm2-135m-instruct"
    init_text: str = Field("Write in the style of these stories, with their words and at their pace.", min_length=1)
    answer_tokens: int = Field(128, ge=16)
    per_text: int = Field(8, ge=1)
    held_out: float = Field(0.1, gt=0, lt=1)
    held_out_rows: int = Field(32, ge=1)
    epochs: float = Field(1.0, gt=0)
    max_steps: int | None = Field(None, ge=1)
    batch_size: int = Field(8, ge=1)
    learning_rate: float = Field(5e-3, gt=0)
    evaluate_every: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0)


@dataclass(frozen=True)
class Losses:
    """The mean cross-entropy of the held-out texts' tokens, in nats: of the bare model, and by strength."""

    bare: float
    by_strength: dict[float, float]

    @property
    def learned(self) -> float:
        """With the prompt as it was trained."""
        return self.by_strength[1.0]

    def lines(self) -> list[tuple[str, str]]:
        """Perplexities as names and readable values."""
        named = [("bare model", self.bare)] + [(f"strength {at:g}", loss) for at, loss in self.by_strength.items()]
        return [(name, f"perplexity {math.exp(loss):.2f}, loss {loss:.4f}") for name, loss in named]


@dataclass(frozen=True)
class Style:
    """A trained style prompt: its artifact's folder, the losses on held-out texts, and the record that was written."""

    artifact: Path
    losses: Losses
    record: dict[str, Any]


Told = Callable[[Texts, Rows, Plan], None]


def train(
    texts: str | Path,
    folder: str | Path,
    config: StyleConfig | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    reporter: Reporter | None = None,
    told: Told = lambda texts, rows, plan: None,
    backbone: Backbone | None = None,
) -> Style | None:
    """Train a style prompt on the texts of a folder, and keep the run in `folder`, the prompt in `folder`/artifact.

    **Arguments:** `resume`, `overwrite` and `reporter` as in `foreword.train`; `told` is given the cleaning report, the
    split and the plan before the first step; `dry_run` ends there, writes nothing that stays, and gives None.
    `backbone`: a causal model that is loaded already.

    The parts of the texts that are learned from stand in `folder`/rows: whoever has no right to a copy of the texts
    deletes them after the training.

    **Raises** what reading the texts and training raise; `Interrupted` after Ctrl-C, with the state saved.
    """
    config, place = config or StyleConfig(), Path(folder)
    found = style_texts.read(texts)
    model = backbone if backbone is not None else load_backbone(config.backbone)
    run = run_config(config, place, chat=bool(model.tokenizer.chat_template))
    check_folder(place, run, resume=resume, overwrite=overwrite)
    rows = _rows(found, config, model)
    if dry_run:
        with tempfile.TemporaryDirectory() as spare:
            told(found, rows, _prepared(run, Path(spare), rows, model).plan)
        return None
    make_folder(place, run, anew=overwrite)
    prepared = _prepared(run, place, rows, model)
    told(found, rows, prepared.plan)
    start = prepared.assembly.method.at_rest()
    started = api.start(prepared, place, reporter or Silent())
    assert started.loop is not None
    [progress] = run_together([started.loop], resume)
    losses = measure(prepared, start)
    metrics = {"validation": {"loss": losses.learned, "perplexity": math.exp(losses.learned)}}
    name = f"style-{re.sub(r'[^A-Za-z0-9_.-]+', '-', Path(texts).stem)}"
    storage.save(prepared.assembly, place / "artifact", name, metrics)
    record = _record(config, found, rows, prepared, progress, losses)
    write_json(place / "style.json", record)
    return Style(place / "artifact", losses, record)


def run_config(config: StyleConfig, place: Path, *, chat: bool) -> RunConfig:
    """The run that trains it: P-Tuning v2 from the initial words' own keys and values, read by the language model.

    `chat`: the request is the user's message in the model's chat template, as a writer has it; else a text.
    """
    values = {
        "data": {"source": str(place.absolute() / "rows")},
        "backbone": config.backbone,
        "task": "story-writing",
        "template": {"text": "{request}{mask}" if chat else "{request}\n\n{mask}", "chat": chat},
        "method": {"name": "p-tuning-v2", "init": "text", "init_text": config.init_text},
        "readout": {"name": "lm", "max_new_tokens": config.answer_tokens},
        "training": {
            "learning_rate": config.learning_rate,
            "warmup": 0.05,
            "batch_size": config.batch_size,
            "epochs": config.epochs,
            "max_steps": config.max_steps,
            "evaluate_every": config.evaluate_every,
        },
        "seed": config.seed,
    }
    return configs.build(RunConfig, values)


def measure(prepared: api.Prepared, start: Injection) -> Losses:
    """The held-out loss of the bare model and along the line from `start` to the prompt as it is now."""
    assembly = prepared.assembly
    bank, end = Bank(assembly.backbone), assembly.method.at_rest()
    assembly.readout.eval()
    budget = assembly.config.training.max_tokens

    def loss(name: str, injection: Injection) -> float:
        bank.put(name, injection, assembly.readout)
        return token_loss(bank, _owned(prepared.items["validation"], name), budget)

    bare = loss("bare", Injection())
    return Losses(bare, {at: loss(f"strength {at:g}", interpolated(start, end, at)) for at in STRENGTHS})


def _owned(items: Sequence[Item], owner: str) -> list[Item]:
    return [replace(item, owner=owner) for item in items]


def _rows(texts: Texts, config: StyleConfig, model: Backbone) -> Rows:
    def count(text: str) -> int:
        return len(model.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    return style_texts.rows(
        texts,
        count,
        config.answer_tokens,
        per_text=config.per_text,
        held_out=config.held_out,
        held_out_rows=config.held_out_rows,
    )


def _prepared(run: RunConfig, place: Path, rows: Rows, model: Backbone) -> api.Prepared:
    """The run on its rows, which are written to the folder first."""
    folder = place / "rows"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for split, part in (("train", rows.train), ("validation", rows.validation)):
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in part)
            (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write the rows: {error.strerror or error}", where=str(folder)) from None
    data = run.data.model_copy(update={"source": str(folder.absolute())})
    return api.prepare(run.model_copy(update={"data": data}), model)


def _record(
    config: StyleConfig, texts: Texts, rows: Rows, prepared: api.Prepared, progress: Progress, losses: Losses
) -> dict[str, Any]:
    by_name = {"bare": losses.bare, **{f"strength {at:g}": loss for at, loss in losses.by_strength.items()}}
    return {
        "config": config.model_dump(mode="json"),
        "texts": {"count": len(texts.texts), "words": texts.words, "left_out": texts.dropped},
        "rows": {
            "train": len(rows.train),
            "validation": len(rows.validation),
            "held_out_texts": len(rows.held_out),
            "largest_share": round(rows.largest[1], 4),
        },
        "trained_parameters": prepared.plan.trained_parameters,
        "steps": progress.step,
        "best_step": progress.best_step,
        "seconds": round(progress.seconds, 2),
        "loss": by_name,
        "perplexity": {name: math.exp(loss) for name, loss in by_name.items()},
        "curve": progress.curve,
        "plan": prepared.plan.to_dict(),
        "data": {split: prepared.dataset.fingerprint(split) for split in prepared.dataset.splits},
        "backbone_fingerprint": prepared.assembly.backbone.fingerprint,
        "versions": versions(),
        "machine": machine(),
    }
