"""The pages as a browser asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import httpx

from foreword.backbone.backbone import Backbone
from support import pages
from support.backbones import _made, bare

from . import conftest

ROOM = 2048
EVIL = "<script>alert(1)</script>"


class Page(pages.Page):
    """With the elements of forms, of which some have no end."""

    VOID = pages.Page.VOID | {"input"}

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        """The attributes of the elements of that name."""
        return [own for name, own in self.seen if name == tag and all(own.get(k) == v for k, v in wanted.items())]


def browse(url: str, path: str, **more: Any) -> httpx.Response:
    return conftest.get(f"{url}/pages{path}", timeout=60, **more)


def send(url: str, path: str, fields: Any = None, headers: dict[str, str] | None = None) -> httpx.Response:
    """A form of a page of this server."""
    own = {"origin": url, **(headers or {})}
    return conftest.post(f"{url}/pages{path}", data=fields or {}, headers=own, timeout=120)


def roomy(family: str) -> Backbone:
    """The tiny model with room for a story."""
    model = bare(family)
    model.config.max_position_embeddings = ROOM
    return Backbone(model, _made(family)[1], "causal", family)


@contextmanager
def storytelling(root: Any, **settings: Any) -> Iterator[tuple[str, Any]]:
    """A server whose model has room for a story."""
    with mock.patch.object(conftest, "tiny", roomy), conftest.running(root, "llama", **settings) as made:
        yield made
