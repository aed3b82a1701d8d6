"""`foreword inspect`: what a prompt learned, or how alike several are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foreword.cli.targets import require_targets

if TYPE_CHECKING:
    from foreword.inspection import Ensemble, Inspection, Likeness, Subject
    from foreword.inspection.examine import Progress
    from foreword.use import Foreword


def inspect(
    artifact: Annotated[list[Path], typer.Argument(help="The folder of a foreword; of several, to compare them.")],
    data: Annotated[
        str | None, typer.Option(help="A data source (default: the one it was trained on); a file is taken whole.")
    ] = None,
    column: Annotated[list[str] | None, typer.Option(help="FIELD=COLUMN of the source; may be repeated.")] = None,
    split: Annotated[str, typer.Option(help="Which split's rows to look at.")] = "test",
    rows: Annotated[
        int, typer.Option(min=1, help="How many rows, drawn by seed with classes in proportion; --ensemble takes all.")
    ] = 200,
    top: Annotated[int, typer.Option(min=1, max=1000, help="How many near words of each virtual token.")] = 5,
    pieces: Annotated[bool, typer.Option("--pieces", help="Compare with parts of words, too.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="No ablations.")] = False,
    minimal: Annotated[
        Path | None, typer.Option(help="Find the part that keeps 99% of the score, and save it here as a foreword.")
    ] = None,
    ensemble: Annotated[bool, typer.Option("--ensemble", help="Ask several forewords as one, and score that.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the rows, and of the random vectors and words.")] = 0,
    html: Annotated[Path | None, typer.Option(help="Write a page of it all.")] = None,
    result: Annotated[Path | None, typer.Option(help="Write the JSON here too, with the run and versions.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a foreword learned: words near it, attention it gets, what it changes, what it can do without.

    Of several forewords over one backbone: how alike they are, and with --ensemble what they score together.
    """
    from foreword import inspection
    from foreword.artifacts.storage import read
    from foreword.cli import render
    from foreword.cli.data import parse_columns
    from foreword.errors import ConfigError

    _check(artifact, minimal, ensemble)
    require_targets(html=html, result=result)
    for one in artifact:
        read(one)  # a broken artifact is told before anything else is loaded
    asked = (data, parse_columns(column or []), seed)
    facts = {"data": data, "split": split, "seed": seed}
    forewords = _load(artifact)
    if len(artifact) > 1:
        subjects = [inspection.Subject(f, (), place) for f, place in zip(forewords, artifact, strict=True)]
        alike = inspection.likeness(subjects)
        together = _together(subjects, asked, split) if ensemble else None
        _tell_several(alike, together, html, as_json=as_json)
        _write(result, _plain(alike, together), forewords, facts)
        return
    subject, selection, gap = _subjects(forewords[0], artifact[0], asked, split, rows, chosen=minimal is not None)
    wanted = inspection.Wanted(top, pieces, ablations=not quick, minimal=minimal is not None, seed=seed)
    with _bars() as progress:
        made = inspection.inspect(subject, selection, wanted, progress)
    if gap:
        made.gaps["rows"] = gap
    if minimal is not None:
        if made.minimal is None:
            raise ConfigError(f"no minimal prompt was found: {made.gaps.get('minimal', made.gaps.get('rows'))}")
        inspection.save_minimal(subject, made.minimal, minimal)
    _write(result, inspection.plain(made), forewords, facts)
    _tell(made, html, as_json=as_json)
    if minimal is not None and not as_json:
        render.out.print(f"\na minimal prompt: {minimal}", markup=False)


def _check(artifacts: Sequence[Path], minimal: Path | None, ensemble: bool) -> None:
    """Options that do not go together are told before anything is loaded."""
    from foreword.errors import ArtifactError, ConfigError

    if ensemble and len(artifacts) < 2:
        raise ConfigError("an ensemble is of two forewords or more", do="name them all, or leave --ensemble out")
    if minimal is not None and len(artifacts) > 1:
        raise ConfigError("--minimal is of one foreword", do="name one, or leave --minimal out")
    if minimal is not None and minimal.exists() and (not minimal.is_dir() or any(minimal.iterdir())):
        raise ArtifactError(f"there is something already: {minimal}", do="name a new folder by --minimal")


