"""`foreword data`: look at examples before training on them."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

MOST_LABELS = 40
app = typer.Typer(help="Look at data sets.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Look at data sets."""


@app.command()
def show(
    source: Annotated[str, typer.Argument(help="A named set (mrpc, sst2, lama:P36), a file, a folder, or a hub name.")],
    task: Annotated[str | None, typer.Option(help="The task, such as classification or pair-classification.")] = None,
    column: Annotated[list[str] | None, typer.Option(help="FIELD=COLUMN of the source; may be repeated.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Count lengths in this model's tokens, not in words.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Rows, label balance, lengths, duplicates in and across splits, contradictions, fingerprints."""
    from foreword.backbone.loading import load_tokenizer
    from foreword.config import DataConfig
    from foreword.data.description import describe
    from foreword.data.loading import load, task_for

    config = DataConfig(source=source, columns=parse_columns(column or []))
    dataset = load(config, task_for(config, task))
    facts = describe(dataset, load_tokenizer(backbone) if backbone else None)
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False, indent=1))
    else:
        _render(facts)


def parse_columns(items: list[str]) -> dict[str, str]:
    """`["text=body"]` as `{"text": "body"}`. **Raises** `DataError` for another form or a field given twice."""
    from foreword.errors import DataError

    columns: dict[str, str] = {}
    for item in items:
        field, equals, name = item.partition("=")
        if not (field and equals and name):
            raise DataError(f"a column is given as FIELD=COLUMN, not '{item}'", do="for example --column text=body")
        if field in columns:
            raise DataError(f"the field '{field}' is mapped twice", do="give each field once")
        columns[field] = name
    return columns


def _render(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    console.print(f"[bold]{escape(facts['name'])}[/bold], {facts['task']}, from {escape(facts['source'])}")
    for note in facts["notes"]:
        console.print(f"  {escape(note)}")
    splits = facts["splits"]
    rows = Table("", *splits)
    rows.add_row("rows", *(str(split["rows"]) for split in splits.values()))
    for label in facts["labels"][:MOST_LABELS]:
        counts = [(split["labels"][label], sum(split["labels"].values())) for split in splits.values()]
        rows.add_row(f"  {escape(label)}", *(f"{n} ({100 * n / total:.1f} %)" for n, total in counts))
    if (more := len(facts["labels"]) - MOST_LABELS) > 0:
        rows.add_row(f"  and {more} more labels")
    rows.add_row("with an empty field", *(str(split["empty"]) for split in splits.values()))
    rows.add_row("repeating an input", *(str(split["duplicates"]) for split in splits.values()))
    for key, words in (("min", "shortest"), ("median", "median"), ("p95", "95th percentile"), ("max", "longest")):
        rows.add_row(f"{facts['length_unit']}, {words}", *(f"{split['length'][key]:g}" for split in splits.values()))
    if all("target_length" in split for split in splits.values()):
        for key, words in (("median", "median"), ("max", "longest")):
            lengths = (f"{split['target_length'][key]:g}" for split in splits.values())
            rows.add_row(f"{facts['length_unit']} of the answer, {words}", *lengths)
    rows.add_row("fingerprint", *(split["fingerprint"][:12] for split in splits.values()))
    console.print(rows)
    for pair, count in facts["across"].items():
        console.print(f"inputs of {pair}: {count}")
    what = "contradictory labels" if facts["labels"] else "different answers"
    console.print(f"inputs with {what}: {facts['contradictory_inputs']}")
