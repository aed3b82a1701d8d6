"""The smallest part of a prompt that keeps 99% of its score, found greedily, and saved as an artifact of its own.

The units are virtual tokens, or layers where there are no two of these. They are ordered once, by how much the loss
rises without each alone; then each in turn is left out for good if the score without it and those before it is still
99% of the whole's. That is 2 P evaluations where the best of all 2^P parts is not sought. It is chosen on other rows
than it is reported on, or the choice would flatter it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from foreword.artifacts.rewriting import rewrite, slots_of, with_tokens
from foreword.errors import Unsupported
from foreword.injections import Injection
from foreword.inspection.ablation import layer_variants, token_variants, without_layer
from foreword.inspection.outcomes import Outcome, measure
from foreword.inspection.subject import Subject, Variant, dropping_tokens

SHARE = 0.99


@dataclass(frozen=True)
class Minimal:
    """What is kept of a prompt's units ("token" or "layer"), and the scores on the rows it was chosen on."""

    unit: str
    kept: tuple[int, ...]
    units: int
    whole: float
    score: float
    rows: int
    variant: Variant

    @property
    def told(self) -> str:
        """What was found, in words."""
        names = ", ".join(map(str, self.kept))
        return (
            f"{len(self.kept)} of {self.units} {self.unit}s ({names}), chosen on {self.rows} other rows, where it "
            f"keeps {self.score:.4f} of {self.whole:.4f}{self.beside}"
        )

    @property
    def beside(self) -> str:
        """What stays whatever tokens go."""
        sites = self.variant.injection.sites is not None and self.unit == "token"
        return "; what it does at the layers' modules stays as it is" if sites else ""


def minimal(subject: Subject, share: float = SHARE, advance: Callable[[int], None] = lambda n: None) -> Minimal:
    """Leave out what the score on the subject's rows does not need. At least one unit stays in every soft slot.

    **Raises** `Unsupported` for a foreword that is one unit alone.
    """
    tokens = token_variants(subject)
    unit, single = ("token", tokens) if tokens else ("layer", layer_variants(subject))
    if not single:
        raise Unsupported(f"{subject.method} has no two virtual tokens or layers of which one could be left out")
    names = [int(variant.name.split()[1]) for variant in single]
    whole = measure(subject)
    advance(1)
    losses = []
    for variant in single:
        losses.append(measure(subject, variant).loss)
        advance(1)
    dropped: set[int] = set()
    best, kept_score = Variant("the whole", "minimal", subject.injection), whole.score
    for _, name in sorted(zip(losses, names, strict=True)):
        advance(1)
        if not _may_go(subject, unit, dropped | {name}, names):
            continue
        variant = _without(subject, unit, dropped | {name})
        outcome = measure(subject, variant)
        if _keeps(outcome, whole, share):
            dropped.add(name)
            best, kept_score = variant, outcome.score
    kept = tuple(name for name in names if name not in dropped)
    return Minimal(unit, kept, len(names), whole.score, kept_score, len(subject.rows), best)


def save_minimal(subject: Subject, found: Minimal, folder: Path) -> Path:
    """Write it as an artifact that stands for itself. **Raises** `ArtifactError` where it cannot be written."""
    manifest = subject.foreword.manifest
    if found.unit == "token":
        template = subject.foreword.reader.encoder.template if subject.injection.soft is not None else None
        manifest = with_tokens(manifest, found.kept, found.units, template)
    else:
        manifest = manifest.model_copy(update={"name": f"{manifest.name}-minimal", "metrics": {}})
    return rewrite(manifest, found.variant.injection, dict(subject.readout.state_dict()), folder)


def _without(subject: Subject, unit: str, dropped: set[int]) -> Variant:
    if unit == "token":
        return dropping_tokens(subject, dropped, "a part of the prompt", "minimal")
    injection: Injection = subject.injection
    for layer in dropped:
        injection = without_layer(injection, layer)
    return Variant("a part of the prompt", "minimal", injection)


def _may_go(subject: Subject, unit: str, dropped: set[int], names: list[int]) -> bool:
    if unit == "token" and subject.injection.soft is not None:
        slots = slots_of(subject.foreword.reader.encoder.template)
        return all(set(slot) - dropped for slot in slots)
    return len(dropped) < len(names)


def _keeps(outcome: Outcome, whole: Outcome, share: float) -> bool:
    if whole.higher_is_better:
        return outcome.score >= share * whole.score
    return outcome.score <= whole.score / share