def _load(artifacts: Sequence[Path]) -> list[Foreword]:
    from foreword import api

    forewords: list[Foreword] = []
    for place in artifacts:
        forewords.append(api.load(place, forewords[0].bank.backbone if forewords else None))
    return forewords


def _subjects(
    foreword: Foreword, place: Path, asked: tuple[Any, ...], split: str, rows: int, *, chosen: bool
) -> tuple[Subject, Subject | None, str]:
    """What is looked into, the same with the rows that a minimal prompt is chosen on, and why there are no rows."""
    from foreword import api
    from foreword.data.splitting import sample
    from foreword.errors import DataError
    from foreword.inspection import Subject

    source, columns, seed = asked
    try:
        dataset = api.data_for(foreword, source, columns)
    except DataError as error:
        if source is not None or columns:
            raise
        return Subject(foreword, (), place), None, f"{error.what}; name data by --data"
    target = foreword.reader.task.target
    subject = Subject(foreword, sample(dataset.rows(split), target, rows, seed), place)
    if not chosen:
        return subject, None, ""
    others = [name for name in ("validation", "train", "test") if name != split and dataset.splits.get(name)]
    if not others:
        raise DataError(
            "a minimal prompt is chosen on other rows than it is reported on, and there are none",
            where=dataset.source,
            do="give data with two splits",
        )
    return subject, Subject(foreword, sample(dataset.rows(others[0]), target, rows, seed), place), ""


def _together(subjects: Sequence[Subject], asked: tuple[Any, ...], split: str) -> Ensemble:
    """The ensemble on all rows of the split."""
    from foreword import api, inspection

    source, columns, _ = asked
    found = api.data_for(subjects[0].foreword, source, columns).rows(split)
    with _bars() as progress:
        return inspection.ensemble(subjects, found, progress("the ensemble", len(found) * len(subjects)))


@contextmanager
def _bars() -> Iterator[Progress]:
    """Progress bars, one below another."""
    from foreword.cli import render

    with ExitStack() as stack:
        bars: list[render.Bar] = []

        def start(title: str, total: int) -> Callable[[int], None]:
            bars.append(bars[0].beside(title) if bars else stack.enter_context(render.Bar(title)))
            bar = bars[-1]
            bar.bar.update(bar.task, total=total)
            return lambda n: bar.bar.advance(bar.task, n)

        yield start


def _tell(made: Inspection, html: Path | None, *, as_json: bool) -> None:
    """What was found, everywhere it was asked for."""
    from foreword import inspection
    from foreword.cli import inspected, render
    from foreword.inspection.report import page

    if html is not None:
        page(html, made)
    if as_json:
        typer.echo(json.dumps(inspection.plain(made), ensure_ascii=False))
        return
    inspected.show(made)
    if html is not None:
        render.out.print(f"\na page of all this: {html}", markup=False)


def _tell_several(alike: Likeness, together: Ensemble | None, html: Path | None, *, as_json: bool) -> None:
    """How alike forewords are, and what they score as one."""
    from foreword.cli import inspected, render
    from foreword.inspection.report import several_page

    if html is not None:
        several_page(html, alike, together)
    if as_json:
        typer.echo(json.dumps(_plain(alike, together), ensure_ascii=False))
        return
    inspected.show_likeness(alike)
    if together is not None:
        inspected.show_ensemble(together)
    if html is not None:
        render.out.print(f"\na page of all this: {html}", markup=False)


def _plain(alike: Likeness, together: Ensemble | None) -> dict[str, Any]:
    from foreword import inspection

    return {"likeness": inspection.plain(alike), "ensemble": inspection.plain(together)}


def _write(path: Path | None, found: dict[str, Any], forewords: Sequence[Foreword], facts: dict[str, Any]) -> None:
    """The record: what was found, of which forewords, on which rows (`data` None: those of the run), and with what."""
    from foreword.artifacts.manifest import machine, versions
    from foreword.training.record import write_json

    if path is None:
        return
    of = [
        {
            "name": one.manifest.name, "method": one.manifest.method, "run": one.manifest.run,
            "backbone": one.manifest.backbone.model_dump(), "weights_sha256": one.manifest.weights_sha256,
        }
        for one in forewords
    ]  # fmt: skip
    write_json(path, {"schema": 1, **facts, **found, "forewords": of, "versions": versions(), "machine": machine()})
