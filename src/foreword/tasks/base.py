"""The description of a task: which fields an example has, how it reads as text, and how answers are scored."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """One kind of task.

    `fields` are the text fields of an example and `target` the field that is to be predicted. `default_template` turns
    an example into text (`{text}` a field, `{sep}` the model's separator, `{mask}` where the answer goes). `metrics`
    name what is measured, the first being the one that runs are chosen by.
    """

    name: str
    fields: tuple[str, ...]
    default_template: str
    target: str = "label"
    metrics: tuple[str, ...] = ("accuracy", "f1", "macro_f1", "mcc")
