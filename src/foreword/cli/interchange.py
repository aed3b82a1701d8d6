"""`foreword import` and `foreword export`: PEFT's checkpoints in and out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """What a foreword can be exported to."""

    peft = "peft"


def import_(
    checkpoint: Annotated[Path, typer.Argument(help="The folder that PEFT's save_pretrained wrote.")],
    backbone: Annotated[str, typer.Option(help="The model that it was trained on: a name or a folder.")],
    output: Annotated[Path, typer.Option(help="The new artifact's folder.")],
    task: Annotated[
        str | None, typer.Option(help="The task (default: classification, where there are labels).")
    ] = None,
    template: Annotated[str | None, typer.Option(help="How a text is written (default: the task's template).")] = None,
    labels: Annotated[str | None, typer.Option(help="The labels in the order of their numbers: bad,good.")] = None,
    word: Annotated[
        list[str] | None, typer.Option(help="LABEL=WORD, for the language-model head; may be repeated.")
    ] = None,
    max_length: Annotated[int | None, typer.Option(help="Cut longer rows (default: what the model takes).")] = None,
    chat: Annotated[bool, typer.Option("--chat", help="A text is a message in the model's chat template.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the artifact that is there.")] = False,
) -> None:
    """Make a foreword of a PEFT checkpoint: prompt tuning, P-tuning, prefix tuning, LoRA, IA3."""
    from foreword.artifacts.peft import Reading, import_peft
    from foreword.artifacts.peft.files import CONFIG, check_output, read_config, read_tensors
    from foreword.backbone.loading import load
    from foreword.cli import render

    names = None if labels is None else [name.strip() for name in labels.split(",") if name.strip()]
    reading = Reading(task, template, names, _words(word or [], names or []), max_length, chat)
    check_output(output.absolute(), "foreword.json", overwrite=overwrite)
    read_config(checkpoint), read_tensors(checkpoint)  # what is broken is told before a model is loaded
    made = import_peft(checkpoint, load(backbone), output, reading, overwrite=overwrite)
    render.pairs([("kind", made.adapter.kind), ("read", str(checkpoint / CONFIG)), ("artifact", str(output))])
    for note in made.notes:
        render.err.print(f"note: {note}", markup=False)


def export(
    artifact: Annotated[Path, typer.Argument(help="The folder of a foreword.")],
    to: Annotated[Format, typer.Option(help="The format.")],
    output: Annotated[Path, typer.Option(help="The new checkpoint's folder.")],
    no_readout: Annotated[
        bool, typer.Option("--no-readout", help="Leave out what reads the answers, where PEFT has no place for it.")
    ] = False,
    base_model: Annotated[
        str | None, typer.Option(help="What the checkpoint calls its base model (default: the backbone's name).")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the checkpoint that is there.")] = False,
) -> None:
    """Write a foreword as a checkpoint that PEFT loads; what PEFT cannot express is refused."""
    from foreword.artifacts import storage
    from foreword.artifacts.peft import export_peft
    from foreword.artifacts.peft.files import CONFIG, check_output
    from foreword.backbone.loading import load
    from foreword.cli import render

    check_output(output.absolute(), CONFIG, overwrite=overwrite)
    found = storage.read(artifact)
    made = export_peft(
        found,
        load(found.manifest.backbone.name),
        output,
        with_readout=not no_readout,
        base_model=base_model,
        overwrite=overwrite,
    )
    rows = [("kind", made.config["peft_type"]), ("task type", made.config["task_type"]), ("checkpoint", str(output))]
    render.pairs(rows)
    for note in made.notes:
        render.err.print(f"note: {note}", markup=False)


def _words(given: list[str], labels: list[str]) -> dict[str, list[str]] | None:
    """Label to its words. **Raises** `ConfigError` for one that is no LABEL=WORD, or of no label."""
    from foreword.errors import ConfigError, did_you_mean

    found: dict[str, list[str]] = {}
    for one in given:
        label, equals, text = one.partition("=")
        if not equals or not text:
            raise ConfigError(f"a word is written LABEL=WORD, not '{one}'")
        if label not in labels:
            do = did_you_mean(label, labels) if labels else "name the labels by --labels"
            raise ConfigError(f"--word names '{label}', which is no label", do=do)
        found.setdefault(label, []).append(text)
    return found or None
