"""What is different when the prompt is there: which tokens of the text it moves, and which answers it changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from foreword.bank import Bank
from foreword.batch import Item, collate, pieces
from foreword.errors import Unsupported
from foreword.inspection.outcomes import Outcome
from foreword.inspection.subject import Subject, without_prompt
from foreword.inspection.vocabulary import spelled

MAX_TOKENS = 4096
GROUP = 16
OFTEN = 3
"""How often a token has to be met to be listed."""


@dataclass(frozen=True)
class MovedToken:
    """A token of the inputs: how often it was met, and the mean of its states' relative change.

    `change` is |with - without| / |without|, of the state behind the last layer at the token's place.
    """

    token: str
    count: int
    change: float


@dataclass(frozen=True)
class Effect:
    """The mean change over all tokens of text, special ones aside, and the tokens that are moved most and least."""

    mean: float
    tokens: int
    most: tuple[MovedToken, ...]
    least: tuple[MovedToken, ...]


@dataclass(frozen=True)
class Change:
    """A row whose answer is another with the prompt than without it; class names, or the answers themselves."""

    row: dict[str, Any]
    without: str
    with_prompt: str
    right: bool | None


@torch.no_grad()
def moved_tokens(subject: Subject, top: int = 10, advance: Callable[[int], None] = lambda n: None) -> Effect:
    """Each token's state with the prompt against its state in the bare backbone, over the subject's rows.

    **Raises** `Unsupported` for encoder-decoders, whose states are those of two stacks.
    """
    if subject.backbone.kind not in ("masked", "causal"):
        raise Unsupported(f"what a prompt moves is not known for {subject.backbone.kind} models")
    backbone, bare = subject.backbone, without_prompt(subject)
    own, none = subject.bank(), subject.bank(bare.injection)
    special = set(backbone.tokenizer.all_special_ids)
    found: dict[int, list[float]] = defaultdict(list)
    pairs = list(zip(subject.items, bare.items(subject.items), strict=True))
    for group in pieces(subject.items, MAX_TOKENS, GROUP):
        with_prompt, without = (_states(bank, [pairs[i][n] for i in group]) for n, bank in enumerate((own, none)))
        for (ids, ours), (_, theirs) in zip(with_prompt, without, strict=True):
            change = (ours - theirs).norm(dim=-1) / theirs.norm(dim=-1).clamp(min=1e-12)
            for token, value in zip(ids, change.tolist(), strict=True):
                if token not in special:
                    found[token].append(value)
        advance(len(group))
    every = [value for values in found.values() for value in values]
    names = dict(zip(found, spelled(backbone, list(found)), strict=True))
    listed = [MovedToken(names[t], len(v), sum(v) / len(v)) for t, v in found.items() if len(v) >= OFTEN]
    listed.sort(key=lambda one: -one.change)
    half = min(top, (len(listed) + 1) // 2)
    mean = sum(every) / max(1, len(every))
    return Effect(mean, len(every), tuple(listed[:half]), tuple(listed[half:][::-1][:top]))


def _states(bank: Bank, items: Sequence[Item]) -> list[tuple[list[int], torch.Tensor]]:
    """Each row's text: its ids, and `[n, H]` last states."""
    batch = collate([replace(item, label=-1) for item in items], bank.backbone.pad_id, device=str(bank.backbone.device))
    hidden, text = bank.hidden(batch), (batch.mask == 1) & (batch.soft < 0)
    return [(ids[seen].tolist(), states[seen]) for ids, states, seen in zip(batch.ids, hidden, text, strict=True)]


def changed_answers(subject: Subject, ours: Outcome, bare: Outcome, top: int = 5) -> tuple[int, list[Change]]:
    """How many answers the prompt changes, and the first few; of classes, those whose probability changes most."""
    places = [i for i, (one, other) in enumerate(zip(ours.answers, bare.answers, strict=True)) if one != other]
    if ours.probabilities is not None and bare.probabilities is not None:
        moved = (ours.probabilities - bare.probabilities).abs().sum(-1).tolist()
        places.sort(key=lambda i: -moved[i])
    labels, task = subject.foreword.labels, subject.foreword.reader.task

    def said(answer: object) -> str:
        if isinstance(answer, int):
            return labels[answer]
        return " ".join(map(str, answer)) if isinstance(answer, tuple) else str(answer)

    def change(i: int) -> Change:
        row = {name: subject.rows[i][name] for name in task.inputs if name in subject.rows[i]}
        right = bool(ours.answers[i] == subject.rows[i].get(task.target)) if task.answer == "class" else None
        return Change(row, said(bare.answers[i]), said(ours.answers[i]), right)

    return len(places), [change(i) for i in places[:top]]
