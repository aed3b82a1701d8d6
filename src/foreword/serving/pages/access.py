"""Who may see a page: sessions in the place of keys, and posts from these pages alone.

A browser cannot send a key with a link. So the key is typed once, and a random token in a cookie stands for it, which
opens pages and nothing else, is kept from scripts, is not sent along from other sites, and ends with the server.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from http.cookies import CookieError, SimpleCookie
from time import monotonic
from urllib.parse import urlsplit

PREFIX = "/pages"
SIGN_IN = f"{PREFIX}/sign-in"
ASSETS = f"{PREFIX}/assets/"
COOKIE = "foreword_session"
SECONDS = 12 * 3600
"""How long a session lasts."""
SESSIONS = 1024
"""How many there may be; the oldest goes first."""

Headers = Mapping[bytes, bytes]
"""Names in small letters."""


class Access:
    """The sessions of one server. Without `keys` every page is open, and there are none."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [key.encode() for key in keys]
        self._sessions: OrderedDict[bytes, float] = OrderedDict()

    @property
    def needed(self) -> bool:
        """Whether somebody has to sign in."""
        return bool(self._keys)

    def sign_in(self, key: str) -> str | None:
        """A token for a key that is right, or None. Times tell nothing of the keys."""
        given = key.strip().encode("utf-8", "surrogatepass")
        if not any([hmac.compare_digest(given, own) for own in self._keys]):
            return None
        token = secrets.token_urlsafe(32)
        self._sessions[_digest(token)] = monotonic() + SECONDS
        while len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        return token

    def sign_out(self, headers: Headers) -> None:
        """End the session that a request is of."""
        self._sessions.pop(_digest(_token(headers)), None)

    def admits(self, path: str, headers: Headers) -> bool:
        """Whether a request needs no key: for the page to sign in at and its style, and for pages within a session."""
        if path in ("/", SIGN_IN) or path.startswith(ASSETS):
            return True
        return is_page(path) and self._sessions.get(_digest(_token(headers)), 0.0) > monotonic()


def is_page(path: str) -> bool:
    """Whether a path belongs to the pages."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def from_here(headers: Headers) -> bool:
    """Whether a post comes from a page of this server, and not from another site through somebody's browser.

    Browsers say so themselves (Sec-Fetch-Site), older ones name the page's origin; who says neither is refused.
    """
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        return site == b"same-origin"
    origin = headers.get(b"origin", b"").decode("latin-1")
    try:
        return bool(origin) and urlsplit(origin).netloc.lower() == headers.get(b"host", b"").decode("latin-1").lower()
    except ValueError:
        return False


def _token(headers: Headers) -> str:
    try:
        found = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1")).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _digest(token: str) -> bytes:
    """What is kept of a token: looking one up tells nothing of the others."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
