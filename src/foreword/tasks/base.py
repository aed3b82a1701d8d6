"""The description of a task: which fields an example has, how it reads as text, and how answers are scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Answer = Literal["class", "text", "tags", "span"]


@dataclass(frozen=True)
class Task:
    """One kind of task.

    `fields` are the text fields of an example and `target` the field that is to be predicted. `default_template` turns
    an example into text (`{text}` a field, `{sep}` the model's separator, `{mask}` where the answer goes). `metrics`
    name what is measured, the first being the one that runs are chosen by. `answer` says what the target is: one of
    several classes; a text that is written, for which runs are chosen by their loss; one tag for each word; or a part
    of a text. `spot` is the field that tags and parts point into.

    `optional` are fields that a template may use and an example may lack. `open_labels`: a class may be met that
    training does not have, since its words say what it is.
    """

    name: str
    fields: tuple[str, ...]
    default_template: str
    target: str = "label"
    metrics: tuple[str, ...] = ("accuracy", "f1", "macro_f1", "mcc")
    answer: Answer = "class"
    spot: str = ""
    optional: tuple[str, ...] = ()
    open_labels: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """All fields that an example may have beside the target."""
        return (*self.fields, *self.optional)

    @property
    def words(self) -> str:
        """The field that holds words, not a text; empty where there is none."""
        return self.spot if self.answer == "tags" else ""

    @property
    def selects_by(self) -> str:
        """The metric that runs are chosen by, where the settings name none."""
        return "loss" if self.answer == "text" else self.metrics[0]
