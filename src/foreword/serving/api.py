"""The HTTP interface: OpenAI's routes, and those for what OpenAI has not."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import metadata
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from foreword.errors import ForewordError
from foreword.serving import answers, problems
from foreword.serving.cards import Card
from foreword.serving.guard import Guard
from foreword.serving.pages.access import PREFIX, Access
from foreword.serving.pages.site import HOME, Pages
from foreword.serving.problems import Refusal, refusal_of
from foreword.serving.schema import (
    ChatRequest,
    ClassifyRequest,
    CompletionRequest,
    EmbeddingRequest,
    LoadRequest,
    UnloadRequest,
    Writes,
)
from foreword.serving.service import Service, Stream
from foreword.serving.streaming import EventStream, Gone, unless_gone
from foreword.serving.writing import Piece


def make_app(
    service: Service, keys: Sequence[str] = (), *, runtime_loading: bool = False, local: bool = True
) -> FastAPI:
    """The application. `local`: it listens on this machine alone; see `Guard`."""
    access = Access(keys)
    pages = Pages(service, access)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        pages.start()
        yield
        await pages.stop()
        await service.stop()

    # its page of documentation would load scripts from elsewhere; the description itself is at /openapi.json
    app = FastAPI(
        title="foreword", version=metadata.version("foreword"), lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.add_middleware(Guard, limits=service.limits, metrics=service.metrics, keys=keys, local=local, access=access)
    _errors(app, service)
    _state(app, service)
    _models(app, service)
    _loading(app, service, runtime_loading)
    _writing(app, service)
    _judging(app, service)
    app.add_api_route("/", lambda: RedirectResponse(HOME, 303), methods=["GET"], include_in_schema=False)
    app.mount(PREFIX, pages.app)
    return app


def _writing(app: FastAPI, service: Service) -> None:
    @app.post("/v1/chat/completions")
    async def chat(body: ChatRequest, request: Request) -> Response:
        """Write the answer to a chat."""
        return await _written(service, body, request)

    @app.post("/v1/completions")
    async def completions(body: CompletionRequest, request: Request) -> Response:
        """Go on with a text, or answer it by a foreword's template."""
        return await _written(service, body, request)


def _judging(app: FastAPI, service: Service) -> None:
    @app.post("/v1/classify")
    async def classify(body: ClassifyRequest, request: Request) -> Response:
        """Labels with probabilities, tags of words, or parts of texts, by what the foreword answers with."""
        found = await unless_gone(request, service.classify(body.model, body.all))
        data = [{"index": number, **answer} for number, answer in enumerate(found.answers)]
        counted = {"prompt_tokens": found.tokens, "total_tokens": found.tokens}
        return JSONResponse({"object": "list", "model": body.model, "data": data, "usage": counted})

    @app.post("/v1/embeddings")
    async def embeddings(body: EmbeddingRequest, request: Request) -> Response:
        """Vectors of texts: the mean of the last states, of unit length."""
        texts = [body.input] if isinstance(body.input, str) else body.input
        vectors, tokens = await unless_gone(request, service.embed(body.model, texts))
        coded = body.encoding_format == "base64"
        data = [
            {"object": "embedding", "index": number, "embedding": answers.embedding(vector, coded)}
            for number, vector in enumerate(vectors)
        ]
        counted = {"prompt_tokens": tokens, "total_tokens": tokens}
        return JSONResponse({"object": "list", "model": body.model, "data": data, "usage": counted})


async def _written(service: Service, body: Writes, request: Request) -> Response:
    """The answers, whole or as they come. Errors that show before the first piece have a status of their own."""
    tokenizer = service.engine.decoder.tokenizer
    shape = answers.Shape(body.model, isinstance(body, ChatRequest), body.likeliest is not None, tokenizer)
    held = AsyncExitStack()
    try:
        stream = await held.enter_async_context(service.writing(body))
        events = stream.events()
        if not body.stream:
            pieces = await unless_gone(request, _collected(service, stream.answers, events))
            return JSONResponse(shape.whole(pieces, answers.usage(stream.prompt_tokens, stream.written, stream.cut)))
        first = await unless_gone(request, anext(events))
        told = bool(body.stream_options and body.stream_options.include_usage)
        chunks = _chunks(service, shape, stream, first, events, told)
        return EventStream(chunks, held.pop_all(), service.limits.reader_seconds)
    finally:
        await held.aclose()


async def _collected(service: Service, count: int, events: AsyncIterator[Piece]) -> list[list[Piece]]:
    """All pieces of each of `count` answers."""
    pieces: list[list[Piece]] = [[] for _ in range(count)]
    async for piece in events:
        pieces[piece.choice].append(piece)
        _count(service, piece)
    return pieces


