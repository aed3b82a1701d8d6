"""`foreword train RECIPE`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[Path, typer.Argument(help="A YAML file, such as one in recipes/.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="field.name=value, over the recipe's; may be repeated.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="The run's folder (default: runs/NAME-seedN).")] = None,
    seed: Annotated[int | None, typer.Option(help="The run's seed, over the recipe's.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the folder's checkpoint.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that is in the folder.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    result: Annotated[Path | None, typer.Option(help="Write the result's JSON here too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train one run: a plan first, then training, then its scores beside the majority class."""
    from foreword import api, config
    from foreword.cli import render
    from foreword.errors import ConfigError
    from foreword.training.record import write_json

    overrides = [*(set_ or []), *([] if seed is None else [f"seed={seed}"])]
    run = config.load(recipe, overrides)
    if dry_run:
        prepared = api.prepare(run)
        typer.echo(json.dumps(prepared.plan.to_dict(), indent=1)) if as_json else render.plan(prepared.plan)
        return
    if result is not None and (result.is_dir() or not result.name):
        raise ConfigError(f"--result names a folder: {result}", do="give the name of a JSON file")
    folder = output or Path(run.output or f"runs/{recipe.absolute().parent.name}-{recipe.stem}-seed{run.seed}")
    with render.Bar() as bar:
        made = api.train(run, folder=folder, resume=resume, overwrite=overwrite, reporter=bar, on_plan=render.plan)
    if result is not None:
        write_json(result, made.record)
    if as_json:
        typer.echo(json.dumps(made.record))
        return
    show(made.record)
    render.out.print(
        f'saved in {folder}; use it: foreword predict {folder / "artifact"} "..."', markup=False, soft_wrap=True
    )


def show(record: dict) -> None:
    """The result as a table: each split beside its majority class, and a word about degenerate runs."""
    from foreword.cli import render

    rows = []
    for split in ("validation", "test"):
        if split not in record:
            continue
        one = record[split]
        for who, values in (("this run", one), ("majority class", one["majority"])):
            scores = [
                f"{values[name]:.4f}" if name in values else ""
                for name in ("accuracy", "f1", "macro_f1", "mcc", "loss")
            ]
            rows.append([f"{split} ({one['rows']} rows): {who}", *scores])
    f1 = f"F1 of {record['f1_of']}" if record["f1_of"] else "F1"
    render.grid(["", "accuracy", f1, "macro F1", "MCC", "loss"], rows)
    train, seconds = record["train"], record["seconds"]
    stop = ", stopped early" if train["stopped_early"] else ""
    render.out.print(
        f"{record['parameters']['trained']:,} trained parameters, {train['steps']:,} steps{stop}, best at step "
        f"{train['best_step']:,}; {seconds:.0f} s (expected {record['plan']['seconds']:.0f}), "
        f"{record['peak_memory_mb']:,.0f} MB"
    )
    for split in ("validation", "test"):
        if split in record and not record["cut"][split].startswith("none"):
            render.out.print(f"{split}: {record['cut'][split]}")
        if split in record and record[split]["degenerate"]:
            render.out.print(f"[bold red]degenerate[/]: on {split}, the run answers one class everywhere")
