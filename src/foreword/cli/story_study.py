"""`foreword story study`: many specs by several approaches, recorded; tables of what was found."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foreword.cli import story_run
from foreword.cli.targets import require_targets

if TYPE_CHECKING:
    from foreword.stories.study import Made, Unit

BEGIN, END = "<!-- study: {name} -->", "<!-- end of study: {name} -->"


def study(
    approach: Annotated[
        list[str] | None,
        typer.Option(help="An approach, or LABEL=APPROACH; may be repeated (default: the four of the recorded study)."),
    ] = None,
    specs: Annotated[Path | None, typer.Option(help="A YAML file of specs by name (default: 20 of ours).")] = None,
    only: Annotated[list[str] | None, typer.Option(help="The name of a spec; may be repeated (default: all).")] = None,
    n: Annotated[int, typer.Option("--n", min=2, help="Stories of each spec by each approach.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same stories.")] = 0,
    output: Annotated[Path, typer.Option(help="The folder of the logs; a study that ended early goes on.")] = Path(
        "runs/study"
    ),
    model: Annotated[str | None, typer.Option(help="A causal model (default: smollm2-135m-instruct).")] = None,
    style_prompt: Annotated[Path | None, typer.Option(help="The artifact of a trained style.")] = None,
    strength: Annotated[float | None, typer.Option(help="Of the style prompt, 0 to 1 (default: 1).")] = None,
    temperature: Annotated[float | None, typer.Option(help="Of sampling (default: 0.5).")] = None,
    side: Annotated[int, typer.Option(min=1, help="Units (a spec by an approach) side by side in a batch.")] = 4,
    write: Annotated[bool, typer.Option("--write/--no-write", help="Write stories, or only measure them.")] = True,
    encoder: Annotated[str, typer.Option(help="The encoder that finds likeness by meaning.")] = "minilm-l6",
    compare: Annotated[list[str] | None, typer.Option(help="Labels to tell of (default: those of --approach).")] = None,
    texts: Annotated[Path | None, typer.Option(help="Write all stories as JSON lines.")] = None,
    result: Annotated[Path | None, typer.Option(help="Write the figures as JSON.")] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Put the tables between the marks of this Markdown file.")
    ] = None,
    name: Annotated[str, typer.Option(help="Of the marks: <!-- study: NAME -->.")] = "approaches",
    show: Annotated[
        list[str] | None, typer.Option(help="A spec of which the page gets stories: <!-- study: NAME stories -->.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Stories of many specs by several approaches; pass rates, variety, cost. Ctrl-C loses nothing: run it again."""
    from foreword.cli import render
    from foreword.errors import ConfigError, Interrupted
    from foreword.stories import study as studies
    from foreword.stories import study_report

    given = approach or ["plain", "stepwise", "varied", "stepwise+varied"]
    pairs = {label: name or label for label, _, name in (one.partition("=") for one in given)}
    wanted = studies.load_specs(specs or studies.SPECS)
    if unknown := next((one for one in only or () if one not in wanted), None):
        raise ConfigError(f"there is no spec '{unknown}'", do=f"choose of {', '.join(wanted)}")
    wanted = {key: spec for key, spec in wanted.items() if not only or key in only}
    _require_targets(output, name, bool(show), texts=texts, result=result, markdown=markdown)
    if write:
        with story_run.interruptible():
            writer = _writer(model, style_prompt, strength, temperature, n * side)
            todo = studies.units(output, wanted, pairs)
            with _Bar(len(todo)) as bar:
                try:
                    studies.run(todo, writer, n=n, seed=seed, side=side, advance=bar.advance)
                except KeyboardInterrupt:
                    raise Interrupted("stopped; what was written is kept", where=str(output)) from None
    made = studies.collect(output, wanted, compare or list(pairs))
    figures = _figures(made, output, encoder)
    if texts is not None:
        _put(texts, "".join(json.dumps(one.to_dict(), ensure_ascii=False) + "\n" for one in made))
    if result is not None:
        _put(result, json.dumps(figures, ensure_ascii=False, indent=1) + "\n")
    shown = f"{study_report.table(figures)}\n\n{study_report.failures(figures)}"
    if markdown is not None:
        _put(markdown, _placed(markdown, name, shown))
        if show:
            _put(markdown, _placed(markdown, f"{name} stories", study_report.shown(made, show)))
    typer.echo(json.dumps(figures, ensure_ascii=False)) if as_json else render.out.print(
        shown, markup=False, soft_wrap=True
    )


def _require_targets(output: Path, name: str, stories: bool, *, markdown: Path | None, **others: Path | None) -> None:
    """**Raises** `ConfigError` for files that could not be written at the end, and a page without its marks."""
    require_targets(output, markdown=markdown, **others)
    if markdown is not None:
        for one in (name, f"{name} stories") if stories else (name,):
            _placed(markdown, one, "")


def _writer(
    model: str | None, style_prompt: Path | None, strength: float | None, temperature: float | None, batch: int
) -> Any:
    from foreword.cli import story_measures
    from foreword.stories import writing

    story_measures.require_style(style_prompt, strength, model=model)
    settings: dict[str, Any] = {"batch": batch} | ({} if temperature is None else {"temperature": temperature})
    if style_prompt is not None:
        return story_measures.style_writer(style_prompt, strength, settings)
    return writing.open_writer(model or writing.MODEL, **settings)


def _figures(made: Sequence[Made], output: Path, encoder: str) -> dict[str, Any]:
    from foreword.backbone.loading import load
    from foreword.cli import render
    from foreword.stories import study as studies
    from foreword.stories import study_report
    from foreword.stories.diversity.embedding import embedder

    labels = list(dict.fromkeys(one.label for one in made))
    with render.err.status("measuring"):
        found = study_report.summary(made, embedder(load(encoder)))
    return {**found, "embeddings": encoder, "runs": {label: studies.header(output, label) for label in labels}}


def _placed(path: Path, name: str, tables: str) -> str:
    """The file's text with the tables between its marks. **Raises** `ConfigError` where it has none."""
    from foreword.errors import ConfigError

    begin, end = BEGIN.format(name=name), END.format(name=name)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read the page: {error.strerror}", where=str(path)) from None
    if begin not in text or end not in text:
        raise ConfigError("the page has no place for the tables", where=str(path), do=f"put {begin} and {end} into it")
    return re.sub(
        f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n{tables}\n{end}", text, flags=re.DOTALL
    )


def _put(path: Path, text: str) -> None:
    from foreword.whole import put

    put(path, text)


class _Bar:
    """Units that are done; a line for each where there is no terminal."""

    def __init__(self, total: int) -> None:
        from foreword.cli import render

        columns = [*render.Progress.get_default_columns()[:2], render.MofNCompleteColumn(), render.TimeElapsedColumn()]
        self.console = render.err
        self.bar = render.Progress(*columns, console=render.err, disable=not render.err.is_terminal)
        self.task, self.done, self.total = self.bar.add_task("units", total=total), 0, total

    def advance(self, unit: Unit) -> None:
        """A unit is done."""
        self.done += 1
        self.bar.advance(self.task)
        if self.bar.disable:
            self.console.print(f"{self.done} of {self.total}: {unit.name}, {unit.label}", markup=False)

    def __enter__(self) -> _Bar:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()
