"""A fact with its object left out, which is looked for among candidates."""

from __future__ import annotations

from dataclasses import dataclass

from foreword.tasks.base import Task


@dataclass(frozen=True)
class KnowledgeProbing(Task):
    """Which object is in this relation to the subject (Petroni et al. 2019)?

    The candidates are all distinct objects of the data, over all splits; a result holds for this list alone. An object
    may be met in testing alone: its words are known. `relation` is there for prompts that several relations share.
    """

    name: str = "knowledge-probing"
    fields: tuple[str, ...] = ("subject",)
    default_template: str = "{subject} {relation} {mask}"
    target: str = "object"
    metrics: tuple[str, ...] = ("p_at_1", "p_at_10", "mrr")
    optional: tuple[str, ...] = ("relation",)
    open_labels: bool = True
