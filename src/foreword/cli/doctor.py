"""`foreword doctor`: is everything here that a run needs, and how fast is this machine."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Versions, speed, disk, and which models and data are at hand."""
    from foreword.cli import render

    facts = {**_software(), **_machine(), **_store()}
    if as_json:
        typer.echo(json.dumps(facts))
        return
    render.pairs([(name, str(value)) for name, value in facts.items()])


def _software() -> dict[str, Any]:
    import importlib.util

    from foreword.artifacts.manifest import versions

    extras = {"eval": "scipy", "data": "datasets", "serve": "fastapi", "peft": "peft", "track": "trackio"}
    here = [name for name, module in extras.items() if importlib.util.find_spec(module) is not None]
    return {**versions(), "extras": ", ".join(here) or "none"}


def _machine() -> dict[str, Any]:
    import torch

    from foreword.artifacts.manifest import machine
    from foreword.training.cost import matrix_rate

    facts: dict[str, Any] = {**machine(), "float32": f"{matrix_rate() / 1e9:.0f} GF/s"}
    facts["accelerator"] = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    return facts


def _store() -> dict[str, Any]:
    import shutil

    from foreword import store
    from foreword.data.named import NAMED, find_folder

    cache = store.cache_dir()
    place = next(p for p in (cache, *cache.parents) if p.exists())
    facts: dict[str, Any] = {"cache": str(cache), "free disk": f"{shutil.disk_usage(place).free / 2**30:.1f} GB"}
    for name in store.MODELS:
        facts[f"model {name}"] = "here" if store.is_pulled(name) else f"not yet: foreword models pull {name}"
    for name, named in NAMED.items():
        if named.hub is not None:
            facts[f"data {name}"] = "here" if find_folder(name) else "from the hub, or by FOREWORD_DATA"
    return facts
