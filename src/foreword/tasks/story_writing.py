"""A request, and a story that is written."""

from __future__ import annotations

from dataclasses import dataclass

from foreword.tasks.base import Answer, Task


@dataclass(frozen=True)
class StoryWriting(Task):
    """A story, or a part of one, is told as it was asked for.

    There is no one right story: the loss on held-out ones is what runs are judged by, and the words that a story shares
    with another answer to the same request say little.
    """

    name: str = "story-writing"
    fields: tuple[str, ...] = ("request",)
    default_template: str = "{request}\n\n{mask}"
    target: str = "story"
    metrics: tuple[str, ...] = ("target_token_share",)
    answer: Answer = "text"
