"""A passage and a question, and an answer that is written."""

from __future__ import annotations

from dataclasses import dataclass

from foreword.tasks.base import Answer, Task


@dataclass(frozen=True)
class GenerativeQA(Task):
    """A question about a passage is answered in words; any of several answers may be right."""

    name: str = "generative-qa"
    fields: tuple[str, ...] = ("context", "question")
    default_template: str = "{context}\n\nQuestion: {question}\nAnswer:{mask}"
    target: str = "answers"
    metrics: tuple[str, ...] = ("answer_f1", "exact_match", "target_token_share")
    answer: Answer = "text"
