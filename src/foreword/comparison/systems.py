"""Runs that differ in their seed alone are one system; those that learned nothing are left out of its mean."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foreword.comparison.results import Run, differing

SAME = 0.02
"""A run is degenerate if the answers that differ from its most frequent one are fewer than this share of what they are
among the right ones."""


@dataclass(frozen=True)
class System:
    """A recipe with its seeds; `left_out` are runs that are degenerate, each with the reason."""

    name: str
    runs: tuple[Run, ...]
    left_out: tuple[tuple[Run, str], ...] = ()

    @property
    def any(self) -> Run:
        """One of its runs, for what they share."""
        return self.runs[0] if self.runs else self.left_out[0][0]

    @property
    def all_runs(self) -> tuple[Run, ...]:
        """Its runs and those that are left out, by seed."""
        return tuple(sorted((*self.runs, *(run for run, _ in self.left_out)), key=lambda run: run.seed))


def systems(runs: Sequence[Run], split: str) -> tuple[System, ...]:
    """The systems among the runs of one table, each with a name of its own."""
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: (run.name, run.seed)):
        groups[run.recipe].append(run)
    named: dict[str, list[list[Run]]] = defaultdict(list)
    for group in groups.values():
        named[group[0].name].append(group)
    made = []
    for name, same in named.items():
        for group, own in zip(same, _names(name, same), strict=True):
            judged = [(run, degenerate(run.part(split))) for run in group]
            kept = tuple(run for run, why in judged if why is None)
            made.append(System(own, kept, tuple((run, why) for run, why in judged if why is not None)))
    return tuple(made)


def degenerate(part: Mapping[str, Any]) -> str | None:
    """Why a split's answers are taken for nothing learned: (nearly) one answer everywhere; None where they are not.

    `foreword.evaluation.metrics.is_degenerate` finds runs with exactly one answer; this also finds those with a few
    others (`SAME`), whose scores are the majority class's all the same.
    """
    answers = [tag for row in part["predictions"] for tag in (row if isinstance(row, list) else [row])]
    if len(answers) < 2:
        return None
    most = Counter(answers).most_common(1)[0][1]
    told = (
        f"one answer in all {len(answers):,}" if most == len(answers) else f"one answer in {most:,} of {len(answers):,}"
    )
    if part.get("degenerate"):
        return told
    others = 1 - most / len(answers)
    return told if others <= SAME * (1 - _alike(part, len(answers))) and _alike(part, len(answers)) < 1 else None


def _alike(part: Mapping[str, Any], answers: int) -> float:
    """The share of the right answers that the most frequent one has, as far as the result tells."""
    targets = part.get("targets")
    if isinstance(targets, list) and targets:
        return Counter(targets).most_common(1)[0][1] / len(targets)
    majority = part.get("majority")
    if isinstance(majority, Mapping) and isinstance(majority.get("accuracy"), float):
        return float(majority["accuracy"])
    return 1 / answers


def _names(name: str, groups: Sequence[Sequence[Run]]) -> list[str]:
    """A name for each of several recipes that are called alike: with the first settings in which they differ."""
    if len(groups) == 1:
        return [name]
    folders = [group[0].path.parent.name for group in groups]
    if len(set(folders)) == len(groups) and groups[0][0].path.name != "result.json":
        return [f"{folder}/{name}" for folder in folders]
    named = [""] * len(groups)
    for field, values in differing([group[0] for group in groups]):
        named = [
            f"{one}{', ' if one else ''}{field.rpartition('.')[2]}={value}"
            for one, value in zip(named, values, strict=True)
        ]
        if len(set(named)) == len(groups):
            break
    return [f"{name} ({one})" if one else f"{name} ({k})" for k, one in enumerate(named, 1)]
