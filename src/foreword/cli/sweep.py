"""`foreword sweep`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foreword.cli.targets import require_targets

if TYPE_CHECKING:
    from foreword.cli.render import Bar
    from foreword.sweep.checking import Checked
    from foreword.sweep.search import Outcome
    from foreword.sweep.spec import Sweep, Trial
    from foreword.training.loop import Reporter


def sweep(
    spec: Annotated[Path, typer.Argument(help="A YAML file with recipe: and space:, or a recipe (then --space).")],
    space: Annotated[Path | None, typer.Option(help="The file of a space, such as one in recipes/search/.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="field.name=value, over the recipe's; may be repeated.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="grid or random, over the file's.")] = None,
    trials: Annotated[int | None, typer.Option(help="How many configurations are tried.")] = None,
    together: Annotated[int | None, typer.Option(help="Configurations in one pass over the backbone.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="No pass is begun after so many minutes.")] = None,
    search_seed: Annotated[int | None, typer.Option(help="The seed of the search, not of the runs.")] = None,
    output: Annotated[Path | None, typer.Option(help="The sweep's folder (default: sweeps/NAME).")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the folder's sweep.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder's sweep.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the trials and stop.")] = False,
    result: Annotated[Path | None, typer.Option(help="Write sweep.json here too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print sweep.json.")] = False,
) -> None:
    """Try many configurations: random or grid, successive halving, the winner by validation, and what mattered."""
    from foreword.cli import render
    from foreword.sweep import checking, page
    from foreword.sweep import spec as specs
    from foreword.sweep.run import run
    from foreword.training.record import write_json

    given = {"kind": kind, "trials": trials, "together": together, "max_minutes": max_minutes, "seed": search_seed}
    search = {name: value for name, value in given.items() if value is not None}
    found = specs.load(spec, space, set_ or [], search)
    if found.search.trials is not None and len(found.trials) < found.search.trials:
        render.err.print(f"the space has {len(found.trials)} different points, so there are fewer trials than the "
                         f"{found.search.trials} asked for", markup=False)  # fmt: skip
    if dry_run:
        _list(found, checking.check(found), as_json)
        return
    require_targets(result=result)
    folder = output or Path("sweeps") / f"{found.recipe.absolute().parent.name}-{spec.stem}"
    with render.Bar("sweep") as bar:
        made = run(found, folder, resume=resume, overwrite=overwrite, observer=_Watcher(bar, len(found.trials)))
    page.write(folder / "sweep.html", made)
    if result is not None:
        write_json(result, made)
    if as_json:
        typer.echo(json.dumps(made))
        return
    show(made)
    render.out.print(f"all of it: {folder / 'sweep.html'}; the winner's recipe: {folder / 'best.yaml'}",
                     markup=False, soft_wrap=True)  # fmt: skip


class _Watcher:
    """A bar for the sweep, and one for each trial of the pass that runs."""

    def __init__(self, bar: Bar, trials: int) -> None:
        self.bar, self.trials, self.done, self.beside = bar, trials, 0, list[Any]()

    def begins(self, rung: int, steps: Sequence[int], trials: Sequence[Trial]) -> Sequence[Reporter]:
        """New bars in place of the last pass's."""
        for one in self.beside:
            one.bar.remove_task(one.task)
        self.bar.bar.update(self.bar.task, description=f"sweep, rung {rung + 1}")
        self.beside = [self.bar.beside(f"trial {trial.number}") for trial in trials]
        return self.beside

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        """Count, and say how the trial did where there is no terminal."""
        from foreword.cli import render

        self.done += 1
        self.bar.bar.update(self.bar.task, completed=self.done)
        if self.bar.bar.disable:
            render.err.print(f"{trial.title}: step {outcome.step}: {_verdict(vars(outcome))}", markup=False)


def _list(sweep: Sweep, checked: Checked, as_json: bool) -> None:
    """What would be tried, and when it is compared."""
    from foreword.cli import render
    from foreword.sweep.page import shortened
    from foreword.sweep.space import label

    if as_json:
        rows = [{"number": trial.number, "values": dict(trial.values), "rungs": list(steps)}
                for trial, steps in zip(sweep.trials, checked.pauses, strict=True)]  # fmt: skip
        typer.echo(json.dumps({"metric": checked.metric, "trials": rows}))
        return
    names = list(dict.fromkeys(name for trial in sweep.trials for name in trial.values))
    table = [
        [str(trial.number), *(label(trial.values[name]) if name in trial.values else "" for name in names),
         ", ".join(map(str, steps))]
        for trial, steps in zip(sweep.trials, checked.pauses, strict=True)
    ]  # fmt: skip
    render.grid(["trial", *shortened(names), "compared at step"], table)
    render.out.print(f"{len(table)} trials, chosen by {checked.metric} on {checked.rows} validation rows")


def show(made: Mapping[str, Any]) -> None:
    """The trials from the best down, the winner's test score, and what each field did."""
    from foreword.cli import render
    from foreword.sweep.page import sensitivity_rows, steps_of, trial_rows

    render.grid(*trial_rows(made))
    winner = made["winner"]
    if not winner["scored"]:
        render.out.print("[bold]the time is up[/]: the best so far is told, and nobody was scored on test; "
                         "go on with --resume")  # fmt: skip
    for split in ("validation", "test"):
        if split in winner:
            one, name = winner[split], made["metric"]
            line = one.get("majority", {})
            beside = f", majority class {line[name]:.4f}" if name in line else ""
            if name in one:
                render.out.print(f"the winner, trial {winner['number']}, on {split}: {name} {one[name]:.4f} "
                                 f"({one['rows']} rows{beside})")  # fmt: skip
    if made["sensitivity"]:
        title = f"validation {made['metric']} by field, after {steps_of(made)}"
        render.grid(*sensitivity_rows(made), title=title)


def _verdict(outcome: Mapping[str, Any]) -> str:
    from foreword.sweep.page import verdict

    return verdict(outcome)