async def _chunks(
    service: Service, shape: answers.Shape, stream: Stream, first: Piece, rest: AsyncIterator[Piece], told: bool
) -> AsyncIterator[dict[str, Any]]:
    """What a stream says; an error is the last thing that it does."""
    begun: dict[int, int] = {}
    try:
        piece: Piece | None = first
        while piece is not None:
            _count(service, piece)
            before = begun.get(piece.choice)
            begun[piece.choice] = (before or 0) + len(piece.text)
            yield shape.chunk(piece, before is None, before or 0)
            piece = await anext(rest, None)
    except Exception as error:
        refusal = _failed(service, error)
        yield refusal.body
        return
    if told:
        yield shape.last(answers.usage(stream.prompt_tokens, stream.written, stream.cut))


def _count(service: Service, piece: Piece) -> None:
    if piece.finished is not None:
        service.metrics.success.labels(piece.finished).inc()


def _failed(service: Service, error: Exception) -> Refusal:
    """What is told of an error."""
    refusal = refusal_of(error)
    service.metrics.failure.labels(str(refusal.status)).inc()
    problems.note("a request failed", error)
    return refusal


def _models(app: FastAPI, service: Service) -> None:
    @app.get("/v1/models")
    async def models() -> Response:
        """The model itself, and the forewords that are served on it."""
        served = [_facts(service, card) for card in service.store.cards.values()]
        return JSONResponse({"object": "list", "data": [_facts(service, None), *served]})

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> Response:
        """One of them."""
        if name == service.base:
            return JSONResponse(_facts(service, None))
        if name not in service.store.cards:
            raise problems.unknown_model(name)
        return JSONResponse(_facts(service, service.store.cards[name]))


def _facts(service: Service, card: Card | None) -> dict[str, Any]:
    """A foreword, or the model itself, as a list of models has it."""
    if card is None:
        name, created = service.base, service.created
        more: dict[str, Any] = {"root": name, "parent": None, "task": None, "answer": None}
    else:
        name, created = card.name, _seconds(card.created)
        root = card.folder.relative_to(service.store.root).as_posix()
        more = {"root": root, "parent": service.base, "task": card.task, "answer": card.answer}
    return {"id": name, "object": "model", "created": created, "owned_by": "foreword", **more}


def _loading(app: FastAPI, service: Service, runtime_loading: bool) -> None:
    def require() -> None:
        if not runtime_loading:
            do = "start it with --runtime-loading"
            raise Refusal("this server does not change what it serves", 403, "forbidden", do=do)

    @app.post("/v1/load_foreword")
    async def load_foreword(body: LoadRequest) -> Response:
        """Serve a folder that was not there when the server started."""
        require()
        return JSONResponse(_facts(service, await service.store.add(body.path)))

    @app.post("/v1/unload_foreword")
    async def unload_foreword(body: UnloadRequest) -> Response:
        """Serve a foreword no more; what is on disk stays."""
        require()
        service.store.drop(body.model)
        return JSONResponse({"id": body.model, "object": "model", "deleted": True})


def _state(app: FastAPI, service: Service) -> None:
    @app.get("/health")
    async def health() -> Response:
        """Whether the server lives: 200, or 503."""
        return JSONResponse({"alive": service.engine.alive}, 200 if service.engine.alive else 503)

    @app.get("/ready")
    async def ready() -> Response:
        """Whether it takes requests: 200, or 503."""
        return JSONResponse({"ready": service.engine.ready}, 200 if service.engine.ready else 503)

    @app.get("/version")
    async def version() -> Response:
        """The versions of what answers depend on."""
        return JSONResponse({"version": metadata.version("foreword"), "torch": metadata.version("torch")})

    @app.get("/metrics")
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return PlainTextResponse(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _errors(app: FastAPI, service: Service) -> None:
    @app.exception_handler(ForewordError)
    async def refused(request: Request, error: ForewordError) -> Response:
        return _problem(_failed(service, error))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return _problem(_failed(service, Refusal("the body is not valid JSON")))
        place = ".".join(str(part) for part in first["loc"][1:])
        what = str(first["msg"]).removeprefix("Value error, ")
        return _problem(_failed(service, Refusal(f"{place}: {what}" if place else what, param=place or None)))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        return _problem(_failed(service, Refusal(str(error.detail), error.status_code)))

    @app.exception_handler(Gone)
    async def gone(request: Request, error: Gone) -> Response:
        return Response(status_code=499)

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> Response:
        return _problem(_failed(service, error))


def _problem(error: Refusal) -> Response:
    headers = {"retry-after": "1"} if error.status in (429, 503) else None
    return JSONResponse(error.body, error.status, headers)


def _seconds(created: str) -> int:
    """ISO 8601 as seconds since 1970; 0 where it says no time."""
    try:
        return int(datetime.datetime.fromisoformat(created).timestamp())
    except (ValueError, OverflowError):
        return 0
