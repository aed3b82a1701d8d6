"""A passage and a question, and the part of the passage that answers it."""

from __future__ import annotations

from dataclasses import dataclass

from foreword.tasks.base import Answer, Task


@dataclass(frozen=True)
class ExtractiveQA(Task):
    """A question about a passage is answered by a part of it; any of several answers may be right.

    Trained on is the first of `answers` that stands in the passage, where it first stands as words of its own ("Japan"
    in "Japanese" only where it stands nowhere else). Where the data say that it stands is not read, and a short answer
    may stand somewhere else as well.
    """

    name: str = "extractive-qa"
    fields: tuple[str, ...] = ("context", "question")
    default_template: str = "{question}{sep}{context}"
    target: str = "answers"
    metrics: tuple[str, ...] = ("answer_f1", "exact_match")
    answer: Answer = "span"
    spot: str = "context"
