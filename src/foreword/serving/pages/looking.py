"""What a foreword's vectors say at once: its parts and their lengths, and the words near its virtual tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import torch

from foreword.errors import ForewordError
from foreword.inspection.parts import parts_of
from foreword.inspection.vocabulary import Vocabulary
from foreword.inspection.words import Reading, read_words
from foreword.page.plots import Bar
from foreword.serving import problems
from foreword.serving.problems import Refusal
from foreword.serving.residents import Resident
from foreword.serving.service import Service

BARS = 24
"""How many parts are drawn."""
TOKENS = 40
"""How many virtual tokens are looked at; a longer prompt is one for `foreword inspect`."""
NEAR = 3
WAITING = 8
"""So many may wait to be looked into."""
T = TypeVar("T")


@dataclass(frozen=True)
class Look:
    """`parts`: how long each part is, and how many numbers it has; `left`: how many are not drawn. `nothing`: why."""

    parts: tuple[Bar, ...] = ()
    left: int = 0
    tokens: int = 0
    nothing: str = ""


@dataclass(frozen=True)
class Words:
    """The words near each virtual token, or `gap`: why there are none."""

    readings: tuple[Reading, ...] = ()
    gap: str = ""


class Looking:
    """Looks into forewords, in a thread of its own and one at a time, so that requests lose as little as can be."""

    def __init__(self, service: Service) -> None:
        self._service, self._pool, self._waiting = service, ThreadPoolExecutor(1, "foreword-look"), 0
        # the engine puts others in their place while it runs a fine-tuned copy
        self._own = dict(service.bank.backbone.model.named_parameters())
        self._words_table = service.bank.backbone.embedding.weight
        self._vocabulary: Vocabulary | None = None

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def look(self, name: str) -> Look:
        """Its parts, or why it cannot be served."""
        try:
            async with self._service.store.using(name) as resident:
                return await self._turn(self._look, resident)
        except Refusal as error:
            return Look(nothing=error.what)

    async def words(self, name: str) -> Words:
        """Its words, in some seconds."""
        try:
            async with self._service.store.using(name) as resident:
                return await self._turn(self._words, resident)
        except Refusal as error:
            return Words(gap=error.what)

    async def _turn(self, look: Callable[[Resident], T], resident: Resident) -> T:
        """**Raises** `Refusal` (429) where too many wait for their turn."""
        if self._waiting >= WAITING:
            raise problems.busy("others are being looked into")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, look, resident)
        finally:
            self._waiting -= 1

    @torch.no_grad()
    def _look(self, resident: Resident) -> Look:
        parts = parts_of(resident.injection, self._service.bank.backbone, self._own)
        if not parts:
            return Look(nothing="It adds nothing to the model: its template and its readout are all there is.")
        drawn = [
            Bar(name, float(tensor.norm()), f"{float(tensor.norm()):.3g} · {tensor.numel():,} numbers")
            for name, tensor in list(parts.items())[:BARS]
        ]
        return Look(tuple(drawn), len(parts) - len(drawn), sum(name.startswith("token ") for name in parts))

    def _words(self, resident: Resident) -> Words:
        soft = resident.injection.soft
        if soft is None:
            return Words(gap="Words are compared with virtual tokens among the words, and it has none.")
        if len(soft.vectors) > TOKENS:
            return Words(gap=f"It has {len(soft.vectors)} virtual tokens, too many to look at here.")
        if self._vocabulary is None:
            try:
                with self._service.store.words:
                    self._vocabulary = Vocabulary.of(self._service.bank.backbone, table=self._words_table)
            except ForewordError as error:
                return Words(gap=error.what)
        return Words(tuple(read_words(soft.vectors, self._vocabulary, top=NEAR)))


def commands(place: str) -> Mapping[str, str]:
    """What to type in the folder that is served, under what it does."""
    return {
        "look into all of it: words, attention, what it changes, what it can do without": f"foreword inspect {place}",
        "the same without the slow parts": f"foreword inspect {place} --quick",
        "score it again": f"foreword evaluate {place}",
    }
