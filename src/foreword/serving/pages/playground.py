"""`/pages/playground`: one input, answered side by side by the bare model under an instruction and by forewords."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from itertools import islice
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from foreword.page.render import template
from foreword.serving.cards import Card
from foreword.serving.pages import asking, shelf
from foreword.serving.pages.asking import Answer, Asked
from foreword.serving.pages.forms import Form
from foreword.serving.pages.rendering import Site
from foreword.serving.problems import Refusal
from foreword.serving.streaming import EventStream, unless_gone

OFFERED = 8
"""How many forewords are offered beside those that are chosen."""
EXAMPLE = "The screen is bright and sharp, but the battery was empty after two hours."
INSTRUCTION = "Say in one word whether this review is positive or negative."


@dataclass(frozen=True)
class Side:
    """Somebody who is asked: `name` is a foreword's, or empty for the hard prompt."""

    name: str
    title: str
    note: str
    answer: Answer | None = None


def routes(site: Site) -> list[Route]:
    """The page, the parts that change while it is filled in, and answers as they come."""

    async def show(request: Request) -> Response:
        form = await Form.of(request)
        simple = (card.name for card in site.service.store.cards.values() if not asking.further(card))
        names = form.all("with") or tuple(islice(simple, 1))
        hard = site.service.engine.writes is None
        asked = Asked(text=EXAMPLE, instruction=INSTRUCTION, hard=hard, names=names[: asking.MOST])
        return _page(site, asked)

    async def ask(request: Request) -> Response:
        """Without a script: look for forewords, or all answers at once."""
        form, asked = await _asked(site, request)
        if form.on("look"):
            return _page(site, asked, form.text("find"))
        try:
            asked.check()
        except Refusal as error:
            return _page(site, asked, form.text("find"), problem=_told(error), status=error.status)
        sides = await unless_gone(request, _all(site, asked))
        return _page(site, asked, form.text("find"), sides=sides)

    async def choose(request: Request) -> Response:
        form, asked = await _asked(site, request)
        return site.part("chooser", **_choices(site, asked, form.text("find")))

    async def sides(request: Request) -> Response:
        _, asked = await _asked(site, request)
        asked.check()
        return site.part("answers", sides=_sides(site, asked))

    async def stream(request: Request) -> Response:
        form, asked = await _asked(site, request)
        asked.check()
        held = AsyncExitStack()
        events = _events(site, asked, form.text("side"))
        held.push_async_callback(events.aclose)
        return EventStream(events, held, site.service.limits.reader_seconds)

    return [
        Route("/playground", show, methods=["GET"]),
        Route("/playground", ask, methods=["POST"]),
        Route("/playground/choose", choose, methods=["POST"]),
        Route("/playground/sides", sides, methods=["POST"]),
        Route("/playground/stream", stream, methods=["POST"]),
    ]


async def _asked(site: Site, request: Request) -> tuple[Form, Asked]:
    form = await Form.of(request)
    fields = _fields(shelf.chosen(site.service.store, form.all("who")))
    return form, Asked.of(form, fields)


def _fields(cards: Sequence[Card]) -> tuple[str, ...]:
    """What the chosen ones need beside the input, each once."""
    return tuple(dict.fromkeys(name for card in cards for name in asking.further(card)))


def _page(site: Site, asked: Asked, find: str = "", status: int = 200, **more: Any) -> Response:
    values = {"problem": "", "sides": (), **more}
    return site.page("playground", status, **_choices(site, asked, find), **values)


def _choices(site: Site, asked: Asked, find: str) -> dict[str, Any]:
    """What the form shows."""
    store = site.service.store
    taken, found = shelf.chosen(store, asked.names), shelf.find(store, find)
    offered = [card for card in found if card.name not in asked.names][:OFFERED]
    return {
        "asked": asked,
        "find": find,
        "taken": [(shelf.anchor(card.name), card) for card in taken],
        "offered": [(shelf.anchor(card.name), card) for card in offered],
        "found": len(found),
        "all": len(store.cards),
        "most": asking.MOST,
        "fields": {name: [card.name for card in taken if name in asking.further(card)] for name in _fields(taken)},
        "writes": site.service.engine.writes,
        "tokens": asking.longest(site.service),
    }


def _sides(site: Site, asked: Asked) -> list[Side]:
    service = site.service
    hard = [Side("", "Hard prompt", f"{service.base}, with the instruction alone")] if asked.hard else []
    cards = {name: service.store.cards.get(name) for name in asked.names}
    return hard + [Side(name, name, card.task if card else "not served") for name, card in cards.items()]


async def _all(site: Site, asked: Asked) -> list[Side]:
    """Every side with its whole answer; they share passes as all requests do."""
    sides = _sides(site, asked)
    found = await asyncio.gather(*(_whole(site, asked, side.name) for side in sides))
    return [Side(one.name, one.title, one.note, answer) for one, answer in zip(sides, found, strict=True)]


async def _whole(site: Site, asked: Asked, name: str) -> Answer:
    last = Answer()
    async with aclosing(asking.answer(site.service, asked, name)) as pieces:
        async for one in pieces:
            last = one if isinstance(one, Answer) else last
    return last


async def _events(site: Site, asked: Asked, name: str) -> AsyncGenerator[dict[str, Any], None]:
    """Text to put behind what is there, and at the end what the side's card holds, as markup."""
    async with aclosing(asking.answer(site.service, asked, name)) as pieces:
        async for one in pieces:
            if isinstance(one, Answer):
                yield {"html": template(__package__, "answer.html.j2").render(answer=one)}
            else:
                yield {"text": one}


def _told(error: Refusal) -> str:
    return f"{error.what}; {error.do}" if error.do else error.what
