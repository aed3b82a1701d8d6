"""Something to serve at once: hard prompts on the small chat model, untrained, of which nothing is claimed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foreword import registry, store
from foreword.artifacts import storage
from foreword.assembly import assemble
from foreword.backbone.backbone import Backbone
from foreword.backbone.loading import load
from foreword.config import RunConfig, build

MODEL = "smollm2-135m-instruct"
LABELS = ("negative", "positive")


def _chat(text: str, tokens: int) -> dict[str, Any]:
    return {
        "template": {"text": text, "max_length": 768, "chat": True},
        "readout": {"name": "lm", "max_new_tokens": tokens},
    }


FOREWORDS: Mapping[str, dict[str, Any]] = {
    "sentiment": {
        "task": "classification",
        "template": {"text": "Review: {text}\nSentiment: {mask}", "max_length": 256},
        "readout": {"name": "verbalizer"},
    },
    "summary": {"task": "summarization", **_chat("Summarize this in one sentence:\n\n{document}{mask}", 64)},
    "french": {"task": "translation", **_chat("Translate this into French:\n\n{source}{mask}", 64)},
    "answer": {"task": "generative-qa", **_chat("{context}\n\nAnswer in a few words: {question}{mask}", 32)},
}
"""Settings of each, by name."""


def make(name: str | None = None) -> tuple[Path, Backbone]:
    """A folder in the cache with the demo's forewords for the model called `name`, and that model.

    **Raises** `BackboneError` where the model cannot be had; `Unsupported` where it writes no texts.
    """
    backbone = load(name or MODEL)
    folder = store.cache_dir() / "demo" / backbone.fingerprint[:12]
    for title, values in FOREWORDS.items():
        config = build(RunConfig, {"data": "none", "backbone": backbone.name, "method": "hard", **values})
        assert config.task is not None
        task = registry.tasks.get(config.task)()
        labels = LABELS if task.answer == "class" else ()
        storage.save(assemble(config, backbone, task, labels, ()), folder / title, title)
    return folder, backbone
