"""The playground's questions: one input to several sides, and what each of them answers, as it comes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from markupsafe import Markup

from foreword.page.plots import Bar, bars
from foreword.serving import problems
from foreword.serving.cards import Card
from foreword.serving.pages.forms import Form
from foreword.serving.pages.rendering import time
from foreword.serving.pages.shelf import task_of
from foreword.serving.problems import Refusal, refusal_of
from foreword.serving.schema import ChatRequest, CompletionRequest, Message, Writes
from foreword.serving.service import Service

MOST = 5
"""So many forewords are asked at a time: with the hard prompt, as many as a browser has connections to one server."""
TOKENS = 128
"""How long the answer of a bare model without a chat template is at the most, unless the form says otherwise."""
LABELS = 12
"""How many labels are drawn; the least probable ones are counted."""
ENDS = {"length": "cut off at the length", "stop": "ended by a stop string"}


@dataclass(frozen=True)
class Asked:
    """What the form says: the input, further `fields` of tasks that have several, and whom it goes to."""

    text: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    instruction: str = ""
    hard: bool = False
    names: tuple[str, ...] = ()
    max_tokens: int = 0
    temperature: float = 0.0

    @classmethod
    def of(cls, form: Form, fields: tuple[str, ...]) -> Asked:
        """**Raises** `Refusal` for numbers that are none."""
        return cls(
            text=form.text("input"),
            fields={name: form.text(f"field.{name}") for name in fields},
            instruction=form.text("instruction"),
            hard=form.on("hard"),
            names=form.all("who"),
            max_tokens=form.whole("max_tokens", 0, 1, 2**20),
            temperature=form.number("temperature", 0.0, 0.0, 2.0),
        )

    def check(self) -> None:
        """**Raises** `Refusal` where there is nothing to ask, or nobody, or too many."""
        if not self.text.strip():
            raise Refusal("there is no input", do="type a text", param="input")
        if not (self.hard or self.names):
            raise Refusal("nobody is asked", do="choose a foreword, or the hard prompt", param="who")
        if len(self.names) > MOST:
            what = f"{len(self.names)} forewords are chosen, and at most {MOST} are asked at a time"
            raise Refusal(what, param="who")


@dataclass
class Answer:
    """What one side said. `judged`: labels, tags or a part of the text; `facts`: times and tokens; `error`: why not."""

    text: str = ""
    kind: str = "text"
    judged: Mapping[str, Any] = field(default_factory=dict)
    facts: tuple[str, ...] = ()
    error: str = ""

    @property
    def drawing(self) -> Markup:
        """Bars of the labels' probabilities, the most probable first."""
        named = self.judged.get("probabilities", {})
        if not isinstance(named, Mapping):  # tags have one a word
            return Markup("")
        order = sorted(named.items(), key=lambda pair: -pair[1])
        made = [
            Bar(name, value, f"{100 * value:.1f} %", "best" if place == 0 else "")
            for place, (name, value) in enumerate(order[:LABELS])
        ]
        return bars(made, limit=1.0)

    @property
    def more(self) -> int:
        """How many labels are not drawn."""
        return max(0, len(self.judged.get("probabilities", {})) - LABELS) if self.kind == "class" else 0

    @property
    def tagged(self) -> list[tuple[str, str, float | None]]:
        """Words with their tags and how probable these are."""
        parts = (self.judged[name] for name in ("words", "tags", "probabilities"))
        return list(zip(*parts, strict=True))


def further(card: Card) -> tuple[str, ...]:
    """The fields that the foreword has beside its first, which is the input."""
    return task_of(card).inputs[1:]


async def answer(service: Service, asked: Asked, name: str) -> AsyncGenerator[str | Answer, None]:
    """Pieces of text as they come, and the whole answer at the end. `name`: a foreword's; empty for the bare model."""
    began = perf_counter()
    try:
        card = service.store.cards.get(name)
        if card is not None and card.answer != "text":
            found = await service.classify(name, [_given(card, asked)])
            facts = (time(perf_counter() - began), f"{found.tokens} tokens in", *_cut(found.answers[0].get("cut", 0)))
            yield Answer(kind=card.answer, judged=found.answers[0], facts=facts)
            return
        async with aclosing(_written(service, _request(service, asked, name, card), began)) as pieces:
            async for piece in pieces:
                yield piece
    except Exception as error:
        refusal = refusal_of(error)
        service.metrics.failure.labels(str(refusal.status)).inc()
        problems.note("a playground's request failed", error)
        yield Answer(error=f"{refusal.what}; {refusal.do}" if refusal.do else refusal.what)


async def _written(service: Service, request: Writes, began: float) -> AsyncGenerator[str | Answer, None]:
    text, first, ended = [], None, None
    async with service.writing(request) as stream:
        async for piece in stream.events():
            first = perf_counter() - began if first is None else first
            ended = piece.finished
            text.append(piece.text)
            if piece.text:
                yield piece.text
        service.metrics.success.labels(str(ended)).inc()
        seconds = perf_counter() - began
        facts = [f"{stream.prompt_tokens} tokens in, {stream.written} out", *_cut(stream.cut)]
        if ended in ENDS:
            facts.append(ENDS[ended])
        yield Answer("".join(text), facts=(f"first {time(first or seconds)}, all {time(seconds)}", *facts))


def _cut(tokens: int) -> tuple[str, ...]:
    return (f"{tokens} tokens of the input were cut off to fit",) if tokens else ()


def _given(card: Card, asked: Asked) -> Any:
    """The input as the task has it."""
    task = task_of(card)
    if len(task.inputs) == 1:
        return asked.text
    rest = {name: asked.fields.get(name, "") for name in further(card)}
    if missing := [name for name in further(card) if name not in task.optional and not rest[name].strip()]:
        raise Refusal(f"'{card.name}' needs a {missing[0]}", do="type one under who answers", param=missing[0])
    return {task.fields[0]: asked.text, **{n: v for n, v in rest.items() if v or n not in task.optional}}


def _request(service: Service, asked: Asked, name: str, card: Card | None) -> Writes:
    """The request that a program would send.

    The bare model reads the instruction and the input below it, as the user's message, or as a text to go on with.
    """
    settings: dict[str, Any] = {"temperature": asked.temperature, "max_tokens": asked.max_tokens or None}
    if name:
        given = _given(card, asked) if card else asked.text  # one that is not served is refused by its name
        several = isinstance(given, dict)
        return CompletionRequest(
            model=name, prompt=None if several else given, inputs=given if several else None, **settings
        )
    text = "\n\n".join(part for part in (asked.instruction.strip(), asked.text) if part)
    if service.bank.backbone.tokenizer.chat_template:
        return ChatRequest(model=service.base, messages=[Message(role="user", content=text)], **settings)
    return CompletionRequest(model=service.base, prompt=text, **{**settings, "max_tokens": asked.max_tokens or TOKENS})


def longest(service: Service) -> int:
    """How long the bare model's answer is at the most, in tokens, where the form says nothing."""
    return service.limits.answer_tokens if service.bank.backbone.tokenizer.chat_template else TOKENS
