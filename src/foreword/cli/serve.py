"""`foreword serve` and `foreword load-test`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from foreword.serving.service import Service

KEY = "FOREWORD_API_KEY"
SHOWN = 5
"""How many refused forewords are told when the server starts."""


def serve(
    folder: Annotated[Path | None, typer.Argument(help="The folder with the forewords, at any depth.")] = None,
    backbone: Annotated[str | None, typer.Option(help="The model (default: the one that all of them are for).")] = None,
    host: Annotated[str, typer.Option(help="Where to listen; beyond this machine a key is needed.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free.")] = 8000,
    no_key: Annotated[bool, typer.Option("--no-key", help="Serve other machines without a key.")] = False,
    pin: Annotated[list[str] | None, typer.Option(help="Load it at the start and keep it; may be repeated.")] = None,
    memory: Annotated[int, typer.Option(min=1, help="MiB for forewords.")] = 512,
    cache: Annotated[int, typer.Option(min=1, help="MiB for the key/values of running texts.")] = 1024,
    slots: Annotated[int, typer.Option(min=1, max=1024, help="Texts that are written at a time.")] = 16,
    batch_tokens: Annotated[int, typer.Option(min=16, help="Padded tokens in one pass.")] = 2048,
    prefill_tokens: Annotated[
        int, typer.Option(min=1, help="The same while texts are being written, and of a prompt between their tokens.")
    ] = 256,
    no_pack: Annotated[
        bool, typer.Option("--no-pack", help="Hold a model that writes once, not a second time laid out for steps.")
    ] = False,
    queue: Annotated[int, typer.Option(min=1, help="Inputs and texts that may wait.")] = 256,
    grace: Annotated[float, typer.Option(min=0, help="Seconds to finish in when it is stopped.")] = 20.0,
    runtime_loading: Annotated[
        bool, typer.Option("--runtime-loading", help="Let requests add and remove forewords of the folder.")
    ] = False,
    demo: Annotated[bool, typer.Option("--demo", help="Serve a few hard prompts, made at once.")] = False,
) -> None:
    """Serve the forewords of a folder on one model, to OpenAI's clients. Keys: FOREWORD_API_KEY, commas between."""
    from foreword.errors import ConfigError

    _require("fastapi", "uvicorn", "prometheus_client")
    from foreword.serving import cards, run
    from foreword.serving.limits import MIB, Limits

    keys = [key.strip() for key in os.environ.get(KEY, "").split(",") if key.strip()]
    run.check_host(host, keys, no_key)
    if demo == (folder is not None):
        raise ConfigError("give a folder with forewords, or --demo")
    limits = Limits(
        resident_bytes=memory * MIB,
        cache_bytes=cache * MIB,
        slots=slots,
        batch_tokens=batch_tokens,
        prefill_tokens=prefill_tokens,
        packed_weights=not no_pack,
        queue=queue,
        grace_seconds=grace,
    )
    found: cards.Found | None = None
    if folder is None:
        from foreword.serving.demo import make

        folder, made = make(backbone)
    else:
        found = cards.scan(folder)
        made = run.backbone_for(found, backbone)
    run.serve(
        folder,
        made,
        host,
        port,
        keys,
        limits,
        pinned=pin or (),
        runtime_loading=runtime_loading,
        found=found,
        started=_started,
    )


def _require(*packages: str) -> None:
    """**Raises** `ConfigError` where a package is missing that serving needs."""
    from importlib.util import find_spec

    from foreword.errors import ConfigError

    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ConfigError(f"serving needs {missing[0]}, which is not installed", do="pip install 'foreword[serve]'")


def _started(url: str, service: Service) -> None:
    """Say where it is, and what is served; scripts wait for the first line."""
    store = service.store
    typer.echo(f"serving at {url}")
    typer.echo(f"pages: {url}/")
    typer.echo(
        f"{len(store.cards)} forewords on {service.base}; models: {url}/v1/models, interface: {url}/openapi.json"
    )
    for name, reason in list(store.refused.items())[:SHOWN]:
        typer.echo(f"refused: {name}: {reason}", err=True)
    if len(store.refused) > SHOWN:
        typer.echo(f"refused: {len(store.refused) - SHOWN} more", err=True)
    if service.engine.writes:
        typer.echo(f"no texts are written: {service.engine.writes}", err=True)


def load_test(
    url: Annotated[str, typer.Argument(help="Where the server is, such as http://127.0.0.1:8000.")],
    model: Annotated[list[str] | None, typer.Option(help="A model; may be repeated (default: every foreword).")] = None,
    requests: Annotated[int, typer.Option(min=1, help="How many in all.")] = 200,
    concurrency: Annotated[int, typer.Option(min=1, help="How many at a time.")] = 8,
    file: Annotated[Path | None, typer.Option(help="Inputs, one a line, as text or as JSON.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Written per answer.")] = 32,
    key: Annotated[str | None, typer.Option(envvar=KEY, help="The server's key.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask a server many things at a time, and say how fast it answered: requests a second, latencies, errors."""
    from foreword.cli import render

    _require("httpx")
    from foreword.serving import load

    bar = render.Bar("requests")
    with bar:
        found = load.run(
            url, model or (), requests, concurrency, load.inputs(file), max_tokens, (key or "").split(",")[0] or None,
            lambda done: bar.bar.update(bar.task, completed=done, total=requests),
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(found.facts()))
        return
    render.grid(["", "p50", "p90", "p99"], found.table(), f"{found.done} requests, {found.concurrency} at a time")
    render.out.print(
        f"{found.requests_per_second:.2f} requests/s, {found.tokens_per_second:.1f} tokens/s written, "
        f"{found.failed} failed" + "".join(f"\n  {count} x {text}" for text, count in found.errors.items()),
        markup=False,
    )
