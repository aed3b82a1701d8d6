"""`foreword evaluate` and `foreword predict`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer


def evaluate(
    artifact: Annotated[Path, typer.Argument(help="The folder of a foreword.")],
    data: Annotated[
        str | None, typer.Option(help="A data source (default: the one it was trained on); a file is scored whole.")
    ] = None,
    column: Annotated[list[str] | None, typer.Option(help="FIELD=COLUMN of the source; may be repeated.")] = None,
    split: Annotated[str, typer.Option(help="Which split to score.")] = "test",
    int8: Annotated[bool, typer.Option("--int8", help="Compute the layers in 8 bits: faster, not exact.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a foreword on labelled data, beside what is most frequent where there are labels."""
    from foreword import api
    from foreword.artifacts.storage import read
    from foreword.cli import render
    from foreword.cli.data import parse_columns
    from foreword.evaluation.measuring import majority

    read(artifact)  # a broken artifact is told before anything else is loaded
    foreword = api.load(artifact, int8=int8)
    dataset = api.data_for(foreword, data, parse_columns(column or []))
    rows = dataset.rows(split)
    scored = foreword.evaluate(rows)
    table = [(foreword.name, scored.metrics)]
    found = {"artifact": foreword.name, "data": dataset.name, "split": split, "rows": len(rows), **scored.metrics}
    known = dataset.splits.get("train", rows)
    line = majority(foreword.reader.task, foreword.labels, known, rows, list(scored.metrics))
    if line is not None:
        table.append(("majority class", line))
        found["majority"] = line
    if as_json:
        more = {} if foreword.use == "predict" else {"predictions": scored.predictions, "notes": scored.notes}
        typer.echo(json.dumps({**found, "degenerate": scored.degenerate, **more}, ensure_ascii=False))
        return
    columns = list(scored.metrics)
    body = [[who, *(f"{values[c]:.4f}" if c in values else "" for c in columns)] for who, values in table]
    render.grid([f"{dataset.name} {split} ({len(rows)} rows)", *columns], body)
    items = [foreword.reader.item(row) for row in rows]
    if any(item.rows[0].cut for item in items):
        render.out.print(foreword.reader.cut(items))
    if scored.degenerate:
        render.out.print("[bold red]degenerate[/]: it gives one answer everywhere")


def predict(
    artifact: Annotated[Path, typer.Argument(help="The folder of a foreword.")],
    text: Annotated[
        list[str] | None,
        typer.Argument(help="Inputs; a pair is two texts with a tab between. Words to tag are a text."),
    ] = None,
    file: Annotated[Path | None, typer.Option(help="One input a line, as text or as JSON.")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Compute the layers in 8 bits: faster, not exact.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Predict labels, write texts, tag words or find answers: for arguments, a file's lines, or standard input's."""
    from foreword import api
    from foreword.artifacts.storage import read
    from foreword.cli import render
    from foreword.errors import DataError, ForewordError

    read(artifact)
    lines = _lines(text or [], file)
    inputs = [_parse(line, number) for number, line in lines]
    foreword = api.load(artifact, int8=int8)
    for (number, _), one in zip(lines, inputs, strict=True):
        try:
            foreword.example(one)
        except ForewordError as error:  # the line is known here alone
            raise DataError(error.what, where=f"input {number}", do=error.do) from None
    items = [foreword.reader.item(foreword.example(one)) for one in inputs]
    if any(item.rows[0].cut for item in items):
        render.err.print(foreword.reader.cut(items))
    for given, made in zip(inputs, getattr(foreword, foreword.use)(inputs), strict=True):
        if as_json:
            facts = {"text": made} if isinstance(made, str) else vars(made)
            typer.echo(json.dumps({"input": given, **facts}, ensure_ascii=False))
        else:
            typer.echo(_line(given, made))


def _line(given: Any, made: Any) -> str:
    """An answer, and what it is an answer to, on one line."""
    if isinstance(made, str):
        return made
    if hasattr(made, "tags"):
        return " ".join(f"{word}/{tag}" for word, tag in zip(made.words, made.tags, strict=True))
    values = [given] if isinstance(given, str) else list(given.values()) if isinstance(given, dict) else given
    shown = values[-1] if hasattr(made, "start") else " | ".join(map(str, values))  # a question without its passage
    answer = made.text if hasattr(made, "start") else made.label
    return f"{answer}\t{made.probability:.3f}\t{shown}"


def _lines(texts: list[str], file: Path | None) -> list[tuple[int, str]]:
    from foreword.cli import render
    from foreword.errors import DataError

    if texts and file is not None:
        raise DataError("inputs were given twice: as arguments and as a file", do="give one of them")
    if file is None and not texts and sys.stdin.isatty():
        raise DataError("nothing to predict", do="give texts as arguments, a --file, or lines of input")
    if file is not None or not texts:
        try:
            content = sys.stdin.read() if file is None else file.read_text(encoding="utf-8")
        except OSError as error:
            raise DataError(f"cannot read the inputs: {error}", where=str(file or "standard input")) from None
        except UnicodeDecodeError as error:
            do = "give UTF-8, for example through iconv -f latin1 -t utf-8"
            raise DataError(f"the inputs are not UTF-8: {error}", where=str(file or "standard input"), do=do) from None
        # Only "\n" ends a line, as in data files: a form feed or U+2028 may stand inside a text.
        texts = [line.removesuffix("\r") for line in content.removeprefix("\ufeff").split("\n")]
    found = [(number, line) for number, line in enumerate(texts, 1) if line.strip()]
    if not found:
        raise DataError("the input is empty", where=str(file) if file else None, do="give one input a line")
    if blank := found[-1][0] - len(found):  # those behind the last text are no inputs that anybody would miss
        render.err.print(f"{blank} blank line(s) left out")
    return found


def _parse(line: str, number: int) -> str | list[str] | dict[str, Any]:
    """A line of JSON as a mapping, one with a tab as a pair, and any other as a text."""
    from foreword.errors import DataError

    if line.lstrip().startswith("{"):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            do = 'a text that begins with a brace is given as {"text": "{..."}'
            raise DataError(f"broken JSON: {error}", where=f"input {number}", do=do) from None
        return {str(name): value for name, value in found.items() if isinstance(value, str | list)}
    return line.split("\t") if "\t" in line else line
