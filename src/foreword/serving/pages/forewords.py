"""`/pages/forewords`: the list, page by page; one foreword's card; several side by side."""

from __future__ import annotations

import asyncio
import shlex
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from foreword.page.plots import bars
from foreword.serving import problems
from foreword.serving.pages import looking, shelf
from foreword.serving.pages.forms import Form, query
from foreword.serving.pages.looking import Looking
from foreword.serving.pages.rendering import Site, size, swaps
from foreword.serving.problems import Refusal

PAGE = 24
"""Cards on one page."""
COMPARED = 6
"""How many are shown side by side at the most."""
REFUSED = 20
"""How many of those that are not served are named."""


def routes(site: Site, looks: Looking) -> list[Route]:
    """The list, a card, a comparison."""

    async def show(request: Request) -> Response:
        values = await _list(site, await Form.of(request))
        return site.part("shelf", **values) if swaps(request) else site.page("forewords", **values)

    async def card(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in site.service.store.cards:
            raise _missing(site, name)
        found = site.service.store.cards[name]
        book = await asyncio.to_thread(shelf.read, found)
        place = shelf.place(site.service.store, found)
        look = await looks.look(name)
        return site.page(
            "foreword",
            book=book,
            place=place,
            size=size(found.size),
            look=look,
            drawing=bars(look.parts),
            words=await looks.words(name) if (await Form.of(request)).on("words") else None,
            commands=looking.commands(shlex.quote(place)),
        )

    async def words(request: Request) -> Response:
        name = request.path_params["name"]
        return site.part("words", words=await looks.words(name))

    async def compare(request: Request) -> Response:
        names = (await Form.of(request)).all("name")
        if not 2 <= len(names) <= COMPARED:
            raise Refusal(f"choose two forewords, and at most {COMPARED}", 400, param="name")
        store = site.service.store
        for name in names:
            if name not in store.cards:
                raise problems.unknown_model(name)
        found = shelf.chosen(store, names)
        books, lines = await asyncio.to_thread(lambda: _side_by_side(site, found))
        places = [shlex.quote(shelf.place(store, one)) for one in found]
        trained = [place for place in places if place.endswith("/artifact")]
        commands = {"how alike their vectors are": f"foreword inspect {' '.join(places)}"}
        if len(trained) == len(places):
            records = " ".join(f"{place.removesuffix('artifact')}result.json" for place in trained)
            commands["who is better, and how sure that is"] = f"foreword compare {records}"
        return site.page("compare", books=books, lines=lines, commands=commands, again=query(name=names))

    return [
        Route("/forewords", show, methods=["GET"]),
        Route("/forewords/compare", compare, methods=["GET"]),
        Route("/forewords/card/{name:path}", card, methods=["GET"]),
        Route("/forewords/words/{name:path}", words, methods=["GET"]),
    ]


def _side_by_side(site: Site, found: Any) -> tuple[list[shelf.Book], list[shelf.Line]]:
    books = [shelf.read(card) for card in found]
    return books, shelf.side_by_side(site.service.store, books)


async def _list(site: Site, form: Form) -> dict[str, Any]:
    store, find = site.service.store, form.text("find")
    found = shelf.find(store, find)
    pages = max(1, -(-len(found) // PAGE))
    page = min(form.whole("page", 1, 1, 10**6), pages)
    chosen = [name for name in form.all("name") if name in store.cards]
    cards = found[(page - 1) * PAGE : page * PAGE]
    books = await asyncio.to_thread(lambda: [shelf.read(card) for card in cards])
    return {
        "books": [(shelf.anchor(book.card.name), book) for book in books],
        "find": find,
        "found": len(found),
        "all": len(store.cards),
        "page": page,
        "pages": pages,
        "chosen": chosen,
        "kept": [name for name in chosen if name not in {card.name for card in cards}],
        "most": COMPARED,
        "refused": list(store.refused.items())[:REFUSED],
        "refusals": len(store.refused),
    }


def _missing(site: Site, name: str) -> Refusal:
    reason = site.service.store.refused.get(name)
    return Refusal(f"the foreword '{name}' is refused: {reason}", 404) if reason else problems.unknown_model(name)
