"""A text, and its translation that is written."""

from __future__ import annotations

from dataclasses import dataclass

from foreword.tasks.base import Answer, Task


@dataclass(frozen=True)
class Translation(Task):
    """A text is put into another language."""

    name: str = "translation"
    fields: tuple[str, ...] = ("source",)
    default_template: str = "{source}\n\nTranslation:{mask}"
    target: str = "translation"
    metrics: tuple[str, ...] = ("bleu", "chrf", "target_token_share")
    answer: Answer = "text"
