"""`foreword`: the entry point. Heavy libraries are imported by the commands that need them, not here."""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated

import typer

from foreword.cli import (
    compare,
    data,
    demo,
    doctor,
    inspect,
    interchange,
    models,
    profile,
    serve,
    story,
    sweep,
    train,
    use,
)
from foreword.errors import ForewordError, Interrupted

app = typer.Typer(
    help="Teach a frozen language model a task with a few learned vectors, then measure and use what was learned.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.train)
app.command("sweep")(sweep.sweep)
app.command("profile")(profile.profile)
app.command("evaluate")(use.evaluate)
app.command("predict")(use.predict)
app.command("compare")(compare.compare)
app.command("inspect")(inspect.inspect)
app.command("import")(interchange.import_)
app.command("export")(interchange.export)
app.command("serve")(serve.serve)
app.command("load-test")(serve.load_test)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.add_typer(models.app, name="models")
app.add_typer(data.app, name="data")
app.add_typer(story.app, name="story")


@app.callback(invoke_without_command=True)
def _main(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    """Teach a frozen language model a task with a few learned vectors, then measure and use what was learned."""
    if version:
        from importlib.metadata import version as of

        typer.echo(f"foreword {of('foreword')}")
        raise typer.Exit


def main() -> None:
    """Run a command. A user's mistake is told without a stack trace; exit code 2, or 130 after an interrupt."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # torch's profiler tells its beginning and end otherwise
    try:
        app()
    except ForewordError as error:
        _say(str(error))
        sys.exit(130 if isinstance(error, Interrupted) else 2)
    except KeyboardInterrupt:
        _say("stopped")
        sys.exit(130)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            _say("the disk is full\n  do:    free some space and run the command again")
        elif error.filename is not None:  # a file or a folder that cannot be used, which is nobody's bug
            _say(f"{error.strerror}\n  where: {error.filename}")
        else:
            raise
        sys.exit(2)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "can't allocate memory" not in str(error):
            raise
        _say("the memory is full\n  do:    lower the batch, its max_tokens, or what the method trains")
        sys.exit(2)


def _say(text: str) -> None:
    sys.stderr.write(f"error: {text}\n")
