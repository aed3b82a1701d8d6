"""`foreword models`: which models there are, fetching them, and what they can do."""

from __future__ import annotations

import json
from typing import Annotated

import typer

app = typer.Typer(help="Models: list, pull, show.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Models: list, pull, show."""


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """The models that are known by name; any hub id and any local folder works too."""
    from foreword import store
    from foreword.cli import render

    cards = [
        {"name": c.name, "parameters": c.parameters, "licence": c.licence, "description": c.description,
         "pulled": store.is_pulled(c.name)}
        for c in store.MODELS.values()
    ]  # fmt: skip
    if as_json:
        typer.echo(json.dumps(cards))
        return
    body = [
        [
            str(c["name"]),
            f"{c['parameters']:,}",
            str(c["licence"]),
            "yes" if c["pulled"] else "no",
            str(c["description"]),
        ]
        for c in cards
    ]
    render.grid(["name", "parameters", "licence", "here", "what it is"], body)


@app.command()
def pull(names: Annotated[list[str], typer.Argument(help="Names from the list, or hub ids.")]) -> None:
    """Fetch models into the user's cache, checked against their pinned sha256, converted once."""
    from foreword import store

    for name in names:
        if name in store.MODELS:
            typer.echo(f"{name}: {store.model_folder(name)}")
        else:
            _pull_from_hub(name)


def _pull_from_hub(name: str) -> None:
    from foreword.backbone.loading import load

    load(name)
    typer.echo(f"{name}: in the hub's own cache")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A name from the list, a hub id, or a local folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Load a model, and say its sizes and what can be done with it, as found by probing it."""
    from foreword.backbone.loading import load
    from foreword.cli import render

    backbone = load(name)
    able = {
        what: backbone.refusals.get(key, "yes")
        for key, what in {
            "soft_tokens": "prompt-tuning, p-tuning",
            "key_values": "p-tuning-v2",
            "head": "label words (verbalizer)",
        }.items()
    }
    facts = {
        "name": backbone.name,
        "family": backbone.family,
        "kind": backbone.kind,
        **backbone.geometry.to_dict(),
        "fingerprint": backbone.fingerprint,
    }
    if as_json:
        typer.echo(json.dumps({**facts, "support": able}))
        return
    render.pairs([(key, f"{value:,}" if isinstance(value, int) else str(value)) for key, value in facts.items()])
    render.pairs([(what, answer if answer == "yes" else f"no: {answer}") for what, answer in able.items()], "support")
