"""Texts written side by side, each under its own foreword or none: they join and leave at any step.

A request's row is run once, behind the key/values of its foreword's front, which are computed once for all requests;
from then on each step is one pass over the newest token of every text that runs. A long row is run in pieces, one
between two steps (Agrawal et al. 2024, "Sarathi-Serve", section 4.1), and several long rows take turns.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import perf_counter

import torch
from torch import Tensor

from foreword.backbone.backbone import Backbone
from foreword.backbone.sited import Twins
from foreword.bank import Bank
from foreword.batch import Item, collate
from foreword.errors import ConfigError, Unsupported
from foreword.injections import Weights
from foreword.serving import problems
from foreword.serving.attention import Front, Shared, StepPass
from foreword.serving.beginning import Beginning
from foreword.serving.limits import Limits
from foreword.serving.metrics import Metrics
from foreword.serving.residents import Resident
from foreword.serving.slots import Slots, behind
from foreword.serving.writing import Text, Writing, tokens_of
from foreword.text.rows import Row


def check_writes(backbone: Backbone) -> None:
    """**Raises** `Unsupported` for a backbone whose texts cannot be written side by side, by name."""
    if backbone.kind != "causal":
        what = "an encoder-decoder" if backbone.two_stacks else "a masked model"
        raise Unsupported(f"{backbone.name} ({backbone.family}) is {what}, and texts are served from causal models")
    if backbone.windowed:
        raise Unsupported(f"{backbone.name} ({backbone.family}) attends within a window, and its texts are not served")
    backbone.require("head")
    backbone.require("key_values")


@dataclass(eq=False)
class _Group:
    """Texts that run under the same weights: those of the backbone, or a fine-tuned copy's."""

    weights: Weights | None
    slots: Slots
    texts: list[Text] = field(default_factory=list)
    standing: tuple[tuple[str | None, bool], ...] | None = None
    """Whose texts run, and whether behind their forewords' fronts: what the two below were made for."""
    shared: Shared | None = None
    twins: Twins | None = None


