"""A server that is listening: where it may, and how it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from types import FrameType
from typing import Any

import uvicorn

from foreword.backbone.backbone import Backbone
from foreword.backbone.loading import load
from foreword.bank import Bank
from foreword.errors import ConfigError, ForewordError
from foreword.serving import cards, problems
from foreword.serving.api import make_app
from foreword.serving.guard import LOOPBACK
from foreword.serving.limits import Limits
from foreword.serving.service import Service

SPARE_SECONDS = 5
"""What answers have to be sent in, after the last of them is known."""


def check_host(host: str, keys: Sequence[str], open_: bool) -> None:
    """**Raises** `ConfigError` where everybody who can reach the machine could use the server unasked."""
    if host not in LOOPBACK and not keys and not open_:
        raise ConfigError(
            f"--host {host} lets other machines use the server, and there is no key",
            do="set FOREWORD_API_KEY, or say --no-key if that is meant",
        )


def backbone_for(found: cards.Found, name: str | None) -> Backbone:
    """The backbone called `name`, or the one that all forewords that were found are for.

    **Raises** `ConfigError` where there are several, or none.
    """
    if name is None:
        names = sorted({card.backbone for card in found.cards.values()})
        if len(names) != 1:
            what = f"forewords for {', '.join(names)}" if names else "no foreword"
            raise ConfigError(f"the folder holds {what}, and a server has one backbone", do="name it by --backbone")
        name = names[0]
    return load(name)


class Server(uvicorn.Server):
    """One that finishes what it has begun. A second signal ends it at once."""

    def __init__(self, config: uvicorn.Config, service: Service, started: Callable[[str], None]) -> None:
        super().__init__(config)
        self.service, self.started_at = service, started
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Task[None] | None = None
        self._silent: dict[Any, float] = {}

    async def startup(self, sockets: Any = None) -> None:
        """Listen, and say where."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.started and self.servers:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            try:
                self.started_at(f"http://{f'[{host}]' if ':' in host else host}:{port}")
            except OSError:
                problems.say(logging.WARNING, "where it listens could not be told")

    async def on_tick(self, counter: int) -> bool:
        """Now and then: close connections on which no whole request arrives, be it the first or a later one."""
        now, silent = perf_counter(), set()
        for one in list(self.server_state.connections):
            if _silent(one):
                silent.add(one)
                if now - self._silent.setdefault(one, now) > self.service.limits.body_seconds:
                    one.transport.close()
        self._silent = {one: since for one, since in self._silent.items() if one in silent}
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal: stop listening, and end what runs within its time."""
        if self.should_exit:
            self.force_exit = True
            return
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self._draining = asyncio.ensure_future(self.service.drain())


def _silent(connection: Any) -> bool:
    """Whether no request is under way there, not even its headers, and uvicorn itself does not wait to close it."""
    cycle = getattr(connection, "cycle", True)
    idle = cycle is None or getattr(cycle, "response_complete", False)
    return idle and getattr(connection, "timeout_keep_alive_task", True) is None


def configured(app: Any, limits: Limits, host: str, port: int) -> uvicorn.Config:
    """How an application is served within these limits."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="critical",  # what a request did wrong is told to it, and faults are logged here
        access_log=False,
        lifespan="on",
        limit_concurrency=limits.connections,
        timeout_graceful_shutdown=int(limits.grace_seconds) + SPARE_SECONDS,
        server_header=False,
    )


def serve(
    root: Path,
    backbone: Backbone,
    host: str,
    port: int,
    keys: Sequence[str],
    limits: Limits,
    *,
    pinned: Sequence[str] = (),
    runtime_loading: bool = False,
    found: cards.Found | None = None,
    started: Callable[[str, Service], None] = lambda url, service: None,
) -> None:
    """Serve the forewords below `root` until a signal comes. `started` is told the address.

    `found`: what a scan of `root` has found already.

    **Raises** `ForewordError` where the port cannot be had, or a pinned foreword is not there.
    """
    service = Service(root, Bank(backbone), limits, pinned, found)
    app = make_app(service, keys, runtime_loading=runtime_loading, local=host in LOOPBACK)
    config = configured(app, limits, host, port)
    server = Server(config, service, lambda url: started(url, service))
    try:
        server.run()
    except SystemExit:
        raise ForewordError(f"the server cannot listen at {host}:{port}", do="choose another --port") from None
    if service.failure is not None:
        raise service.failure
