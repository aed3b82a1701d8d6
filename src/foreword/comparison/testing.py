"""Paired tests of all systems of a table over the same rows, corrected for their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foreword.comparison.options import Options
from foreword.comparison.results import Run
from foreword.comparison.scoring import Floats, Scorer
from foreword.comparison.systems import System
from foreword.evaluation.statistics import (
    Pair,
    PairedTest,
    bootstrap_pairs,
    corpus_bootstrap_pairs,
    holm,
    randomization_pairs,
)

CORPUS_RESAMPLES = 2_000
"""At most so many resamples for a metric of a whole corpus, each of which is computed anew."""


@dataclass(frozen=True)
class Contest:
    """System `first` minus system `second`: the difference with its interval over rows, and three p values.

    `bootstrap` is the paired bootstrap's; `randomization` that of approximate randomisation, None for a metric of a
    whole corpus; `holm` is the latter (or, without it, the former) corrected for all contests of the table. `n` rows.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    bootstrap: float
    randomization: float | None
    holm: float
    n: int


Scores = dict[str, Floats]


def contests(
    grouped: Sequence[System],
    main: Sequence[Run],
    how: Scorer | str,
    majority: Mapping[str, Any] | None,
    options: Options,
) -> tuple[tuple[Contest, ...], Scores, list[str]]:
    """Every two systems, the majority class among them; each row's score by system; and what could not be tested.

    `main` are the runs on the rows that most were scored on. A row's score is its mean over a system's seeds, so that a
    test says whether these trained systems differ on other rows of the kind, not what other seeds would give.
    """
    if isinstance(how, str):
        return (), {}, [f"no paired tests: {how}"]
    found: dict[str, list[Floats]] = {}
    gaps: list[str] = []
    chosen, told = _common(main, [run for system in grouped for run in system.runs], options.split, how.portable)
    gaps += told
    for system in grouped:
        runs = [run for run in system.runs if str(run.path) in chosen]
        if runs:
            found[system.name] = [how.rows(run.part(options.split))[chosen[str(run.path)]] for run in runs]
    if majority is not None:
        kept = next((chosen[str(run.path)] for run in main if str(run.path) in chosen), slice(None))
        found["majority"] = [how.rows(majority)[kept]]
    names = list(found)
    if len(names) < 2:
        return (), _means(found, how), [*gaps, "no paired tests: there is one system alone"]
    if how.statistic is None:
        scores = [np.mean(own, axis=0) for own in found.values()]
        tests = bootstrap_pairs(scores, options.resamples, options.seed)
        exchanged = randomization_pairs(scores, options.resamples, options.seed)
    else:
        several = min(options.resamples, CORPUS_RESAMPLES)
        tests = corpus_bootstrap_pairs(list(found.values()), how.statistic, several, options.seed)
        exchanged = {}
    return _contests(names, tests, exchanged), _means(found, how), gaps


def _contests(
    names: Sequence[str], tests: Mapping[Pair, PairedTest], exchanged: Mapping[Pair, float]
) -> tuple[Contest, ...]:
    corrected = holm([exchanged.get(pair, test.p_value) for pair, test in tests.items()])
    return tuple(
        Contest(
            names[i],
            names[j],
            test.difference,
            test.interval.low,
            test.interval.high,
            test.p_value,
            exchanged.get((i, j)),
            float(p_value),
            test.n,
        )
        for ((i, j), test), p_value in zip(tests.items(), corrected, strict=True)
    )


def _means(found: Mapping[str, Sequence[Floats]], how: Scorer) -> Scores:
    """Each row's score by system, its mean over the seeds; nothing for a metric that rows do not have."""
    return {} if how.statistic else {name: np.mean(own, axis=0) for name, own in found.items()}


def _common(main: Sequence[Run], runs: Sequence[Run], split: str, portable: bool) -> tuple[dict[str, Any], list[str]]:
    """The places of the common rows in each run's own order, by the run's file; and which runs have none."""
    same = {str(run.path) for run in main}
    places: dict[str, Any] = {str(run.path): slice(None) for run in runs if str(run.path) in same}
    others = [run for run in runs if str(run.path) not in same]
    if not others:
        return places, []
    kept = main[0].examples(split) if portable else None
    usable = [run for run in others if kept and set(run.examples(split) or ()) & set(kept)]
    common = set(kept or ()).intersection(*(run.examples(split) or () for run in usable))
    gaps = [
        f"{run.path}: no common {split} examples are known; it is in no test" for run in others if run not in usable
    ]
    if not usable:
        return places, gaps
    if not common:
        return places, [*gaps, f"no {split} example is common to all runs; those on other rows are in no test"]
    order = sorted(common)
    gaps.append(f"the tests are over the {len(order)} {split} examples that all runs have in common")
    for run in (*(run for run in runs if str(run.path) in same), *usable):
        where = {example: k for k, example in enumerate(run.examples(split) or kept or ())}
        places[str(run.path)] = np.array([where[example] for example in order])
    return places, gaps
