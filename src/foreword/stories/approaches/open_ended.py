"""As few rules as can be."""

from __future__ import annotations

from dataclasses import replace

from foreword.stories.approaches.base import Brief, Step, Turn
from foreword.stories.constraints import constraints
from foreword.stories.spec import StorySpec


class OpenEnded(Step):
    """Leaves style, tone, setting and the soft rules to the writer; what a story has to be stays."""

    name = "open-ended"

    def apply(self, brief: Brief, spec: StorySpec, turn: Turn) -> Brief:
        """Keep the topic and the hard constraints' clauses."""
        made = (constraints.get(name).of(spec) for name in constraints.names)
        soft = {one.clause() for one in made if one is not None and not one.hard}
        task = f"Write a story for a {spec.age}-year-old child. The topic: {spec.topic}. Tell it in any way you like."
        return replace(brief, task=task, details=(), rules=tuple(rule for rule in brief.rules if rule not in soft))
