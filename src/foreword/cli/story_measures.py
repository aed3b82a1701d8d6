"""`foreword story compare` and `foreword story style`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foreword.cli import story_run
from foreword.cli.targets import require_targets

if TYPE_CHECKING:
    from foreword.stories.diversity import Comparison
    from foreword.stories.diversity.corpus import Embed
    from foreword.stories.style_texts import Rows, Texts
    from foreword.stories.writers import Writer
    from foreword.training.plan import Plan

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def compare(
    places: Annotated[
        list[Path], typer.Argument(help="Folders of `story write`, folders of such, or .jsonl files with texts.")
    ],
    words: Annotated[
        int | None, typer.Option(min=1, help="Compare so many words of each story (default: what the shortest has).")
    ] = None,
    baseline: Annotated[str | None, typer.Option(help="What the others are compared with (default: plain).")] = None,
    model: Annotated[str, typer.Option(help="The encoder that finds likeness by meaning.")] = "minilm-l6",
    no_model: Annotated[
        bool, typer.Option("--no-model", help="Likeness by words alone: quick, and less telling.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Draws subsets where there are more stories than are compared.")] = 0,
    markdown: Annotated[Path | None, typer.Option(help="Write the comparison as Markdown.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the comparison as a page, with its picture.")] = None,
    result: Annotated[Path | None, typer.Option(help="Write the comparison's JSON here too.")] = None,
    as_json: AsJson = False,
) -> None:
    """Approaches against each other: variety at equal number and length, constraints held, readability, speed."""
    from foreword.stories import diversity
    from foreword.stories.diversity import report
    from foreword.whole import put

    require_targets(markdown=markdown, html=html, result=result)
    grouped = diversity.by_approach(diversity.read(places))
    with _Bar("approaches", len(grouped)) as bar:
        embed = None if no_model else _embedder(model)
        made = diversity.compare(grouped, words=words, embed=embed, baseline=baseline, seed=seed, advance=bar.advance)
    if markdown is not None:
        put(markdown, report.markdown(made))
    if html is not None:
        report.write(html, made)
    if result is not None:
        put(result, json.dumps(made.to_dict(), ensure_ascii=False, indent=1) + "\n")
    if as_json:
        typer.echo(json.dumps(made.to_dict(), ensure_ascii=False))
        return
    _told(made)


def style(
    texts: Annotated[Path, typer.Argument(help="A folder of .txt, .md or .jsonl files, or one .jsonl file.")],
    output: Annotated[Path | None, typer.Option(help="The run's folder (default: runs/styles/NAME).")] = None,
    backbone: Annotated[str | None, typer.Option(help="A causal model (default: smollm2-135m-instruct).")] = None,
    init_text: Annotated[str | None, typer.Option(help="The words it begins as, and is at strength 0.")] = None,
    answer_tokens: Annotated[int | None, typer.Option(help="How much of a story a row shows (default: 128).")] = None,
    per_text: Annotated[int | None, typer.Option(help="Rows of one text at most (default: 8).")] = None,
    held_out: Annotated[
        float | None, typer.Option(help="The share of the texts for validation (default: 0.1).")
    ] = None,
    held_out_rows: Annotated[int | None, typer.Option(help="Rows of those at most (default: 32).")] = None,
    epochs: Annotated[float | None, typer.Option(help="How often every row is seen (default: 1).")] = None,
    max_steps: Annotated[int | None, typer.Option(help="Steps at most.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows of a step (default: 8).")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Default: 0.005.")] = None,
    evaluate_every: Annotated[int | None, typer.Option(help="Steps (default: once an epoch).")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the training (default: 0).")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the folder's checkpoint.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that is in the folder.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what was read and the plan, and stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a style prompt on texts; use it by `foreword story write --style-prompt FOLDER/artifact --strength 0.8`."""
    from foreword.cli import render
    from foreword.config import build
    from foreword.stories import style as styles

    given: dict[str, Any] = {
        "backbone": backbone, "init_text": init_text, "answer_tokens": answer_tokens, "per_text": per_text,
        "held_out": held_out, "held_out_rows": held_out_rows, "epochs": epochs, "max_steps": max_steps,
        "batch_size": batch_size, "learning_rate": learning_rate, "evaluate_every": evaluate_every, "seed": seed,
    }  # fmt: skip
    config = build(styles.StyleConfig, {name: value for name, value in given.items() if value is not None}, "the style")
    folder = output or Path("runs/styles") / (texts.stem or "style")
    with story_run.interruptible(), render.Bar("style") as bar:
        made = styles.train(
            texts, folder, config, resume=resume, overwrite=overwrite, dry_run=dry_run, reporter=bar, told=_plan
        )
    if made is None:
        return
    if as_json:
        typer.echo(json.dumps(made.record, ensure_ascii=False))
        return
    held = made.record["rows"]["held_out_texts"]
    render.pairs(made.losses.lines(), f"on {held} held-out texts")
    render.out.print(
        f"use it: foreword story write --preset magical-forest --style-prompt {made.artifact}\n"
        f"parts of the texts stand in {folder / 'rows'}: delete them if you may not keep a copy",
        markup=False,
        soft_wrap=True,
    )


