"""Rows whose answers point into them, and runs that learn them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foreword.assembly import Assembly
from support.backbones import shared
from support.forewords import METHODS, make

TAGS = ("O", "B-thing", "I-thing", "B-day")


def _tagged(text: str, *tags: int) -> dict[str, Any]:
    words = tuple(text.split(" "))
    return {"tokens": words, "tags": (*tags, *(0,) * (len(words) - len(tags)))}


SENTENCES: tuple[dict[str, Any], ...] = (
    _tagged("The film was great .", 0, 1),
    _tagged("A boring and awful movie , it was not worth the money", 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2),
    _tagged("good", 0),
    _tagged("Tomorrow's story was paraphrased on Monday", 3, 1, 0, 0, 0, 3),
    _tagged("It was a wonderful evening !", 0, 0, 0, 0, 3),
    _tagged("Is company's product broke after two-days", 1, 2, 2),
    _tagged("the battery is good ...", 1, 2),
    _tagged("Ünïcode? (battery) 3 percent", 0, 1),
)
QUESTIONS: tuple[dict[str, Any], ...] = (
    {"context": "The film was great.", "question": "Is it good?", "answers": ("great",)},
    {"context": "A boring and awful movie, it was not worth the money", "question": "What?", "answers": ("the money",)},
    {"context": "good", "question": "Is the film good?", "answers": ("good", "it is")},
    {"context": "The story was terrible (and the acting was bad)", "question": "", "answers": ("the acting",)},
    {
        "context": "The film was great and the acting was good, and the story of the second film was not good. It was "
        "a wonderful evening, it was great fun! The battery is good, and it still works well, and it was fun",
        "question": "yes or no",
        "answers": ("great fun!",),
    },
    {"context": "The product broke after two days", "question": "How long?", "answers": ("after two days", "two days")},
    {"context": "the  battery is good\nand it still works well", "question": "What works?", "answers": ("battery",)},
    {"context": "Ünïcode was boring? It was", "question": "Was it?", "answers": ("Ünïcode",)},
)
CHOSEN = (
    "linear-probe", "full", "prompt-text", "prompt-middle", "prompt-both", "p-tuning-lstm", "v2-random",
    "v2-top", "v2-text", "lora", "adapter-houlsby", "combined-soft",
)  # fmt: skip
"""Methods of every way in which something is injected, but for virtual tokens behind a causal model's text alone."""


def tagger(family: str, method: str, **changes: Any) -> Assembly:
    """A run that tags words."""
    settings = {"max_tokens": 200, "task": "tagging", "template": _template(method, "{tokens}"), **changes}
    readout = {"name": "token", **settings.pop("readout", {})}
    return make(family, method, readout, backbone=shared(family), rows=SENTENCES, labels=TAGS, **settings)


def finder(family: str, method: str, **changes: Any) -> Assembly:
    """A run that finds answers; windows are short, so that some texts need several."""
    template = {"text": _template(method, "{question}{sep}{context}"), "max_length": 32}
    settings = {"max_tokens": 200, "task": "extractive-qa", "template": template, **changes}
    readout = {"name": "span", "max_answer_length": 4, "stride": 4, **settings.pop("readout", {})}
    return make(family, method, readout, backbone=shared(family), rows=QUESTIONS, labels=(), **settings)


def _template(method: str, text: str) -> str:
    own: Mapping[str, Any] = METHODS[method]
    return str(own.get("template", "{text}")).replace("{text}", text)
