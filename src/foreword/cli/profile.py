"""`foreword profile RECIPE`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def profile(
    recipe: Annotated[Path, typer.Argument(help="A YAML file, such as one in recipes/.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="field.name=value, over the recipe's; may be repeated.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="How many steps are timed.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Where the time of a training step goes, against what the matrix products alone would take."""
    from foreword import api, config
    from foreword.cli import render
    from foreword.profile import profile as measure

    prepared = api.prepare(config.load(recipe, set_ or []))
    if not as_json:
        render.plan(prepared.plan)
    found = measure(prepared, steps)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=1))
        return
    rows = [[stage, f"{seconds * 1e3:.1f}", f"{seconds / found.step:.0%}"] for stage, seconds in found.stages.items()]
    render.grid(["stage", "ms", "of the step"], [*rows, ["a step", f"{found.step * 1e3:.1f}", "100%"]])
    render.grid(["operator", "of the time"], [[name, f"{share:.0%}"] for name, share in found.operators])
    render.out.print(
        f"floor: {found.gflop:.1f} GFLOP of matrix products at {found.gflops:.0f} GF/s, {found.floor * 1e3:.1f} ms, "
        f"{found.share:.0%} of a step"
    )
    if found.kept_seconds:
        render.out.print(f"the frozen layers' output was ready after {found.kept_seconds:.1f} s")
