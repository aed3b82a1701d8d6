"""The pages as an application of their own, which the server mounts at `/pages`."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from foreword.errors import ForewordError
from foreword.serving.pages import forewords, playground, status, stories
from foreword.serving.pages.access import COOKIE, PREFIX, SECONDS, SIGN_IN, Access, from_here
from foreword.serving.pages.figures import Course
from foreword.serving.pages.forms import Form
from foreword.serving.pages.looking import Looking
from foreword.serving.pages.rendering import Site
from foreword.serving.pages.studio import Studio
from foreword.serving.problems import refusal_of
from foreword.serving.service import Service

HEADERS = {
    b"content-security-policy": b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",  # with none at all, a browser would not say where a post comes from
}
HOME = f"{PREFIX}/playground"
Message = MutableMapping[str, Any]


class Pages:
    """All pages of a service, from `start` to `stop`, which are called on the event loop that requests run on."""

    def __init__(self, service: Service, access: Access) -> None:
        site = Site(service, access)
        self._course, self._studio, self._looks = Course(service.metrics), Studio(service), Looking(service)
        routes = [
            Route("/", lambda request: RedirectResponse(HOME, 303)),
            *_signing(site),
            *playground.routes(site),
            *forewords.routes(site, self._looks),
            *stories.routes(site, self._studio),
            *status.routes(site, self._course),
            Mount("/assets", StaticFiles(packages=[(__package__, "assets")])),
        ]
        self.app = Frame(Starlette(routes=routes, exception_handlers=_handlers(site)), site)
        """To be mounted at `access.PREFIX`."""

    def start(self) -> None:
        """Begin to watch the figures."""
        self._course.start()

    async def stop(self) -> None:
        """End what runs."""
        self._looks.close()
        await self._studio.close()
        await self._course.stop()


class Frame:
    """An ASGI application around the pages: posts from elsewhere are refused, and answers say what they may do."""

    def __init__(self, app: Any, site: Site) -> None:
        self._app, self._site = app, site

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        """Answer, or hand over."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                asset = scope["path"].startswith(f"{PREFIX}/assets/")
                cache = (b"cache-control", b"no-cache" if asset else b"no-store")
                named = {name for name, _ in message["headers"]}
                added = [pair for pair in (*HEADERS.items(), cache) if pair[0] not in named]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD") and not from_here(dict(scope["headers"])):
            message = "this form was not sent by a page of this server"
            answer = self._site.problem(Request(scope), message, 403)
            await answer(scope, receive, with_headers)
            return
        await self._app(scope, receive, with_headers)


def _signing(site: Site) -> list[Route]:
    """Where the key is given, and where the session ends."""

    async def show(request: Request) -> Response:
        return site.page("sign_in", wrong=False) if site.access.needed else RedirectResponse(HOME, 303)

    async def sign_in(request: Request) -> Response:
        token = site.access.sign_in((await Form.of(request)).text("key"))
        if token is None:
            return site.page("sign_in", 401, wrong=True)
        answer = RedirectResponse(HOME, 303)
        secure = request.url.scheme == "https"
        answer.set_cookie(COOKIE, token, SECONDS, path=PREFIX, secure=secure, httponly=True, samesite="strict")
        return answer

    async def sign_out(request: Request) -> Response:
        site.access.sign_out(dict(request.headers.raw))
        answer = RedirectResponse(SIGN_IN, 303)
        answer.delete_cookie(COOKIE, path=PREFIX)
        return answer

    return [
        Route("/sign-in", show, methods=["GET"]),
        Route("/sign-in", sign_in, methods=["POST"]),
        Route("/sign-out", sign_out, methods=["POST"]),
    ]


def _handlers(site: Site) -> dict[Any, Any]:
    """Errors as pages. Faults in here are noted by the server's own handler."""

    async def refused(request: Request, error: ForewordError) -> Response:
        refusal = refusal_of(error)
        site.service.metrics.failure.labels(str(refusal.status)).inc()
        message = f"{refusal.what}; {refusal.do}" if refusal.do else refusal.what
        return site.problem(request, message, refusal.status)

    async def http(request: Request, error: HTTPException) -> Response:
        message = "there is no such page" if error.status_code == 404 else str(error.detail)
        return site.problem(request, message, error.status_code)

    return {ForewordError: refused, HTTPException: http}