class Decoder:
    """All of it runs in the engine's thread, inside `attention.routed`."""

    def __init__(self, bank: Bank, limits: Limits, metrics: Metrics) -> None:
        self.bank, self.limits, self.metrics = bank, limits, metrics
        self.tokenizer = copy.deepcopy(bank.backbone.tokenizer)  # others are encoding with the backbone's own
        self.waiting: deque[Writing] = deque()
        self._beginnings: deque[Beginning] = deque()
        self._groups: dict[int, _Group] = {}

    @property
    def running(self) -> list[Text]:
        """The texts that have a slot."""
        return [text for group in self._groups.values() for text in group.texts]

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.waiting or self._beginnings or self._groups)

    @property
    def cached_bytes(self) -> int:
        """What the running texts' key/values take, and will take of those that begin."""
        return self._bytes_with(self._begun)

    def check(self, job: Writing) -> None:
        """**Raises** `ConfigError` for a request that could never run: of too many tokens, or too much memory."""
        backbone, options = self.bank.backbone, job.options
        offset = 0 if job.resident is None else job.resident.injection.position_offset
        needed, positions = len(job.row) + offset + options.max_new_tokens, backbone.geometry.positions
        if needed > positions:
            raise ConfigError(
                f"a prompt of {len(job.row)} tokens and {options.max_new_tokens} to be written need {needed} places, "
                f"and {backbone.name} has {positions}",
                do="shorten the prompt, or ask for fewer tokens",
            )
        empty = Slots(backbone.geometry)
        size = empty.bytes_with([self._places(job)] * job.choices)
        if size > self.limits.cache_bytes or job.choices > self.limits.slots:
            raise ConfigError("the request needs more memory than all running texts may have", do="ask for less")

    # -- joining and leaving --------------------------------------------------------------------------------------

    @torch.no_grad()
    def admit(self) -> None:
        """Take waiting requests in, in order, and run a piece of those that begin; at its end is their first token."""
        by_weights: dict[int, list[Writing]] = {}
        for job in self._fitting():
            by_weights.setdefault(id(self._weights(job)), []).append(job)
        self._beginnings += [Beginning(jobs, self._weights(jobs[0])) for jobs in by_weights.values()]
        if not self._beginnings:
            return
        one = self._beginnings[0]  # it stays there meanwhile, so that it is told if the thread ends
        try:
            self._advance(one)
        except Exception as error:
            self._beginnings.popleft()
            self._failed(one, error)
            return
        self._beginnings.popleft()
        if not one.ended:
            self._beginnings.append(one)

    def _failed(self, one: Beginning, error: Exception) -> None:
        """A piece raised. Which of several requests is to blame shows when each is run alone."""
        if len(one.jobs) > 1 and not one.jobs[0].begun:
            problems.note(f"a first pass of {len(one.jobs)} failed, and is run one by one", error)
            self._beginnings.extendleft(Beginning([job], one.weights) for job in reversed(one.jobs))
            return
        problems.note("a first pass failed", error)
        for job in one.jobs:
            job.tell(error)
        self._leave(lambda text: text.job in one.jobs)

    @property
    def _begun(self) -> list[Writing]:
        return [job for one in self._beginnings for job in one.jobs]

    @staticmethod
    def _weights(job: Writing) -> Weights | None:
        return None if job.resident is None else job.resident.injection.weights

    def _fitting(self) -> list[Writing]:
        """The next requests that there are slots, memory and places for; one longer than a piece comes alone."""
        taken: list[Writing] = []
        begun = self._begun
        free = self.limits.slots - len(self.running) - sum(job.choices for job in begun)
        longest = 0
        while self.waiting:
            job = self.waiting[0]
            longest = max(longest, len(job.rest))
            full = taken and (len(taken) + 1) * longest > self.limits.prefill_tokens
            if job.choices > free or full or self._bytes_with([*begun, *taken, job]) > self.limits.cache_bytes:
                break
            free -= job.choices
            taken.append(self.waiting.popleft())
        return taken

    def _bytes_with(self, jobs: Iterable[Writing]) -> int:
        """What the key/values of the running texts take, with those of `jobs` at their ends."""
        needs: dict[int, list[int]] = {key: [] for key in self._groups}
        for job in jobs:
            own = needs.setdefault(id(self._weights(job)), [])
            own += [self._places(job)] * job.choices
        empty = Slots(self.bank.backbone.geometry)
        slots = {key: self._groups[key].slots if key in self._groups else empty for key in needs}
        return sum(slots[key].bytes_with(own) for key, own in needs.items())

    def _places(self, job: Writing) -> int:
        """Tokens that a text of the request has at its end, with a copy of its front, whether or not it gets one."""
        resident = job.resident
        table = None if resident is None else resident.injection.key_values
        ahead = len(job.row) - len(job.rest) + (0 if table is None else table.length)
        copied = ahead if ahead <= self.limits.front_places else 0
        return copied + len(job.rest) + job.options.max_new_tokens

    def cancel_gone(self) -> None:
        """Let go of what nobody waits for any more."""
        self.waiting = deque(job for job in self.waiting if not job.cancelled)
        for one in self._beginnings:
            if one.rows is None:
                one.jobs = [job for job in one.jobs if not job.cancelled]
        self._beginnings = deque(one for one in self._beginnings if not all(job.cancelled for job in one.jobs))
        self._leave(lambda text: text.job.cancelled)

    def fail(self, error: Exception) -> None:
        """End everything, and tell so."""
        for job in dict.fromkeys([*(text.job for text in self.running), *self._begun, *self.waiting]):
            job.tell(error)
        self.waiting.clear()
        self._beginnings.clear()
        self._groups.clear()

    def _leave(self, ended: Callable[[Text], bool]) -> None:
        for key, group in list(self._groups.items()):
            for row in reversed(range(len(group.texts))):
                if ended(group.texts[row]):
                    group.slots.remove(row)
                    last = group.texts.pop()
                    if row < len(group.texts):
                        group.texts[row] = last
            if not group.texts:
                del self._groups[key]

    # -- the first pass -------------------------------------------------------------------------------------------

    def _advance(self, one: Beginning) -> None:
        """Run a piece of these rows, and where it was the last, write the first token of each."""
        backbone, weights = self.bank.backbone, one.weights
        with backbone.weights(weights.tensors if weights else None):
            if one.rows is None:
                for job in one.jobs:
                    self.metrics.queue_seconds.observe(perf_counter() - job.arrived)
                one.prepare(self.bank, [self._front(job) for job in one.jobs])
            one.run(self.bank, self.limits.prefill_tokens)
            if not one.ended:
                return
            assert one.rows is not None and one.rows.states is not None
            logits = backbone.logits(one.rows.states).float()
        self._settle(one, logits)

    def _settle(self, one: Beginning, logits: Tensor) -> None:
        """Give the requests slots for their key/values, and write a token each from `[B, V]` logits."""
        jobs, rows = one.jobs, one.rows
        assert rows is not None
        tables = [(layer.keys, layer.values) for layer in rows.cache.layers]
        slots = Slots(self.bank.backbone.geometry, tables[0][0].dtype)
        group = self._groups.setdefault(id(one.weights), _Group(one.weights, slots))
        copies = torch.tensor([row for row, job in enumerate(jobs) for _ in range(job.choices)], device=logits.device)
        own = [self._own(self._front(job)) for job in jobs for _ in range(job.choices)]
        ahead = [0 if front is None else front.places or 0 for front in own]
        lengths = [n + len(jobs[row].rest) for n, row in zip(ahead, copies.tolist(), strict=True)]
        needs = [n + jobs[row].options.max_new_tokens for n, row in zip(lengths, copies.tolist(), strict=True)]
        texts = []
        for job in jobs:
            offset = 0 if job.resident is None else job.resident.injection.position_offset
            texts += [Text(job, n, self.tokenizer, len(job.row) + offset) for n in range(job.choices)]
            job.begun = True
        tables = [(keys[copies], values[copies]) for keys, values in tables]
        fronts = [None if front is None else (front.keys, front.values) for front in own]
        group.slots.add(behind(tables, fronts), lengths, needs)
        first = len(group.texts)
        group.texts += texts
        self.metrics.batch(len(jobs), len({job.owner for job in jobs}), 1 - float(rows.batch.mask.float().mean()))
        self._write(group, first, logits[copies])

    def _front(self, job: Writing) -> Front | None:
        """What stands in front of a request's row, computed once a foreword: its key/values, and its rows' beginning.

        A row that begins otherwise has the foreword's key/values alone in front.
        """
        resident = job.resident
        if resident is None or not (job.behind or resident.injection.key_values):
            return None
        if job.behind not in resident.fronts:
            resident.fronts[job.behind] = self._compute(resident, resident.front if job.behind else None)
        return resident.fronts[job.behind]

    def _own(self, front: Front | None) -> Front | None:
        """The front, if each text has a copy of its own: a short one costs less there than a second attention."""
        fits = front is not None and front.places is not None and front.places <= self.limits.front_places
        return front if fits else None

    def _compute(self, resident: Resident, front: Row | None) -> Front:
        bank, backbone, table = self.bank, self.bank.backbone, resident.injection.key_values
        geometry, like = backbone.geometry, backbone.embedding.weight
        empty = like.new_zeros(geometry.kv_heads, 0, geometry.head_size)
        parts: list[tuple[Tensor, Tensor]] = [(empty, empty)] * geometry.layers
        if table is not None:
            for number, layer in enumerate(table.layers):
                parts[layer] = (table.tensor[number, 0].to(like.dtype), table.tensor[number, 1].to(like.dtype))
        if front is not None:
            batch = collate([Item((front,), resident.key)], backbone.pad_id, device=str(backbone.device))
            prefix = bank.prefix(batch.owners)
            layers = None if prefix is None else prefix.layers
            text = backbone.record(
                bank.embeds(batch), batch.mask, bank.positions(batch), batch.types, layers, bank.twins_of(batch)
            )[:, :, 0]
            parts = [
                (torch.cat([keys, own[0]], dim=1), torch.cat([values, own[1]], dim=1))
                for (keys, values), own in zip(parts, text, strict=True)
            ]
        return Front(tuple(keys for keys, _ in parts), tuple(values for _, values in parts))

    # -- a step ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def step(self) -> None:
        """One token more of every text. A pass that fails ends its texts, and is told to them."""
        for key, group in list(self._groups.items()):
            if key not in self._groups:  # all of its texts were let go of meanwhile
                continue
            try:
                self._step(group)
            except Exception as error:
                self._groups.pop(key, None)
                for job in dict.fromkeys(text.job for text in group.texts):
                    job.tell(error)
                raise

    def _step(self, group: _Group) -> None:
        backbone, texts = self.bank.backbone, group.texts
        owners = tuple(text.job.owner for text in texts)
        standing = tuple((text.job.owner, text.job.behind) for text in texts)
        if standing != group.standing:
            group.standing, group.twins = standing, self.bank.twins(owners)
            fronts = [self._front(text.job) for text in texts]
            group.shared = Shared.of([None if self._own(front) else front for front in fronts])
        device = backbone.device
        newest = torch.tensor([[text.ids[-1]] for text in texts], device=device)
        positions = torch.tensor([[text.position + len(text.ids) - 1] for text in texts], device=device)
        bias = group.slots.begin()
        with backbone.weights(group.weights.tensors if group.weights else None):
            hidden = backbone.forward(
                backbone.embed(newest), bias == 0, positions, torch.zeros_like(newest),
                StepPass(backbone.slots, bias=bias, shared=group.shared), group.slots, twins=group.twins,
            )  # fmt: skip
            logits = backbone.logits(hidden[:, -1]).float()
        self.metrics.batch(len(texts), len(set(owners)))
        self._write(group, 0, logits)

    def _write(self, group: _Group, first: int, logits: Tensor) -> None:
        """The next token of each text of a group from this one on, from `[B, V]` logits; those that end leave."""
        texts = group.texts[first:]
        greedy, begins = logits.argmax(-1).tolist(), not texts[0].ids
        chosen = [self._chosen(group, first + row, logits[row], best) for row, best in enumerate(greedy)]
        ids = [best if own is None else own for own, best in zip(chosen, greedy, strict=True)]
        tokens = tokens_of(logits, ids, [text.job.top for text in texts])
        now = perf_counter()
        for text, token, own in zip(texts, tokens, chosen, strict=True):
            if text.job.cancelled:
                continue
            (self.metrics.first_token if begins else self.metrics.inter_token).observe(now - text.last)
            text.last = now
            if own is None:
                text.end("stop")
            else:
                text.take(token)
        self.metrics.generation_tokens.inc(sum(own is not None for own in chosen))
        self._leave(lambda text: text.finished is not None or text.job.cancelled)

    def _chosen(self, group: _Group, row: int, logits: Tensor, best: int) -> int | None:
        """The next token of a text, or None where it has ended; what its chooser takes back is gone from its slot."""
        text = group.texts[row]
        if text.job.chooser is None and not text.job.options.do_sample:
            return best
        try:
            token, struck = text.choose(logits)
        except Exception as error:  # what a chooser does is its own text's matter
            problems.note("a token could not be chosen", error)
            text.job.tell(error)
            text.job.cancelled = True
            return None
        group.slots.strike(row, struck)
        text.strike(struck)
        return token