def require_style(style_prompt: Path | None, strength: float | None, **others: Any) -> None:
    """**Raises** `ConfigError` for a strength without a style prompt, and for a model beside a style prompt's own."""
    from foreword.errors import ConfigError

    if style_prompt is None and strength is not None:
        raise ConfigError("--strength is that of a style prompt, and none is given", do="give a --style-prompt")
    given = [name for name, value in others.items() if value is not None]
    if style_prompt is not None and given:
        raise ConfigError(f"a style prompt belongs to its own model, and --{given[0]} names another", do="leave it out")


def style_writer(style_prompt: Path, strength: float | None, settings: dict[str, Any]) -> Writer:
    """Who writes with a style prompt. **Raises** what reading the artifact raises, before its model is loaded."""
    from foreword.stories import style_strength

    return style_strength.writer(style_prompt, 1.0 if strength is None else strength, **settings)


def _plan(texts: Texts, rows: Rows, plan: Plan) -> None:
    from foreword.cli import render

    render.pairs([*texts.lines(), *rows.lines()], "texts", render.err)
    render.plan(plan)


def _embedder(model: str) -> Embed:
    from foreword.backbone.loading import load
    from foreword.stories.diversity.embedding import embedder

    return embedder(load(model))


def _told(made: Comparison) -> None:
    from foreword.cli import render
    from foreword.stories.diversity import report

    for line in report.headline(made):
        render.out.print(line, markup=False)
    for line in report.worn(made):
        render.out.print(f"  {line}", markup=False, style="dim")
    render.out.print(f"({report.basis(made)})\n", markup=False)
    render.grid(*report.overview(made))
    render.grid(*report.all_measures(made), title="variety")
    for title, (columns, rows) in (
        (f"differences from {made.baseline}", report.differences(made)),
        ("constraints held, strictly read", report.constraint_table(made)),
        ("readability", report.reading_table(made)),
    ):
        if rows:
            render.grid(columns, rows, title=title)
    render.out.print("what each measure misses: --markdown or --html", markup=False)


class _Bar:
    """Approaches that are measured, on a terminal."""

    def __init__(self, title: str, total: int) -> None:
        from foreword.cli import render

        columns = (render.TextColumn("{task.description}"), render.BarColumn(), render.MofNCompleteColumn())
        self.bar = render.Progress(*columns, console=render.err, disable=not render.err.is_terminal)
        self.task = self.bar.add_task(title, total=total)
        self.advance: Callable[[int], None] = lambda n: self.bar.advance(self.task, n)

    def __enter__(self) -> _Bar:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()
