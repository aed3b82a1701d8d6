"""`sweep.json`: what a sweep is, what its trials gave so far, and in the end who won. Resuming reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from foreword.errors import ConfigError
from foreword.sweep.search import Outcome
from foreword.sweep.space import label
from foreword.sweep.spec import Sweep

SCHEMA = 1
NAME = "sweep.json"
FREE = ("trials", "together", "max_minutes")
"""Settings of a search that may differ when it is resumed: the trials that are done stay what they are."""


def identity(sweep: Sweep, data: Mapping[str, str]) -> dict[str, Any]:
    """What a sweep's outcomes depend on, as plain data; `data` are fingerprints of the base recipe's splits."""
    search = {k: v for k, v in sweep.search.model_dump(mode="json").items() if k not in FREE}
    return {
        "recipe": sweep.base.model_dump(mode="json"),
        "space": dict(sweep.described),
        "search": search,
        "data": dict(data),
    }


def read(folder: Path) -> dict[str, Any] | None:
    """The folder's `sweep.json`, its rungs as `Outcome`s, or None. **Raises** `ConfigError` for a broken one."""
    path = folder / NAME
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["schema"] != SCHEMA or not isinstance(found["identity"], dict):
            raise KeyError("schema")
        for one in found["trials"]:
            one["rungs"] = [Outcome(**given) for given in one["rungs"]]
            one["number"] = int(one["number"])
        return dict(found)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError("this is no sweep that can be gone on with", where=str(path), do="use --overwrite") from None


def outcomes(found: Mapping[str, Any], sweep: Sweep, own: Mapping[str, Any]) -> dict[int, list[Outcome]]:
    """What trials gave before. **Raises** `ConfigError` that names the difference where it was another sweep."""
    differences = list(_differences(found["identity"], own))
    if differences:
        raise ConfigError(
            "the folder holds another sweep: " + "; ".join(differences[:4]),
            do="choose another folder by --output, or replace it by --overwrite",
        )
    return {one["number"]: one["rungs"] for one in found["trials"] if one["number"] < len(sweep.trials)}


def plain(given: Mapping[int, list[Outcome]], sweep: Sweep) -> list[dict[str, Any]]:
    """The trials as plain data, those that nothing is known of left out."""
    return [
        {"number": trial.number, "values": dict(trial.values), "rungs": [asdict(one) for one in given[trial.number]]}
        for trial in sweep.trials
        if given.get(trial.number)
    ]


def _differences(then: Any, now: Any, path: str = "") -> Iterator[str]:
    """Each place where two trees of plain data differ, with both values."""
    if isinstance(then, Mapping) and isinstance(now, Mapping) and then.keys() | now.keys():
        for name in dict.fromkeys([*then, *now]):
            inside = f"{path}.{name}" if path else str(name)
            if name not in now or name not in then:
                who = "then" if name in then else "now"
                yield f"{inside} is there only {who} ({label((then if name in then else now)[name])})"
            else:
                yield from _differences(then[name], now[name], inside)
    elif json.dumps(then) != json.dumps(now):
        yield f"{path} was {label(then)} and is {label(now)}"
