"""`/pages/status`: what the server is doing, from the numbers of `/metrics`."""

from __future__ import annotations

from time import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from foreword.serving.pages.figures import EVERY_SECONDS, Course, figures
from foreword.serving.pages.forms import Form
from foreword.serving.pages.rendering import Site

NAMED = 12
"""So many of the forewords in memory are named, those used last."""


def routes(site: Site, course: Course) -> list[Route]:
    """The page, and the part of it that lives."""

    async def show(request: Request) -> Response:
        still = (await Form.of(request)).on("still")
        return site.page("status", still=still, **_values(site, course))

    async def live(request: Request) -> Response:
        return site.part("figures", still=False, **_values(site, course))

    return [Route("/status", show, methods=["GET"]), Route("/status/figures", live, methods=["GET"])]


def _values(site: Site, course: Course) -> dict[str, Any]:
    service = site.service
    names = service.store.names
    up = int(time() - service.created)
    return {
        "figures": figures(service, course),
        "state": "ready" if service.engine.ready else "not ready" if service.engine.alive else "stopped",
        "up": f"{up // 3600} h {up % 3600 // 60} min" if up >= 3600 else f"{up // 60} min {up % 60} s",
        "resident": list(reversed(names))[:NAMED],
        "residents": len(names),
        "served": len(service.store.cards),
        "refused": len(service.store.refused),
        "every": EVERY_SECONDS,
    }
