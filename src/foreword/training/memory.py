"""What a run holds in memory: counted on a few of its shortest rows, and told for the largest pass that it makes.

What the backward pass keeps differs from family to family and from method to method, and follows from no formula. It
does grow evenly with rows, tokens and labels. So a step of a few short rows is taken, its tensors are counted, and the
count is extended to the longest rows; that costs less than one step of the run.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from foreword.assembly import Assembly
from foreword.bank import Bank
from foreword.batch import Item, collate, pieces
from foreword.evaluation.scoring import GROUP, summed_loss
from foreword.injections import Injection
from foreword.readouts.lm import LanguageModel
from foreword.training.gradient import Share, backward
from foreword.training.live import Live
from foreword.training.loop import schedule_for
from foreword.training.route import Route, likened, produced, rows_of

Count = Callable[[Sequence[Item]], float]
ALIKE, UNLIKE, LENGTHS = 1.25, 2.0, 32
"""What the C library's heap takes for the largest pass, against the bytes in it: where all batches have one length, and
where there are so many lengths, or more, whose buffers leave gaps for each other. Measured (decision 12). What is held
for the whole run lies in it without gaps."""
SAVED = 5
"""Copies of the trained numbers that a checkpoint is written from: now (twice), best, and two moments."""


@dataclass(frozen=True)
class Memory:
    """Bytes that a run holds at the most, by what holds them.

    `held`: what the process has when the run is planned, the model included; `highest`: the most that it had until
    then. `trained`: the optimiser's state, the best parameters and the gradients. `step`: of a step, whatever its rows:
    what the method compiles to, with its history. `row`: of one row of the largest pass, `items` of which make that
    pass, and `room` would fit the token budget. `aside`: of evaluating and of making what is kept, when no step is
    taken; `saving`: of writing a checkpoint. `heap`: what the heap takes, against the bytes of the rows. `mapped`:
    pages of what is kept on disk; the system takes these back when it needs the room.
    """

    held: float
    highest: float
    trained: float
    step: float
    row: float
    items: int
    room: int
    aside: float
    saving: float
    heap: float
    mapped: float

    @property
    def added(self) -> float:
        """What the run adds to `held`, mapped pages aside, with the heap's gaps."""
        rows = self.step + self.row * self.items
        return self.trained + max(self.heap * rows + self.aside, self.saving)

    @property
    def peak(self) -> float:
        """What the process will have held at the most, all in all."""
        return max(self.held + self.added + self.mapped, self.highest)

    @property
    def told(self) -> str:
        """In words."""
        kept = f" and {_mb(self.mapped)} of a file, which the system may take back" if self.mapped else ""
        before = f", after {_mb(self.highest)} in loading" if self.peak == self.highest else ""
        return f"{_mb(self.held)} are held now{before}; the run adds {_mb(self.added)}{kept}"

    def to_dict(self) -> dict[str, float]:
        """Plain data for JSON, in MB (2**20 bytes); numbers of rows as they are."""
        counts = {"items": self.items, "room": self.room, "heap": round(self.heap, 3)}
        sizes = {name: value for name, value in asdict(self).items() if name not in counts}
        return {f"{name}_mb": round(value / 2**20, 2) for name, value in sizes.items()} | counts


def _mb(size: float) -> str:
    return f"{size / 2**20:,.0f} MB"


def together(runs: Sequence[Memory]) -> Memory:
    """Of several runs in one pass: what each holds for itself adds up, and rows of all share a pass."""
    room = min(one.room for one in runs)
    return Memory(
        held=max(one.held for one in runs),
        highest=max(one.highest for one in runs),
        trained=sum(one.trained for one in runs),
        step=sum(one.step for one in runs),
        row=max(one.row for one in runs),
        items=max(min(GROUP, sum(one.items for one in runs), room), 1),
        room=room,
        aside=max(one.aside for one in runs),
        saving=max(one.saving for one in runs),
        heap=max(one.heap for one in runs),
        mapped=sum(one.mapped for one in runs),
    )


