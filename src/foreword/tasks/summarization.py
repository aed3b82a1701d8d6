"""A document, and a summary that is written."""

from __future__ import annotations

from dataclasses import dataclass

from foreword.tasks.base import Answer, Task


@dataclass(frozen=True)
class Summarization(Task):
    """A document is told in a few sentences."""

    name: str = "summarization"
    fields: tuple[str, ...] = ("document",)
    default_template: str = "{document}\n\nSummary:{mask}"
    target: str = "summary"
    metrics: tuple[str, ...] = ("rouge_l", "rouge_1", "rouge_2", "target_token_share")
    answer: Answer = "text"
