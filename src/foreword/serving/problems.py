"""Errors as OpenAI's clients know them: an HTTP status and a body with `message`, `type`, `param` and `code`."""

from __future__ import annotations

import logging
import traceback
from typing import Any

from foreword.errors import ForewordError

log = logging.getLogger("foreword.serving")
KINDS = {401: "authentication_error", 429: "rate_limit_error", 500: "server_error", 503: "server_error"}
"""The `type` of an error by its status; that of all others is `invalid_request_error`."""


class Refusal(ForewordError):
    """A request that is answered by an error. `code` is for programs; `param` names the field that is wrong."""

    def __init__(
        self, what: str, status: int = 400, code: str | None = None, param: str | None = None, do: str | None = None
    ) -> None:
        super().__init__(what, do=do)
        self.status, self.code, self.param = status, code, param

    def again(self) -> Refusal:
        """The same, to be raised once more: an error that is raised twice keeps both of its histories."""
        return Refusal(self.what, self.status, self.code, self.param, self.do)

    @property
    def body(self) -> dict[str, Any]:
        """The error's JSON."""
        message = f"{self.what}; {self.do}" if self.do else self.what
        kind = KINDS.get(self.status, "invalid_request_error")
        return {"error": {"message": message, "type": kind, "param": self.param, "code": self.code}}


def refusal_of(error: BaseException) -> Refusal:
    """The answer to a request that failed. What it did wrong is told, and of a fault in here only that there is one."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, ForewordError):
        return Refusal(error.what, do=error.do)
    return Refusal("the server failed to compute an answer", 500, "internal_error")


def note(what: str, error: BaseException) -> None:
    """Log a fault of the program, and where it arose; not its message, which may hold what was asked."""
    if not isinstance(error, ForewordError):
        say(logging.ERROR, "%s: %s\n%s", what, type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))


def say(level: int, text: str, *values: object) -> None:
    """Log it, or not: a log that cannot be written, as on a full disk, ends nothing of what it tells about."""
    try:
        log.log(level, text, *values)
    except Exception:  # a handler may raise anything, and there is nowhere left to tell it
        return


def unknown_model(name: str) -> Refusal:
    """A model that is not served."""
    return Refusal(f"the model '{name:.200}' is not served here", 404, "model_not_found", "model", "see /v1/models")


def stopping() -> Refusal:
    """The server is about to go."""
    return Refusal("the server is stopping", 503, "stopping")


def busy(what: str) -> Refusal:
    """There is more to do than may wait."""
    return Refusal(what, 429, "overloaded", do="try again later")
