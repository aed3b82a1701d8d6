"""Two texts, one of several classes: paraphrase, entailment, answer selection."""

from __future__ import annotations

from dataclasses import dataclass

from foreword.tasks.base import Task


@dataclass(frozen=True)
class PairClassification(Task):
    """A pair of texts belongs to one of several classes."""

    name: str = "pair-classification"
    fields: tuple[str, ...] = ("text1", "text2")
    default_template: str = "{text1}{sep}{text2}"
