"""What every page shares: its frame, and how an error looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from foreword.page.render import template
from foreword.serving.pages.access import PREFIX, Access
from foreword.serving.service import Service

TABS = (("playground", "Playground"), ("forewords", "Forewords"), ("stories", "Stories"), ("status", "Status"))


@dataclass(frozen=True)
class Site:
    """What pages are about, and who may see them."""

    service: Service
    access: Access

    def page(self, name: str, status: int = 200, **values: Any) -> Response:
        """A whole page of the template `name`."""
        frame = {"at": PREFIX, "tabs": TABS, "model": self.service.base, "signed_in": self.access.needed}
        return HTMLResponse(template(__package__, f"{name}.html.j2").render(**frame, **values), status)

    def part(self, name: str, headers: dict[str, str] | None = None, **values: Any) -> Response:
        """A part of a page, for htmx to put in its place."""
        return HTMLResponse(template(__package__, f"{name}.html.j2").render(at=PREFIX, **values), headers=headers)

    def problem(self, request: Request, message: str, status: int) -> Response:
        """An error: a page, or plain words for a script that tells it beside the form."""
        if swaps(request):
            return PlainTextResponse(message, status)
        return self.page("problem", status, message=message)


def swaps(request: Request) -> bool:
    """Whether htmx asks, and wants a part of the page."""
    return request.headers.get("hx-request") == "true"


def size(count: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "bytes" or count >= 100 else f"{count:,.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} GiB"


def time(seconds: float) -> str:
    """A duration with three digits."""
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
