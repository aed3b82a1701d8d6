"""How alike forewords over one backbone are: the cosine of what they are, and of what training moved them by.

The second is the task vector (Ilharco et al. 2023, for weights; Vu et al. 2022, "SPoT", compare prompts by the cosine
of their mean tokens): what a foreword is less what it was before training. Without it, two prompts that started from
the same words look alike whatever they learned. Neither says that two forewords *do* the same: other vectors can have
the same effect, and what one learned may or may not help another task; only a trial says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from foreword.errors import ArtifactError, DataError, Unsupported
from foreword.inspection.parts import pooled_of
from foreword.inspection.subject import Subject

DEVIATIONS = 3.0
Matrix = tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class Likeness:
    """`[F, F]` cosines of the forewords `names`: of what they are, and of their task vectors.

    None where two have nothing in common to compare, or where it is not known what one was before training. `chance`:
    `[F, F]`, the deviation of the cosine of two random vectors of so many numbers.
    """

    names: tuple[str, ...]
    values: Matrix
    moved: Matrix
    chance: Matrix

    def nearest(self, number: int) -> tuple[int, float] | None:
        """The other that is most alike, by task vectors where there are any; None where none can be compared.

        `beyond_chance` says whether that is more than two random ones would often be.
        """
        for matrix in (self.moved, self.values):
            known = [(value, i) for i, value in enumerate(matrix[number]) if value is not None and i != number]
            if known:
                value, place = max(known)
                return place, value
        return None

    def beyond_chance(self, number: int, other: int, value: float) -> bool:
        """Whether a cosine of the two is further above 0 than three deviations of random vectors'."""
        chance = self.chance[number][other]
        return chance is not None and value > DEVIATIONS * chance


def likeness(subjects: Sequence[Subject]) -> Likeness:
    """Compare forewords two by two.

    **Raises** `ArtifactError` for forewords of different backbones; `DataError` for one alone.
    """
    if len(subjects) < 2:
        raise DataError("likeness is of two forewords or more", do="give another artifact")
    check_backbones(subjects)
    final = [pooled_of(one.injection, one.backbone) for one in subjects]
    moved = [_task_vector(one, own) for one, own in zip(subjects, final, strict=True)]
    return Likeness(titles(subjects), _matrix(final), _matrix(moved), _matrix(final, chance=True))


def check_backbones(subjects: Sequence[Subject]) -> None:
    """**Raises** `ArtifactError` for forewords of different backbones."""
    first = subjects[0].foreword.manifest.backbone
    for one in subjects[1:]:
        info = one.foreword.manifest.backbone
        if info.fingerprint != first.fingerprint:
            raise ArtifactError(
                f"'{one.foreword.name}' was made for {info.name}, and '{subjects[0].foreword.name}' for {first.name}",
                do="compare forewords of one backbone; vectors of two have nothing in common",
            )


def titles(subjects: Sequence[Subject]) -> tuple[str, ...]:
    """A name for each: the artifact's, and where two have the same, the folder it lies in."""
    names = [one.foreword.manifest.name for one in subjects]
    if len(set(names)) == len(names):
        return tuple(names)
    return tuple(
        f"{name} ({one.folder or number})" for number, (one, name) in enumerate(zip(subjects, names, strict=True), 1)
    )


def _task_vector(subject: Subject, final: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    try:
        start = pooled_of(subject.initial, subject.backbone)
    except Unsupported:
        return {}
    return {name: tensor - start[name] for name, tensor in final.items()}


def _matrix(parts: Sequence[Mapping[str, Tensor]], *, chance: bool = False) -> Matrix:
    return tuple(tuple(_cosine(one, other, chance) for other in parts) for one in parts)


def _cosine(one: Mapping[str, Tensor], other: Mapping[str, Tensor], chance: bool) -> float | None:
    common = [name for name in one if name in other and one[name].shape == other[name].shape]
    if not common:
        return None
    ours, theirs = (torch.cat([parts[name].flatten() for name in common]).double() for parts in (one, other))
    if chance:
        return 1 / math.sqrt(len(ours))
    lengths = float(ours.norm() * theirs.norm())
    return float(ours @ theirs) / lengths if lengths > 0 else None
