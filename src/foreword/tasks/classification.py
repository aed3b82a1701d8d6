"""One text, one of several classes: sentiment, topic, intent."""

from __future__ import annotations

from dataclasses import dataclass

from foreword.tasks.base import Task


@dataclass(frozen=True)
class Classification(Task):
    """A text belongs to one of several classes."""

    name: str = "classification"
    fields: tuple[str, ...] = ("text",)
    default_template: str = "{text}"
