"""A sentence as words, and a tag for each: named entities, chunks, slots."""

from __future__ import annotations

from dataclasses import dataclass

from foreword.tasks.base import Answer, Task


@dataclass(frozen=True)
class Tagging(Task):
    """Each word has a tag of the BIO scheme: `O`, `B-type` or `I-type`.

    `tokens` are the words, `tags` theirs. Words that are cut off to fit count as `O` when predictions are scored.
    """

    name: str = "tagging"
    fields: tuple[str, ...] = ("tokens",)
    default_template: str = "{tokens}"
    target: str = "tags"
    metrics: tuple[str, ...] = ("span_f1", "span_precision", "span_recall", "accuracy")
    answer: Answer = "tags"
    spot: str = "tokens"