def memory_of(assembly: Assembly, route: Route, train: Sequence[Item], validation: Sequence[Item]) -> Memory:
    """The memory of a run by this route. The items are those before the route was taken; nothing is changed by it."""
    config = assembly.config.training
    own = 4.0 * sum(p.numel() for p in assembly.trained().values())
    trained = own * (4.0 if config.optimizer == "adamw" else 2.0)
    with _kept_as_it_is(assembly):
        step = _pass_of(assembly, route, likened(route, train), config.batch_size, train=True) if own else _Pass()
        evaluation = _pass_of(assembly, route, likened(route, validation), GROUP, train=False)
        writing = _of_writing(assembly, validation) if assembly.reader.task.answer == "text" else 0.0
        making = _of_keeping(assembly, route, (*train, *validation))
    return Memory(
        held=resident(),  # after the counting, which has brought in the libraries that a step needs
        highest=highest(),
        trained=trained,
        step=step.compiled,
        row=step.row,
        items=step.items,
        room=step.room,
        aside=evaluation.peak + writing + making,
        saving=SAVED * own,
        heap=heap(len({item.tokens for item in train}), schedule_for(config, len(train)).steps if train else 0),
        mapped=route.size,
    )


def heap(lengths: int, steps: int) -> float:
    """What the heap takes, against the bytes of the largest pass, when so many lengths come up in so many steps."""
    return ALIKE + (UNLIKE - ALIKE) * min(1.0, max(min(lengths, steps) - 1, 0) / LENGTHS)


def resident() -> float:
    """Bytes of this process that are in memory now, or where only Linux would tell, the most that ever were."""
    path = Path("/proc/self/statm")
    if not path.is_file():
        return highest()
    return float(int(path.read_text(encoding="ascii").split()[1]) * resource.getpagesize())


def highest() -> float:
    """The most bytes of this process that were ever in memory at once."""
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 2**10))


# -- from a few short rows to many long ones ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Count:
    """Bytes a pass, and more a row, a padded token and a label of it."""

    weights: tuple[float, ...]

    def whole(self, items: Sequence[Item]) -> float:
        """Of a pass of these items."""
        return float(np.dot(self.weights, _features(items)))


def _features(items: Sequence[Item]) -> tuple[float, ...]:
    """1, rows, padded tokens and labels."""
    rows = sum(len(item.rows) for item in items)
    return 1.0, rows, rows * max(item.tokens for item in items), sum(item.labelled for item in items)


def _fitted(count: Count, items: Sequence[Item]) -> _Count:
    """What `count` says of a few passes of short rows, as a function of any pass's rows, tokens and labels."""
    passes = _probes(items)
    table = np.array([_features(one) for one in passes])
    found = np.array([count(one) for one in passes])
    scale = np.maximum(table.max(axis=0), 1.0)
    return _Count(tuple(np.linalg.lstsq(table / scale, found, rcond=1e-9)[0] / scale))


def _probes(items: Sequence[Item]) -> list[list[Item]]:
    """A short item alone and twice, another length, and another number of labels, as far as there are any."""
    ordered = sorted(items, key=lambda item: item.tokens)
    short, *rest = (item for item in ordered if 4 * item.tokens >= ordered[-1].tokens)  # no degenerate ones
    cheap = [item for item in rest if item.tokens <= 2 * short.tokens] or rest[:1]
    probes = [[short], [short, short]]
    longer = [item for item in rest if item.tokens > short.tokens]
    if longer:
        probes.append([max((one for one in longer if one in cheap), key=lambda i: i.tokens, default=longer[0])])
    others = [item for item in rest if item.labelled != short.labelled]
    near = [item for item in others if item in cheap] or others[:1]
    if near:
        probes.append([max(near, key=lambda item: abs(item.labelled - short.labelled))])
    return probes


def _largest(items: Sequence[Item], max_tokens: int, most: int, count: _Count) -> list[Item]:
    """Of the passes that these items make, the one that holds most."""
    groups = [[items[i] for i in group] for group in pieces(items, max_tokens, most)]
    return max(groups, key=count.whole)


# -- what is counted ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pass:
    """The largest pass. `compiled`: bytes of what the method compiles to; the others as in `Memory`."""

    compiled: float = 0.0
    row: float = 0.0
    items: int = 0
    room: int = 1

    @property
    def peak(self) -> float:
        return self.compiled + self.row * self.items


