"""How long who asks for a text waits: for its first token under load, and for the next while a long prompt joins."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from benchmarks.serving.requests import long_text
from benchmarks.serving.write import Heard, Writer
from benchmarks.side import Settings, Side
from foreword.config import GenerationOptions
from foreword.serving.limits import Limits
from foreword.serving.load import percentile
from foreword.serving.writing import Writing
from foreword.text.rows import as_row


def load(settings: Settings) -> Side:
    """Requests at random times."""
    return Load(settings)


def long_prompt(settings: Settings) -> Side:
    """A long prompt that joins texts under way."""
    return LongPrompt(settings)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Seconds: half are below the first, 95 of 100 below the second; and the largest."""
    return {"p50": percentile(values, 50), "p95": percentile(values, 95), "max": max(values)}


class Load(Side):
    """Requests of all tasks in turn, at exponential times, at shares of what rounds of eight requests give."""

    def __init__(self, settings: Settings) -> None:
        self.writer, self.settings = Writer(settings), settings
        self.about = "the engine"

    def figures(self) -> dict[str, object]:
        new, count = self.settings["new"], 8
        for _ in range(2):  # the first round makes the prompts' key/values
            began = time.perf_counter()
            for one in self._asked([0.0] * count):
                one.wait()
            capacity = count / (time.perf_counter() - began)
        found: dict[str, object] = {"tokens_a_request": new, "requests_per_second_at_most": capacity}
        for share in self.settings["loads"]:
            chance = random.Random(self.settings["seed"])
            rate = capacity * share
            began = time.perf_counter()
            heard = [
                one.wait() for one in self._asked([chance.expovariate(rate) for _ in range(self.settings["requests"])])
            ]
            seconds = time.perf_counter() - began
            gaps = [b - a for one in heard for a, b in zip(one.times, one.times[1:], strict=False)]
            found[f"load_{round(share * 100)}"] = {
                "requests_per_second": len(heard) / seconds,
                "first_token_seconds": spread([one.times[0] - one.begun for one in heard]),
                "inter_token_seconds": spread(gaps),
            }
        return found

    def _asked(self, pauses: Sequence[float]) -> list[Heard]:
        heard = []
        for number, pause in enumerate(pauses):
            time.sleep(pause)
            heard.append(Heard())
            self.writer.engine.submit([self.writer.job(number, self.settings["new"], True, heard[-1])])
        return heard


class LongPrompt(Side):
    """Four texts under way, and a prompt of `prompt` tokens behind them: whole, and in pieces."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.writer = Writer(settings)
        self.limits = {"whole": Limits(prefill_tokens=settings["prompt"]), "pieces": Limits()}
        self.about = "the engine"

    def figures(self) -> dict[str, object]:
        found: dict[str, object] = {}
        answers = []
        for name in ("whole", "pieces") * 2:  # the first of each warms up
            self.writer.engine.decoder.limits = self.limits[name]  # nothing runs now
            heard = self._run(self.writer)
            gaps = [b - a for one in heard[:-1] for a, b in zip(one.times, one.times[1:], strict=False)]
            answers.append([one.ids for one in heard])
            found[name] = {
                "prefill_tokens": self.limits[name].prefill_tokens,
                "inter_token_seconds": spread(gaps),
                "first_token_of_the_long_seconds": heard[-1].times[0] - heard[-1].begun,
            }
        return found | {"equal_answers": all(one == answers[0] for one in answers)}

    def _run(self, writer: Writer) -> list[Heard]:
        heard = [Heard() for _ in range(4)]
        new, prompt = self.settings["new"], self.settings["prompt"]
        writer.engine.submit([writer.job(number, new, True, one) for number, one in enumerate(heard)])
        while min(len(one.ids) for one in heard) < new // 8:
            time.sleep(0.001)
        ids = writer.backbone.tokenizer(long_text(prompt))["input_ids"][:prompt]
        late = Heard()
        options = GenerationOptions(max_new_tokens=4, eos_token_ids=())
        writer.engine.submit([Writing(as_row(ids), None, options, late.tell)])
        return [one.wait() for one in (*heard, late)]
