"""Any endpoint that speaks the protocol of OpenAI's chat completions."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import Field

from foreword.config import Settings
from foreword.errors import ConfigError, ForewordError, is_text
from foreword.stories.writers.base import Advance, Done, Draft, Finished, Request, Writer, WriterStopped
from foreword.stories.writers.legible import legible
from foreword.stories.writers.transport import Reply, Unreachable, post

KEY = "FOREWORD_ENDPOINT_KEY"
LOCAL = ("localhost", "127.0.0.1", "::1")
LONGEST_WAIT = 60.0
A_DAY = 86_400.0
MOST_COUNTED = 10_000_000
"""Tokens of one answer; an endpoint that tells of more cannot count."""
TOKENS_PER_WORD = 2.5
"""Room for a word, generously: the endpoint's tokenizer is not known, and what is cut off is worth little."""
_REFUSAL = re.compile(
    r"\A\W*(?:i['’]?m (?:very |really )?sorry|i (?:cannot|can['’]t|am unable) (?:write|help|assist|create|provide|do)"
    r"|as an ai|unfortunately, i)",
    re.IGNORECASE,
)


class EndpointSettings(Settings):
    """Where and how.

    `url`: up to and without `/chat/completions`. `model`: the endpoint's name for it. `key_env`: the environment
    variable that holds the key; it is read when a request is sent, and is never logged or saved. `timeout`: seconds of
    one request. `retries`: of a request that got no answer, or one that says "later" (429, 5xx). `max_requests` and
    `max_tokens`: what a run may use, retries included; tokens as the endpoint counts them, in and out. Both are looked
    at before a request is sent, and a prompt is sent whole, so the last one may go beyond the tokens by its prompt.
    """

    url: str
    model: str = Field(min_length=1)
    key_env: str = KEY
    temperature: float = Field(0.9, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    timeout: float = Field(60.0, gt=0, le=A_DAY)
    retries: int = Field(2, ge=0, le=10)
    max_requests: int = Field(100, ge=1)
    max_tokens: int = Field(200_000, ge=1)
    context: int | None = Field(None, ge=1, description="words that fit, where they are known")


class EndpointWriter(Writer):
    """Sends one request after the other.

    A request that fails is told to `done` as a `ForewordError` and the next one is sent; a refused key, an unknown
    model and a spent budget stop the writer. `wait` is how it waits before a retry.

    **Raises** `ConfigError` for an address that is none, one with a user or a password in it, and for a key that would
    go over plain HTTP to another machine.
    """

    strong = True
    leads = False

    def __init__(self, settings: EndpointSettings, wait: Callable[[float], None] = time.sleep) -> None:
        self.settings, self._wait = settings, wait
        self.name = f"{settings.model} at {_checked(settings)}"
        self.requests = self.tokens = 0
        self._failure = ""

    def describe(self) -> dict[str, Any]:
        """The endpoint's model, and how it is sampled as far as requests say."""
        return {"model": self.name, "temperature": self.settings.temperature, "top_p": self.settings.top_p,
                "tokens_per_word": TOKENS_PER_WORD, "max_tokens": self.settings.max_tokens}  # fmt: skip

    def capacity(self, prompt: str) -> int | None:
        """What the settings say."""
        return self.settings.context

    def write(self, requests: Sequence[Request], done: Done, advance: Advance) -> None:
        """One by one, in order. **Raises** `WriterStopped`."""
        for number, request in enumerate(requests):
            try:
                draft = self._draft(request)
            except WriterStopped:
                raise
            except ForewordError as error:
                done(number, error)
                continue
            advance(draft.tokens)
            done(number, draft)

    def _draft(self, request: Request) -> Draft:
        began = time.perf_counter()
        prompt = request.prompt
        if request.lead:
            prompt += f"\n\nThe story so far:\n{request.lead}\n\nGo on from there, and write only what comes next."
        answer = self._ask(prompt, int(request.most * TOKENS_PER_WORD) + 64, request.seed)
        return _draft(answer, time.perf_counter() - began)

    def _ask(self, prompt: str, most: int, seed: int) -> dict[str, Any]:
        values = {
            "model": self.settings.model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": max(1, min(most, self.settings.max_tokens - self.tokens)),
            "temperature": self.settings.temperature,
            "top_p": self.settings.top_p,
            "seed": seed % 2**31,
        }
        failure = ForewordError("no request was sent")
        for attempt in range(self.settings.retries + 1):
            self._afford()
            self.requests += 1
            later: float | None = None
            try:
                reply = post(_address(self.settings.url), self._headers(), values, self.settings.timeout)
                if reply.status == 200:
                    return self._answer(reply)
                failure, later = self._refused(reply)
            except Unreachable as error:
                failure = self._error(f"the endpoint cannot be reached: {error}", "check the address, or wait")
            except _Garbage as error:
                failure = self._error(f"the endpoint's answer is no chat completion: {error}", "check the address")
            self._failure = failure.what
            if attempt < self.settings.retries:
                self._wait(min(LONGEST_WAIT, 2.0**attempt if later is None else later))
        raise failure

    def _afford(self) -> None:
        """**Raises** `WriterStopped` when the budget is spent; it tells what the last request failed of."""
        why = f"; the last failure: {self._failure}" if self._failure else ""
        if self.requests >= self.settings.max_requests:
            what = f"the budget of {self.settings.max_requests} requests is spent{why}"
            raise WriterStopped(what, do="raise max_requests")
        if self.tokens >= self.settings.max_tokens:
            what = f"the budget of {self.settings.max_tokens} tokens is spent ({self.tokens} used){why}"
            raise WriterStopped(what, do="raise max_tokens")

    def _headers(self) -> dict[str, str]:
        key = os.environ.get(self.settings.key_env, "")
        if re.search(r"[^\x21-\x7e]", key):
            raise WriterStopped(f"the key in {self.settings.key_env} holds white space or a letter beyond ASCII")
        return {"Authorization": f"Bearer {key}"} if key else {}

    def _refused(self, reply: Reply) -> tuple[ForewordError, float | None]:
        """What an answer that is not 200 means: an error to retry, with the wait that it asks for."""
        told = f"the endpoint answers {reply.status}{self._reason(reply)}"
        if reply.status in (401, 403):
            do = f"put the right key into the variable {self.settings.key_env}"
            raise WriterStopped(told, where=self.name, do=do)
        if reply.status not in (408, 409, 425, 429) and reply.status < 500:
            do = "check the endpoint's address and the model's name"
            raise WriterStopped(told, where=self.name, do=do)
        try:
            later = max(0.0, float(reply.headers.get("retry-after", "")))
        except ValueError:
            later = None
        return self._error(told, "wait, or lower the number of stories"), later

    def _answer(self, reply: Reply) -> dict[str, Any]:
        """The first choice of an answer. **Raises** `_Garbage`."""
        try:
            found = json.loads(reply.body, parse_int=_whole)
            choice = found["choices"][0]
            message = choice["message"]
            if not isinstance(message.get("content"), str | None):
                raise TypeError
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            begin = self._clean(reply.body.decode(errors="replace"))[:40]
            raise _Garbage(f"{len(reply.body)} bytes that begin with {begin!r}") from None
        usage = found.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        words = len((message.get("content") or "").split())
        self.tokens += _counted(usage.get("total_tokens"), words)
        self._failure = ""
        text = self._clean(message.get("content") or "")
        return {
            **choice,
            "message": {**message, "content": text},
            "tokens": _counted(usage.get("completion_tokens"), words),
        }

    def _error(self, what: str, do: str) -> ForewordError:
        return ForewordError(self._clean(what), where=self.name, do=do)

    def _reason(self, reply: Reply) -> str:
        """What the endpoint says about it, in one short line. It is cleaned whole: half a key is no key to be found."""
        try:
            found = json.loads(reply.body, parse_int=_whole)["error"]
            text = found["message"] if isinstance(found, dict) else found
        except (ValueError, KeyError, TypeError, RecursionError):
            return ""
        return f": {' '.join(self._clean(str(text)).split())[:200]}"

    def _clean(self, text: str) -> str:
        """A legible text without the key, should an endpoint have sent it back, as it is or as code spells it."""
        text, key = legible(text), os.environ.get(self.settings.key_env, "")
        quoted = json.dumps(key)[1:-1]
        for form in {quoted.replace("/", "\\/"), quoted, repr(key)[1:-1], key} if key else ():
            text = text.replace(form, "[key]")
        return text


class _Garbage(Exception):
    """An answer that is no chat completion."""


def _draft(choice: dict[str, Any], seconds: float) -> Draft:
    content = (choice["message"].get("content") or "").strip()
    reason = choice.get("finish_reason")
    refused = reason == "content_filter" or choice["message"].get("refusal") or not content or _REFUSAL.match(content)
    finished: Finished = "refused" if refused else "length" if reason == "length" else "end"
    return Draft(content, choice["tokens"], seconds, finished)


def _whole(digits: str) -> int:
    """A whole number of JSON; of one that is absurdly long, none."""
    return int(digits) if len(digits) < 20 else -1


def _counted(told: Any, words: int) -> int:
    """The tokens that an endpoint tells of, or the words where what it tells is no such number."""
    return told if isinstance(told, int) and 0 <= told <= MOST_COUNTED else words


def _address(url: str) -> str:
    """Where requests go; letters beyond ASCII in the path are spelled as bytes."""
    parts = urlsplit(url)
    path = quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~")
    return parts._replace(path=f"{path}/chat/completions").geturl()


def _checked(settings: EndpointSettings) -> str:
    """The endpoint's host. **Raises** `ConfigError`."""
    try:
        parts = urlsplit(settings.url)
        host, _ = parts.hostname, parts.port
        (host or "").encode("idna")
    except ValueError:  # UnicodeError is one
        parts, host = None, None
    if parts is None or parts.scheme not in ("http", "https") or not host or not is_text(settings.url):
        do = "give an address such as https://host/v1"
        raise ConfigError("the endpoint's address is no http or https address", do=do)
    if parts.username or parts.password or parts.query:
        do = f"put the key into the variable {settings.key_env}"
        raise ConfigError("the endpoint's address holds a user, a password or a query", do=do)
    if parts.scheme == "http" and host not in LOCAL and os.environ.get(settings.key_env):
        do = "use https, or unset the variable for an endpoint that needs no key"
        raise ConfigError(f"the key in {settings.key_env} would go to {host} over plain http", do=do)
    return host
