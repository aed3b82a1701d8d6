"""The forewords of a folder: loaded on first use, bounded in memory, replaced whole.

All of it belongs to the event loop's thread; only reading from disk happens in another, so that neither requests nor
the batch loop wait for it. A request holds the version that it began with until it ends.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from threading import Lock
from time import perf_counter

from foreword.bank import Bank
from foreword.errors import ArtifactError, ConfigError
from foreword.serving import cards, problems, residents
from foreword.serving.cards import Card, Identity
from foreword.serving.metrics import Metrics
from foreword.serving.problems import Refusal
from foreword.serving.residents import Resident

TRIES = 16
"""How often a foreword is loaded again that others push out of memory before it is used."""
ROOM_SECONDS = 30.0
"""How long a request waits for memory that others hold."""


class Store:
    """Forewords by name, over the backbone of `bank`. `limit`: bytes of those that are in memory.

    `remove` takes a key out of the bank, when no pass is using it. `found`: what a scan of `root` has found already.

    **Raises** `ArtifactError` where `root` is no folder.
    """

    def __init__(
        self,
        root: Path,
        bank: Bank,
        limit: int,
        metrics: Metrics,
        remove: Callable[[str], None] | None = None,
        found: cards.Found | None = None,
    ) -> None:
        self.root, self.bank, self.limit, self.metrics = root, bank, limit, metrics
        self._remove = bank.remove if remove is None else remove
        self._found = cards.scan(root) if found is None else found
        for name, card in list(self.cards.items()):
            if card.fingerprint != bank.backbone.fingerprint:
                self._refuse(name, f"it was made for {card.backbone}, another model than the one that is served")
        self._residents: OrderedDict[str, Resident] = OrderedDict()
        self._old: list[Resident] = []
        self._reserved = 0
        self._failed: dict[str, tuple[Identity, Refusal]] = {}
        self._loading: dict[str, asyncio.Task[Resident]] = {}
        self._pinned: set[str] = set()
        self.reserved = ""
        """A name that no foreword may have."""
        self._numbers = itertools.count(1)
        self._freed = asyncio.Event()
        self.words = Lock()
        """Held by whoever encodes: a tokenizer is changed for a moment by texts that hold a special token's name."""
        self._pool = ThreadPoolExecutor(1, "foreword-load")

    @property
    def cards(self) -> dict[str, Card]:
        """Those that may be asked for, by name."""
        return self._found.cards

    @property
    def refused(self) -> dict[str, str]:
        """Why others of the folder are not served, by name."""
        return self._found.refused

    @property
    def used(self) -> int:
        """Bytes that forewords take, those of old versions still in use too."""
        return self._reserved + sum(one.size for one in (*self._residents.values(), *self._old))

    @property
    def names(self) -> tuple[str, ...]:
        """Those that are in memory, the least recently used first."""
        return tuple(self._residents)

    def close(self) -> None:
        """Read nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def using(self, name: str) -> AsyncIterator[Resident]:
        """The foreword of that name as it lies on disk now, held in memory for the block.

        **Raises** `Refusal`: 404 for one that is not there or that is refused, 429 where memory is full of others.
        """
        resident = await self.take(name)
        try:
            yield resident
        finally:
            self.give_back(resident)

    async def take(self, name: str) -> Resident:
        """As `using`; `give_back` has to follow."""
        if name in self.refused:
            raise Refusal(f"the foreword '{name}' is refused: {self.refused[name]}", 404, "model_refused", "model")
        card = self.cards.get(name)
        if card is None:
            raise problems.unknown_model(name)
        for _ in range(TRIES):
            now = await self._identity(card)
            current = self._residents.get(name)  # looked up behind the wait, in which it may have been let go
            if current is not None and current.identity == now:
                current.users += 1
                self._residents.move_to_end(name)
                return current
            if name in self._failed and self._failed[name][0] == now:
                raise self._failed[name][1].again()
            if name not in self._loading:
                self._loading[name] = asyncio.create_task(self._load(card))
                self._loading[name].add_done_callback(lambda task: self._loaded(name, task))
            await asyncio.shield(self._loading[name])
        raise problems.busy("the memory for forewords is too small for those that are asked for")

    def give_back(self, resident: Resident) -> None:
        """A request is done with it."""
        resident.users -= 1
        if not resident.users:
            if resident in self._old:
                self._old.remove(resident)
                self._remove(resident.key)
            self._freed.set()
        self._tell()

    async def pin(self, names: Sequence[str]) -> None:
        """Load these, and keep them in memory. **Raises** `ConfigError` for those that are not there."""
        for name in names:
            try:
                resident = await self.take(name)
            except Refusal as error:
                raise ConfigError(f"'{name}' cannot be kept in memory: {error.what}") from None
            self._pinned.add(name)
            self.give_back(resident)

    async def add(self, folder: str) -> Card:
        """Load the artifact in a folder, given by its path below the root, and serve it from now on.

        **Raises** `Refusal` for one that is not there, broken, outside, for another model, or called as the model
        itself; what was served under its name goes on being served.
        """
        card = self._added(folder)
        before, reason = self.cards.get(card.name), self.refused.pop(card.name, None)
        self.cards[card.name] = card
        try:
            async with self.using(card.name):
                return card
        except Refusal:
            del self.cards[card.name]
            if before is not None:
                self.cards[card.name] = before
            if reason is not None:
                self.refused[card.name] = reason
            raise

    def _added(self, folder: str) -> Card:
        place = self.root / folder
        try:
            inside = place.resolve().is_relative_to(self.root.resolve())
        except ValueError:  # a zero character, or one that is none
            raise Refusal("the path is no path", param="path") from None
        if Path(folder).is_absolute() or ".." in Path(folder).parts or not inside:
            raise Refusal("the path leads out of the folder that is served", param="path")
        name = cards.name_of(self.root, place)
        if name == self.reserved:
            raise Refusal("it is called as the model itself", param="path")
        try:
            card = cards.read_card(name, place)
        except ArtifactError as error:
            raise Refusal(error.what, 404, "model_not_found", "path") from None
        if card.fingerprint != self.bank.backbone.fingerprint:
            raise Refusal(f"it was made for {card.backbone}, another model than the one that is served", param="path")
        return card

    def drop(self, name: str) -> None:
        """Serve it no more; requests that hold it finish. **Raises** `Refusal` where there is none."""
        if self.cards.pop(name, None) is None:
            raise problems.unknown_model(name)
        self._pinned.discard(name)
        if (resident := self._residents.get(name)) is not None:
            self._forget(resident)

    # -- inside -------------------------------------------------------------------------------------------------

    def _loaded(self, name: str, task: asyncio.Task[Resident]) -> None:
        del self._loading[name]
        if not task.cancelled():
            task.exception()  # whoever waits is told; that nobody may wait any more is no fault

    async def _identity(self, card: Card) -> Identity:
        """The artifact's identity now. **Raises** `Refusal` where it is gone."""
        try:
            return cards.identity(card.folder)
        except ArtifactError:
            await asyncio.sleep(cards.RENAME_SECONDS)
        try:
            return cards.identity(card.folder)
        except ArtifactError:
            if (resident := self._residents.get(card.name)) is not None:
                self._forget(resident)
            raise Refusal(f"'{card.name}' is gone from the disk", 404, "model_not_found", "model") from None

    async def _load(self, card: Card) -> Resident:
        """Read a version, and make it the one that requests get."""
        before = await self._identity(card)
        old = self._residents.get(card.name)
        if old is not None:
            self._forget(old, evicted=False)
        began, key = perf_counter(), f"{card.name}#{next(self._numbers)}"
        await self._make_room(before[7])
        self._reserved += before[7]
        try:
            read = partial(residents.read, key, card, self.root, self.bank, self.limit, self.words)
            resident = await asyncio.get_running_loop().run_in_executor(self._pool, read)
        except ArtifactError as error:
            problems.say(logging.WARNING, "the foreword %s is refused: %s", card.name, error.what)
            what = f"the foreword '{card.name}' cannot be served: {error.what}"
            refusal = Refusal(what, 404, "model_refused", "model")
            self._failed[card.name] = (before, refusal)  # it is read again when it has changed
            raise refusal.again() from None
        finally:
            self._reserved -= before[7]
        await self._make_room(resident.size)
        self.bank.put(key, resident.injection, resident.foreword.reader.readout)
        self._residents[card.name] = resident
        if card.name in self.cards:
            self.cards[card.name] = resident.card
        self.metrics.loaded(perf_counter() - began)
        self._tell()
        return resident

    async def _make_room(self, size: int) -> None:
        """Let go of what was used least recently, until `size` bytes are free.

        **Raises** `Refusal` where the forewords in use leave no room for longer than a request waits.
        """
        if size > self.limit:
            raise Refusal(f"it takes {size:,} bytes, and {self.limit:,} are allowed", 404, "model_refused", "model")
        deadline = asyncio.get_running_loop().time() + ROOM_SECONDS
        while self.used + size > self.limit:
            idle = next((one for one in self._residents.values() if self._idle(one)), None)
            if idle is not None:
                self._forget(idle)
                continue
            self._freed.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._freed.wait()
            except TimeoutError:
                raise problems.busy("the memory for forewords is full of those in use") from None

    def _idle(self, resident: Resident) -> bool:
        """Whether it may go: nobody uses it, and it is not to be kept."""
        return not resident.users and resident.card.name not in self._pinned

    def _forget(self, resident: Resident, evicted: bool = True) -> None:
        """Out of memory: at once, or when the last request that holds it ends."""
        del self._residents[resident.card.name]
        if resident.users:
            self._old.append(resident)
        else:
            self._remove(resident.key)
        if evicted:
            self.metrics.evictions.inc()
        self._tell()

    def _refuse(self, name: str, reason: str) -> None:
        del self.cards[name]
        self.refused[name] = reason

    def _tell(self) -> None:
        self.metrics.resident.set(len(self._residents))
        self.metrics.resident_bytes.set(self.used)
