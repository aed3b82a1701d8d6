"""What must not be mixed silently: results on other rows, of other data versions, or of other code."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from foreword.comparison.results import Run
from foreword.data.dataset import canonical
from foreword.errors import DataError

LIBRARIES = ("torch", "transformers", "tokenizers", "numpy")
MARKS = "†‡§¶‖#"


class Mixed(DataError):
    """Results that do not belong together, for which a comparison is refused."""


@dataclass(frozen=True)
class Mixture:
    """How the runs of one table differ where they should not.

    `refused`: differences for which a comparison is refused; `noted`: those that are only told. `marks`: the sign of
    each run that is not of the largest group, by its file.
    """

    refused: tuple[str, ...]
    noted: tuple[str, ...]
    marks: dict[str, str]


def mixture(runs: Sequence[Run], split: str) -> Mixture:
    """The differences among the runs of one table."""
    refused = [
        *_differ("the rows they were scored on", runs, lambda run: _rows(run, split)),
        *_by_source(runs),
        *_by_backbone(runs),
        *_differ("foreword's version", runs, lambda run: run.code[0]),
        *_differ("foreword's code (hash of its source)", [r for r in runs if r.code[1]], lambda run: run.code[1]),
    ]
    noted = [
        *_differ("the rows they were trained on", _trained(runs), partial(_data, "train")),
        *_differ("the precision of their steps", _trained(runs), _precision),
        *(
            difference
            for library in LIBRARIES
            for difference in _differ(f"{library}'s version", runs, partial(_version, library))
        ),
    ]
    old = [run for run in runs if run.schema < 2]
    if old:
        noted.append(
            f"{len(old)} of {len(runs)} results are of schema 1: their code is known by its version alone, and their "
            "rows by one hash of the whole split, not row by row"
        )
    return Mixture(tuple(refused), tuple(noted), _marks(runs, split) if refused else {})


def check(mixed: Mixture, task: str) -> None:
    """**Raises** `Mixed`, which names the differences for which a comparison is refused."""
    if mixed.refused:
        raise Mixed(
            f"these results of {task} do not belong together:\n  " + "\n  ".join(mixed.refused),
            do="run them again on the same data and code, or show them with a mark by --allow-mixed",
        )


def _trained(runs: Sequence[Run]) -> list[Run]:
    """Those that trained, and tell on which rows."""
    return [run for run in runs if run.data("train") and run.record.get("train", {}).get("steps")]


def _version(library: str, run: Run) -> str:
    return str(run.record["versions"].get(library, "none"))


def _precision(run: Run) -> str:
    return str((run.config.get("training") or {}).get("precision", "unknown"))


def _data(split: str, run: Run) -> str:
    return (run.data(split) or "")[:12]


def _rows(run: Run, split: str) -> str:
    return f"{run.part(split).get('rows', 0)} rows {(run.data(split) or 'of unknown hash')[:12]}"


def _by_source(runs: Sequence[Run]) -> Iterable[str]:
    """Training and validation rows that differ although the settings describe the same data."""
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        groups[canonical(run.record["config"].get("data"))].append(run)
    for group in groups.values():
        for name in ("train", "validation"):
            known = [run for run in group if run.data(name)]
            yield from _differ(f"the {name} rows of the same source", known, partial(_data, name))


def _by_backbone(runs: Sequence[Run]) -> Iterable[str]:
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        groups[str(run.record.get("backbone"))].append(run)
    for name, group in groups.items():
        yield from _differ(
            f"the weights of {name}", group, lambda run: str(run.record.get("backbone_fingerprint"))[:12]
        )


def _differ(what: str, runs: Sequence[Run], of: Callable[[Run], Hashable]) -> list[str]:
    """One sentence where the runs have more than one value, each with the first file that has it."""
    groups: dict[Hashable, list[Run]] = defaultdict(list)
    for run in runs:
        groups[of(run)].append(run)
    if len(groups) < 2:
        return []
    told = (f"{value} ({_files(group)})" for value, group in sorted(groups.items(), key=lambda pair: -len(pair[1])))
    return [f"{what}: " + "; ".join(told)]


def _files(group: Sequence[Run]) -> str:
    more = f" and {len(group) - 1} more" if len(group) > 1 else ""
    return f"{group[0].path}{more}"


def _marks(runs: Sequence[Run], split: str) -> dict[str, str]:
    """A sign for each combination of rows, code and weights but the most frequent one."""
    weights: dict[str, set[object]] = defaultdict(set)
    for run in runs:
        weights[str(run.record.get("backbone"))].add(run.record.get("backbone_fingerprint"))
    groups: dict[Hashable, list[Run]] = defaultdict(list)
    for run in runs:
        several = len(weights[str(run.record.get("backbone"))]) > 1
        own = run.record.get("backbone_fingerprint") if several else None
        groups[run.data(split), run.code, own].append(run)
    _, *others = sorted(groups.values(), key=len, reverse=True)
    return {str(run.path): MARKS[min(k, len(MARKS) - 1)] for k, group in enumerate(others) for run in group}
