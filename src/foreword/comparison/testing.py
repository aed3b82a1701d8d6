"""Paired tests of all systems of a table over the same rows, corrected for their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from foreword.comparison.options import Options
from foreword.comparison.results import Run
from foreword.comparison.scoring import Floats, Scorer
from foreword.comparison.systems import System
from foreword.evaluation.statistics import (
    Pair,
    bootstrap_pairs,
    corpus_bootstrap_pairs,
    holm,
    randomization_pairs,
)


@dataclass(frozen=True)
class Contest:
    """System `first` minus system `second`: the difference with its interval over rows, and three p values.

    `bootstrap` is the paired bootstrap's; `randomization` that of approximate randomisation, None for a metric of a
    whole corpus; `holm` is the latter (or, without it, the former) corrected for all contests of the table. `n` rows.
    `without`: the seeds that one of the two left out as degenerate, and so neither is tested with.
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
    without: tuple[int, ...] = ()


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
    test says whether these trained systems differ on other rows of the kind, not what other seeds would give. A seed
    that one system of a pair left out is left out of both: a seed that is hard for all would else count against those
    that did not fail by it.
    """
    if isinstance(how, str):
        return (), {}, [f"no paired tests: {how}"]
    found: dict[str, list[tuple[int | None, Floats]]] = {}
    gaps: list[str] = []
    chosen, told = _common(main, [run for system in grouped for run in system.runs], options.split, how.portable)
    gaps += told
    for system in grouped:
        runs = [run for run in system.runs if str(run.path) in chosen]
        if runs:
            found[system.name] = [(run.seed, how.rows(run.part(options.split))[chosen[str(run.path)]]) for run in runs]
    if majority is not None:
        kept = next((chosen[str(run.path)] for run in main if str(run.path) in chosen), slice(None))
        found["majority"] = [(None, how.rows(majority)[kept])]
    if len(found) < 2:
        return (), _means(found, how), [*gaps, "no paired tests: there is one system alone"]
    left_out = {system.name: frozenset(run.seed for run, _ in system.left_out) for system in grouped}
    tested, told = _tested(found, left_out, how, options)
    return tested, _means(found, how), [*gaps, *told]


def _tested(
    found: Mapping[str, Sequence[tuple[int | None, Floats]]],
    left_out: Mapping[str, frozenset[int]],
    how: Scorer,
    options: Options,
) -> tuple[tuple[Contest, ...], list[str]]:
    """The contest of every pair, over the seeds that neither left out; and the pairs that share no such seed."""
    names = list(found)
    without = {pair: _either(left_out, pair) for pair in combinations(names, 2)}
    made: dict[tuple[str, str], Contest] = {}
    for seeds in set(without.values()):
        kept = {name: [rows for seed, rows in own if seed not in seeds] for name, own in found.items()}
        kept = {name: own for name, own in kept.items() if own}
        own_names = list(kept)
        for (i, j), contest in _pairs(own_names, list(kept.values()), how, options).items():
            pair = own_names[i], own_names[j]
            if without[pair] == seeds:
                made[pair] = replace(contest, without=tuple(sorted(seeds)))
    untested = [
        f"{one} and {other} are not tested: there is no seed that both learned with"
        for one, other in without
        if (one, other) not in made
    ]
    ordered = [made[pair] for pair in without if pair in made]
    corrected = holm([one.bootstrap if one.randomization is None else one.randomization for one in ordered])
    return tuple(replace(one, holm=float(p)) for one, p in zip(ordered, corrected, strict=True)), untested


def _either(left_out: Mapping[str, frozenset[int]], pair: tuple[str, str]) -> frozenset[int]:
    none: frozenset[int] = frozenset()
    return none.union(*(left_out.get(name, none) for name in pair))


def _pairs(
    names: Sequence[str], runs: Sequence[Sequence[Floats]], how: Scorer, options: Options
) -> dict[Pair, Contest]:
    """Every pair of the systems that have runs, before the correction for their number."""
    exchanged: Mapping[Pair, float] = {}
    if how.statistic is None:
        scores = [np.mean(own, axis=0) for own in runs]
        tests = bootstrap_pairs(scores, options.resamples, options.seed)
        exchanged = randomization_pairs(scores, options.resamples, options.seed)
    else:
        tests = corpus_bootstrap_pairs(runs, how.statistic, options.resamples, options.seed)
    return {
        (i, j): Contest(
            names[i],
            names[j],
            test.difference,
            test.interval.low,
            test.interval.high,
            test.p_value,
            exchanged.get((i, j)),
            holm=1.0,
            n=test.n,
        )
        for (i, j), test in tests.items()
    }


def _means(found: Mapping[str, Sequence[tuple[int | None, Floats]]], how: Scorer) -> Scores:
    """Each row's score by system, its mean over the seeds; nothing for a metric that rows do not have."""
    if how.statistic:
        return {}
    return {name: np.mean([rows for _, rows in own], axis=0) for name, own in found.items()}


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
