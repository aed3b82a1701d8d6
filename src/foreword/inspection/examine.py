"""All there is to find out about one foreword, one computation after another; what cannot be had is named with why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from torch import Tensor

from foreword.errors import Unsupported
from foreword.evaluation.statistics import Interval
from foreword.inspection.ablation import Ablated, ablate, ablated, variants
from foreword.inspection.attention import Shares, attention_shares
from foreword.inspection.discrete import DRAWS, Discrete, discretise
from foreword.inspection.drift import Moved, course, drift
from foreword.inspection.effect import Change, Effect, changed_answers, moved_tokens
from foreword.inspection.minimal import Minimal, minimal
from foreword.inspection.outcomes import Outcome, interval_of, measure
from foreword.inspection.plane import Plane, plane
from foreword.inspection.subject import Subject
from foreword.inspection.vocabulary import Vocabulary, entries
from foreword.inspection.words import Reading, read_words

T = TypeVar("T")
Advance = Callable[[int], None]
Progress = Callable[[str, int], Advance]
"""Given a title and how much there is to do, what is told of what is done."""


def quiet(title: str, total: int) -> Advance:
    """Progress that nobody is told of."""
    return lambda n: None


@dataclass(frozen=True)
class Wanted:
    """What to look for.

    `top` words a token; `pieces`: compare with all entries of the vocabulary, not with whole words alone; `ablations`:
    the score without each part; `minimal`: the smallest part that keeps 99%, which takes twice as long again.
    """

    top: int = 5
    pieces: bool = False
    ablations: bool = True
    minimal: bool = False
    seed: int = 0


@dataclass
class Inspection:
    """What was found. What could not be had is None or empty, and `gaps` says why.

    `score` is the whole foreword's on `rows` rows, with its 95% interval over rows. `changed`: how many answers are
    others than the bare backbone's under the same readout, and examples.
    """

    name: str
    method: str
    backbone: str
    rows: int
    length: int
    soft: int = 0
    words: list[Reading] = field(default_factory=list)
    vocabulary: int = 0
    whole_words: bool = True
    moved: list[Moved] = field(default_factory=list)
    course: list[dict[str, Any]] = field(default_factory=list)
    plane: Plane | None = None
    metric: str = ""
    score: float | None = None
    interval: Interval | None = None
    ablations: list[Ablated] = field(default_factory=list)
    changed: tuple[int, list[Change]] | None = None
    discrete: Discrete | None = None
    shares: Shares | None = None
    effect: Effect | None = None
    minimal: Minimal | None = None
    minimal_result: Ablated | None = None
    gaps: dict[str, str] = field(default_factory=dict)

    @property
    def counted(self) -> str:
        """How many virtual tokens it has, and where, if at two places."""
        if 0 < self.soft < self.length:
            numbers = f"0 to {self.soft - 1} among the words, {self.soft} to {self.length - 1} as key/values"
            return f"{self.length}: {numbers}"
        return str(self.length)

    @property
    def idle(self) -> list[str]:
        """The parts without which nothing is another on these rows."""
        return [one.name for one in self.ablations if one.nothing]


def inspect(
    subject: Subject, selection: Subject | None = None, wanted: Wanted | None = None, progress: Progress = quiet
) -> Inspection:
    """Look into a foreword. `selection` has the rows that a minimal prompt is chosen on.

    **Raises** `ForewordError` for what makes all of it impossible; the rest goes into `gaps`.
    """
    wanted = wanted or Wanted()
    found = Inspection(
        subject.foreword.manifest.name, subject.method, subject.backbone.name, len(subject.rows), subject.length,
        subject.soft,
    )  # fmt: skip
    initial = _attempt(found, "drift", lambda: subject.initial)
    if initial is not None:
        found.moved = drift(initial, subject.injection, subject.backbone)
    found.course = course(subject.folder)
    start = None if initial is None or initial.soft is None else initial.soft.vectors
    vocabulary = _attempt(found, "words", lambda: _words(found, subject, start, wanted))
    if not subject.rows:
        found.gaps["rows"] = "there are no rows, so nothing could be tried out"
        return found
    whole = _whole(found, subject, progress)
    if wanted.ablations:
        _ablations(found, subject, whole, progress)
    if vocabulary is not None:
        advance = progress("the nearest words", DRAWS + 1)
        found.discrete = _attempt(
            found, "discrete", lambda: discretise(subject, whole, found.words, vocabulary, advance, wanted.seed)
        )
    _looks(found, subject, progress)
    if wanted.minimal:
        _minimal(found, subject, selection, whole, progress)
    return found


def _attempt(found: Inspection, name: str, compute: Callable[[], T]) -> T | None:
    try:
        return compute()
    except Unsupported as error:
        found.gaps[name] = error.what
        return None


def _words(found: Inspection, subject: Subject, start: Tensor | None, wanted: Wanted) -> Vocabulary:
    soft = subject.injection.soft
    if soft is None:
        raise Unsupported(
            f"{subject.method} has no virtual tokens among the words; vectors of a layer inside have no vocabulary"
        )
    vocabulary = Vocabulary.of(subject.backbone, whole=not wanted.pieces)
    begun = None if start is None else (start, entries(subject.backbone, start))
    found.words = read_words(soft.vectors, vocabulary, begun, wanted.top, wanted.seed)
    found.vocabulary, found.whole_words = len(vocabulary.ids), vocabulary.whole
    found.plane = plane(soft.vectors, vocabulary, start, wanted.seed)
    return vocabulary


def _whole(found: Inspection, subject: Subject, progress: Progress) -> Outcome:
    whole = measure(subject, advance=progress("the whole foreword", len(subject.rows)))
    found.metric, found.score = whole.metric, whole.score
    found.interval = interval_of(whole)
    return whole


def _ablations(found: Inspection, subject: Subject, whole: Outcome, progress: Progress) -> None:
    chosen = variants(subject)
    for one, outcome in ablate(subject, whole, chosen, progress("ablations", len(chosen))):
        found.ablations.append(one)
        if one.kind == "whole" and whole.answers:
            found.changed = changed_answers(subject, whole, outcome)


def _looks(found: Inspection, subject: Subject, progress: Progress) -> None:
    rows = len(subject.rows)
    found.shares = _attempt(found, "attention", lambda: attention_shares(subject, progress("attention", rows)))
    found.effect = _attempt(found, "effect", lambda: moved_tokens(subject, advance=progress("states", rows)))


def _minimal(
    found: Inspection, subject: Subject, selection: Subject | None, whole: Outcome, progress: Progress
) -> None:
    if selection is None or not selection.rows:
        found.gaps["minimal"] = "there are no other rows to choose a minimal prompt on"
        return
    units = subject.length if subject.length > 1 else subject.backbone.geometry.layers
    advance = progress("a minimal prompt", 2 * units + 1)
    found.minimal = _attempt(found, "minimal", lambda: minimal(selection, advance=advance))
    if found.minimal is not None:
        variant = replace(found.minimal.variant, name="the minimal prompt", kind="minimal")
        found.minimal_result = ablated(variant, measure(subject, variant), whole)
