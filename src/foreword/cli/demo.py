"""`foreword demo`: the main job on real data, in a few minutes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def demo(
    sentence: Annotated[list[str] | None, typer.Argument(help="Your own sentences to classify.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A part of the data: under 90 seconds.")] = False,
    output: Annotated[Path, typer.Option(help="Where the runs, the artifact and the page go.")] = Path("runs/demo"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train P-Tuning v2 on real product reviews, and compare it with what it has to beat."""
    from foreword import demo as job
    from foreword import store
    from foreword.cli import render

    for name in ("minilm-l6", "smollm2-135m-instruct"):
        store.model_folder(name)
    bars: list[Any] = []

    def bar(title: str) -> render.Bar:
        for old in bars:
            old.__exit__(None, None, None)
        bars.append(render.Bar(title).__enter__())
        return bars[-1]

    try:
        made = job.run(output, quick, sentence or job.SENTENCES, lambda text: None, bar)
    finally:
        for old in bars:
            old.__exit__(None, None, None)
    if as_json:
        rows = [{name: getattr(row, name) for name in row.__slots__} for row in made.rows]
        answers = [{"text": text, **vars(answer)} for text, answer in made.predictions]
        typer.echo(
            json.dumps(
                {"rows": rows, "predictions": answers, "artifact": str(made.artifact), "report": str(made.report)}
            )
        )
        return
    _show(made)


def _show(made: Any) -> None:
    from foreword.cli import render

    body = [
        [
            row.name + (" (degenerate: one class everywhere)" if row.degenerate else ""),
            row.backbone,
            f"{row.accuracy:.3f}",
            f"{row.macro_f1:.3f}",
            f"{row.trained_parameters:,}",
            "-" if row.seconds is None else f"{row.seconds:.0f} s",
        ]
        for row in made.rows
    ]
    title = f"product reviews, {made.rows[0].rows} test sentences"
    render.grid(["", "backbone", "accuracy", "macro F1", "trained", "training"], body, title)
    render.out.print("\nwhat P-Tuning v2 says of these:")
    for text, answer in made.predictions:
        render.out.print(f"  {answer.label:>8} {answer.probability:.2f}  {text}", markup=False)
    render.out.print(f"\nartifact  {made.artifact}\nreport    {made.report}\n{made.seconds:.0f} s in all")
    render.out.print(f'try       foreword predict {made.artifact} "your own sentence"', markup=False)
