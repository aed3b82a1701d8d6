"""`foreword train RECIPE`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foreword.cli.targets import require_targets

if TYPE_CHECKING:
    from foreword.training.plan import Plan

TITLES = {"macro_f1": "macro F1", "mcc": "MCC", "rouge_1": "ROUGE-1", "rouge_2": "ROUGE-2", "rouge_l": "ROUGE-L",
          "bleu": "BLEU", "chrf": "chrF", "answer_f1": "F1", "exact_match": "exact match",
          "target_token_share": "target tokens, %", "span_f1": "span F1", "span_precision": "precision",
          "span_recall": "recall", "p_at_1": "P@1", "p_at_10": "P@10", "mrr": "MRR"}  # fmt: skip


def train(
    recipe: Annotated[Path, typer.Argument(help="A YAML file, such as one in recipes/.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="field.name=value, over the recipe's; may be repeated.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="The run's folder (default: runs/NAME-seedN).")] = None,
    seed: Annotated[int | None, typer.Option(help="The run's seed, over the recipe's.")] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Several seeds in one pass, such as 0,1,2; {seed} in --output and --result.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the folder's checkpoint.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that is in the folder.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    result: Annotated[Path | None, typer.Option(help="Write the result's JSON here too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train a run, or one a seed: a plan first, then training, then scores beside the majority class."""
    from foreword import api, config
    from foreword.cli import render
    from foreword.errors import ConfigError
    from foreword.training.record import write_json

    overrides = [*(set_ or []), *([] if seed is None else [f"seed={seed}"])]
    run = config.load(recipe, overrides)
    runs = [run.model_copy(update={"seed": one}) for one in several(seed, seeds)] or [run]
    if dry_run:
        _tell_plans(api.plans(runs), several=seeds is not None, as_json=as_json)
        return
    require_targets(result=result)
    where = str(output or run.output or f"runs/{recipe.absolute().parent.name}-{recipe.stem}-seed{{seed}}")
    for name in (where, str(result) if result else "{seed}"):
        if len(runs) > 1 and "{seed}" not in name:
            raise ConfigError(f"several seeds cannot share {name}", do="write {seed} where the seed's number goes")
    folders = [Path(where.replace("{seed}", str(one.seed))) for one in runs]
    with render.Bar() as bar:
        bars = [bar, *(bar.beside(f"seed {one.seed}") for one in runs[1:])]
        made = api.train_together(
            runs, folders=folders, resume=resume, overwrite=overwrite, reporters=bars, on_plan=render.plan
        )
    if result is not None:
        for one, finished in zip(runs, made, strict=True):
            write_json(Path(str(result).replace("{seed}", str(one.seed))), finished.record)
    if as_json:
        records = [finished.record for finished in made]
        typer.echo(json.dumps(records[0] if seeds is None else records))
        return
    for folder, finished in zip(folders, made, strict=True):
        show(finished.record)
        render.out.print(
            f'saved in {folder}; use it: foreword predict {folder / "artifact"} "..."', markup=False, soft_wrap=True
        )


def _tell_plans(plans: Sequence[Plan], *, several: bool, as_json: bool) -> None:
    from foreword.cli import render

    if as_json:
        found = [plan.to_dict() for plan in plans]
        typer.echo(json.dumps(found if several else found[0], indent=1))
        return
    for plan in plans:
        render.plan(plan)


def several(seed: int | None, seeds: str | None) -> list[int]:
    """The seeds of `--seeds`, or none. **Raises** `ConfigError` for what is no list of different seeds."""
    from foreword.errors import ConfigError

    if seeds is None:
        return []
    if seed is not None:
        raise ConfigError("--seed and --seeds are both given", do="leave one out")
    try:
        found = [int(part) for part in seeds.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 0 or max(found) >= 2**63 or len(set(found)) < len(found):
        raise ConfigError(f"--seeds: {seeds!r} is no list of different seeds", do="write --seeds 0,1,2")
    return found


def show(record: dict) -> None:
    """The result as a table: each split beside its majority class, and a word about degenerate runs."""
    from foreword.cli import render

    splits = [split for split in ("validation", "test") if split in record]
    names = [name for name, value in (record[splits[0]] if splits else {}).items() if isinstance(value, float)]
    rows = []
    for split in splits:
        one = record[split]
        for who, values in (("this run", one), ("majority class", one.get("majority"))):
            if values is not None:
                scores = [f"{values[name]:.4f}" if name in values else "" for name in names]
                rows.append([f"{split} ({one['rows']} rows): {who}", *scores])
    titles = TITLES | {"f1": f"F1 of {record['f1_of']}" if record["f1_of"] else "F1"}
    render.grid(["", *(titles.get(name, name) for name in names)], rows)
    train, seconds = record["train"], record["seconds"] + record["kept_seconds"]
    stop = ", stopped early" if train["stopped_early"] else ""
    beside = f" for {record['together']} runs in one pass" if record["together"] > 1 else ""
    render.out.print(
        f"{record['parameters']['trained']:,} trained parameters, {train['steps']:,} steps{stop}, best at step "
        f"{train['best_step']:,}; {seconds:.0f} s{beside} (expected {record['plan']['seconds']:.0f} alone), "
        f"{record['peak_memory_mb']:,.0f} MB at the most (expected {record['plan']['memory_mb']:,.0f})"
    )
    if record["kept_error"] is not None:
        render.out.print(
            f"what is kept in float16 is off by {record['kept_error']:.2g} of its root mean square at most"
        )
    for split in ("validation", "test"):
        if split in record and not record["cut"][split].startswith("none"):
            render.out.print(f"{split}: {record['cut'][split]}")
        if split in record and record[split]["degenerate"]:
            render.out.print(f"[bold red]degenerate[/]: on {split}, the run gives one answer everywhere")
