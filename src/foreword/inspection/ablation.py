"""Taking things away: a token, a layer, the whole prompt, or all that training did; and what that does to the score.

The readout stays as it was trained beside the whole prompt, and nothing is trained again. So this says what the trained
foreword leans on, not what a foreword trained without the part could do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from foreword.errors import Unsupported
from foreword.evaluation.statistics import PairedTest
from foreword.injections import Injection, KeyValues, Sites, SoftTokens
from foreword.inspection.outcomes import Outcome, difference, measure
from foreword.inspection.subject import Subject, Variant, dropping_tokens, tables_of, without_prompt

ROUNDING = 1e-5
"""What a loss in float32 may differ by, as a share of it (or of 1, where it is less)."""


@dataclass(frozen=True)
class Ablated:
    """A variant's score, and how far it lies from the whole foreword's: `test` is variant less whole, paired by row.

    `loss_change`: likewise of the mean cross-entropy. `changed`: the answers that are others; None where none are
    given. `nothing`: the part does nothing on these rows, as not one answer is another, and the loss is up to rounding.
    """

    name: str
    kind: str
    score: float
    loss_change: float
    test: PairedTest
    changed: int | None
    nothing: bool

    @property
    def told(self) -> str:
        """The score, and its change with the interval."""
        low, high = self.test.interval.low, self.test.interval.high
        return f"{self.score:.4f} ({self.test.difference:+.4f} [{low:+.4f}, {high:+.4f}])"


def variants(subject: Subject) -> list[Variant]:
    """All single ablations: the whole, the initial one, each layer, each virtual token; no token where there is one."""
    found = [without_prompt(subject)]
    try:
        found.append(Variant("as it began", "initial", subject.initial))
    except Unsupported:
        pass
    found += layer_variants(subject)
    return found + token_variants(subject)


def token_variants(subject: Subject) -> list[Variant]:
    """One without each virtual token."""
    if subject.length < 2:
        return []
    return [dropping_tokens(subject, {i}, f"token {i}") for i in range(subject.length)]


def layer_variants(subject: Subject) -> list[Variant]:
    """One without what the foreword does in each layer: key/values, operations at sites."""
    sites = subject.injection.sites
    found = {layer for table in tables_of(subject.injection).values() for layer in table.layers}
    layers = sorted(found | {layer for layer, _, _ in (sites.at if sites else ())})
    if len(layers) < 2:
        return []
    return [Variant(f"layer {layer}", "layer", without_layer(subject.injection, layer)) for layer in layers]


def without_layer(injection: Injection, layer: int) -> Injection:
    """The injection with nothing in that layer."""
    fewer: dict[str, Any] = {}
    for name, table in tables_of(injection).items():
        kept = [i for i, own in enumerate(table.layers) if own != layer]
        left = KeyValues(tuple(table.layers[i] for i in kept), table.tensor[kept]) if kept else None
        fewer[name] = table if len(kept) == len(table.layers) else left
    injection, sites = replace(injection, **fewer), injection.sites
    if sites is not None:
        at = {place: operation for place, operation in sites.at.items() if place[0] != layer}
        injection = replace(injection, sites=Sites(at) if at else None)
    return injection


def ablate(
    subject: Subject,
    whole: Outcome,
    chosen: list[Variant],
    advance: Callable[[int], None] = lambda n: None,
) -> Iterator[tuple[Ablated, Outcome]]:
    """Each variant's score beside that of the `whole` foreword over the same rows. `advance` is told of variants."""
    for variant in chosen:
        outcome = measure(subject, variant)
        advance(1)
        yield ablated(variant, outcome, whole), outcome


def ablated(variant: Variant, outcome: Outcome, whole: Outcome) -> Ablated:
    """A variant's outcome against the whole foreword's."""
    changed = None
    if whole.answers:
        changed = sum(one != other for one, other in zip(outcome.answers, whole.answers, strict=True))
    test = difference(outcome, whole)
    loss = outcome.loss - whole.loss
    slack = ROUNDING * max(1.0, whole.loss)
    nothing = not changed and abs(loss) < slack and abs(test.difference) < slack
    return Ablated(variant.name, variant.kind, outcome.score, loss, test, changed, nothing)


def with_vectors(subject: Subject, soft: SoftTokens, name: str, kind: str) -> Variant:
    """The variant with other soft tokens in the places of its own."""
    return Variant(name, kind, replace(subject.injection, soft=soft))