def _pass_of(assembly: Assembly, route: Route, items: Sequence[Item], most: int, *, train: bool) -> _Pass:
    """Of the largest pass over these items, of at most so many at once; of training, or of evaluation."""
    if not items:
        return _Pass()
    for part in (assembly.method, assembly.readout):
        part.train(train)
    with torch.set_grad_enabled(train), _live(assembly) as live:
        made = assembly.method.compiled() if train else assembly.method.at_rest()
        injection = route.compiled(assembly.backbone, made)
    count = _fitted(lambda some: _of_rows(assembly, injection, some, train=train), items)
    budget = assembly.config.training.max_tokens
    longest = sorted(items, key=lambda item: item.tokens)[-most:]
    largest = _largest(longest, budget, most, count)
    room = budget // max(largest[-1].tokens * len(largest[-1].rows), 1)
    return _Pass(live.now, count.whole(largest) / len(largest), len(largest), max(room, 1))


def _live(assembly: Assembly, *more: Tensor) -> Live:
    """Counts all but what is there before the run."""
    parts = (assembly.backbone.model, assembly.method, assembly.readout)
    return Live([*more, *(tensor for part in parts for tensor in (*part.parameters(), *part.buffers()))])


@contextmanager
def _kept_as_it_is(assembly: Assembly) -> Iterator[None]:
    """Modes, gradients and random numbers are afterwards as they were."""
    parts = (assembly.method, assembly.readout)
    modes = [part.training for part in parts]
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        for part, mode in zip(parts, modes, strict=True):
            part.train(mode)
        for parameter in assembly.trained().values():
            parameter.grad = None


def _of_rows(assembly: Assembly, injection: Injection, items: Sequence[Item], *, train: bool) -> float:
    """Of one pass of these rows, forward and, in training, back to the injection; gradients do not count.

    Where every weight learns, that of the word embeddings would be more than all else of a short row: there the count
    ends with the first gradient, when all that was kept of the forward pass is still held.
    """
    made = injection.tensors()
    leaves = {name: tensor.detach().requires_grad_(tensor.requires_grad) for name, tensor in made.items()}
    held = Injection.from_tensors(leaves, injection.position_offset)
    live, backbone = _live(assembly, *leaves.values()), assembly.backbone
    bank, owner = Bank(backbone), items[0].owner or ""
    learning = [t for t in (*leaves.values(), *assembly.readout.parameters()) if t.requires_grad and train]
    firsts: list[int] = []

    def forget(own: Tensor) -> None:
        firsts.append(live.peak)
        if own.grad is not None:
            live.forget(own.grad)

    hooks = [tensor.register_post_accumulate_grad_hook(forget) for tensor in learning]
    try:
        with torch.set_grad_enabled(train), live:
            if train:
                precision = assembly.config.training.precision
                backward(bank, [Share(owner, held, assembly.readout, items, precision=precision)], sys.maxsize)
            else:
                bank.put(owner, held, assembly.readout)
                batch = collate(items, backbone.pad_id, device=str(backbone.device))
                for _, scores in bank.scores(batch):
                    summed_loss(scores, batch.labels)
    finally:
        for hook in hooks:
            hook.remove()
    return firsts[0] if injection.weights is not None and firsts else live.peak


def _of_keeping(assembly: Assembly, route: Route, items: Sequence[Item]) -> float:
    """Of running the frozen layers for what is kept; 0 where nothing is, or it lies ready."""
    if route.wanted is None or route.ready:
        return 0.0

    def of_rows(some: Sequence[Item]) -> float:
        with _live(assembly) as live:
            for _ in produced(route, assembly, [item.rows[0] for item in some]):
                pass
        return live.peak

    whole = [Item((row,)) for row in rows_of(route, items)]
    count = _fitted(of_rows, whole)
    return count.whole(_largest(whole, assembly.config.training.max_tokens, GROUP, count))


def _of_writing(assembly: Assembly, items: Sequence[Item]) -> float:
    """The keys and values that are remembered of the largest group of texts that is written when the run ends."""
    geometry, readout = assembly.backbone.geometry, assembly.readout
    assert isinstance(readout, LanguageModel)
    prompts = [replace(item, rows=(readout.prompt(item.rows[0]),)) for item in items]
    groups = pieces(prompts, assembly.config.training.max_tokens, GROUP)
    longest = (len(group) * max(prompts[i].tokens for i in group) for group in groups)
    tokens = max(longest, default=0) + GROUP * readout.options.max_new_tokens
    return 4.0 * tokens * 2 * geometry.layers * geometry.kv_heads * geometry.head_size
