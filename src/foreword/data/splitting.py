"""Seeded splits and samples, stratified by class, that do not depend on the order of the rows in the file.

Rows are ordered by sha256 of the seed and their own content. Rows with the same input always share a split, so that no
test input has been trained on.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from foreword.config import SplitConfig
from foreword.data.dataset import Example, Split, canonical
from foreword.errors import DataError


def cut(
    rows: Sequence[Example], fields: Sequence[str], target: str, config: SplitConfig, source: str
) -> dict[Split, tuple[Example, ...]]:
    """Cut rows into train and, where their share is above 0, validation and test.

    Without repeated inputs every class has its share in every split to within one row, and train at least one row of
    each class. Repeated inputs stay together, a group counting for its first label. **Raises** `DataError` if a split
    would be empty or the shares leave nothing for training.
    """
    if config.validation + config.test >= 1:
        raise DataError(
            "validation and test together leave no training rows", do="make split.validation + test below 1"
        )
    strata = _strata(rows, fields, target, config)
    sizes = [sum(map(len, groups)) for groups in strata]
    wanted = {"test": _quotas(sizes, config.test), "validation": _quotas(sizes, config.validation)}
    parts: dict[Split, list[Example]] = {"train": [], "validation": [], "test": []}
    for index, groups in enumerate(strata):
        room = {"test": wanted["test"][index], "validation": wanted["validation"][index]}
        exact = {"test": sizes[index] * config.test, "validation": sizes[index] * config.validation}
        while sum(room.values()) > sizes[index] - 1:  # one row of each class is for training
            most_over = max(room, key=lambda name: room[name] - exact[name])
            room[most_over] -= 1
        left = sizes[index]
        for group in groups:
            # `left - len(group) > 0` keeps a class's last group for training, however the groups' sizes fall
            fits = len(group) < left
            place: Split = "train"
            if fits and len(group) <= room["test"]:
                place = "test"
            elif fits and len(group) <= room["validation"]:
                place = "validation"
            if place != "train":
                room[place] -= len(group)
                left -= len(group)
            parts[place].extend(group)
    return _ordered(parts, config, source)


def _strata(
    rows: Sequence[Example], fields: Sequence[str], target: str, config: SplitConfig
) -> list[list[list[Example]]]:
    """For each class its groups of rows with one input, in the seeded order."""
    groups: dict[str, list[Example]] = defaultdict(list)
    for row in rows:
        groups[canonical([row.get(field) for field in fields])].append(row)
    strata: dict[int, list[list[Example]]] = defaultdict(list)
    for key in sorted(groups, key=lambda text: _hash(config.seed, text)):
        group = sorted(groups[key], key=canonical)
        strata[_class(group[0], target) if config.stratify else 0].append(group)
    return [strata[name] for name in sorted(strata)]


def _quotas(sizes: Sequence[int], share: float) -> list[int]:
    """Rows for each class, each its exact share rounded down or up, in total the share of all (at least one row)."""
    if share == 0:
        return [0] * len(sizes)
    exact = [size * share for size in sizes]
    quotas = [math.floor(x) for x in exact]
    missing = max(1, round(sum(sizes) * share)) - sum(quotas)
    largest_rest = sorted(range(len(sizes)), key=lambda i: quotas[i] - exact[i])
    for index in largest_rest[: max(0, missing)]:
        quotas[index] += 1
    return quotas


def _ordered(
    parts: Mapping[Split, list[Example]], config: SplitConfig, source: str
) -> dict[Split, tuple[Example, ...]]:
    shares: dict[Split, float] = {"train": 1, "validation": config.validation, "test": config.test}
    done: dict[Split, tuple[Example, ...]] = {}
    for split, rows in parts.items():
        if shares[split] == 0:
            continue
        if not rows:
            total = sum(map(len, parts.values()))
            do = f"add rows, or set data.split.{split} to 0" if split != "train" else "add rows"
            if config.stratify and split != "train":
                do += "; data.split.stratify: false takes rows of classes that have one alone"
            raise DataError(f"{total} rows are too few to cut a {split} split from", where=source, do=do)
        done[split] = tuple(sorted(rows, key=lambda row: _hash(config.seed, canonical(row))))
    return done


def sample(rows: Sequence[Example], target: str, count: int, seed: int) -> tuple[Example, ...]:
    """The first `count` rows of a seeded order in which every beginning has the classes in proportion.

    A larger sample with the same seed holds the smaller one. **Raises** `DataError` for a count below 1.
    """
    if count < 1:
        raise DataError(f"a limit of {count} rows leaves nothing", do="give data.limit a number of at least 1")
    classes: dict[int, list[Example]] = defaultdict(list)
    for row in sorted(rows, key=lambda r: _hash(seed, canonical(r))):
        classes[_class(row, target)].append(row)
    spread = [
        ((rank + 0.5) / len(members), label, rank) for label, members in classes.items() for rank in range(len(members))
    ]
    return tuple(classes[label][rank] for _, label, rank in sorted(spread)[:count])


def _class(row: Example, target: str) -> int:
    """The row's class; rows whose answer is a text or tags are all of one."""
    return row[target] if isinstance(row[target], int) else 0


def _hash(seed: int, text: str) -> bytes:
    return hashlib.sha256(f"{seed}\n{text}".encode("utf-8", "surrogatepass")).digest()
