"""Beam search, as transformers' with `early_stopping=False`, item by item.

An item ends when it has `num_beams` finished sequences and its best running one, scored at its present length, is no
better than the worst of them. A sequence finishes only from among an item's `num_beams` best candidates of a step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from foreword.config import GenerationOptions
from foreword.errors import ConfigError
from foreword.generation.session import Session
from foreword.generation.stopping import Generated, Stopping


class _Finished(NamedTuple):
    score: float
    sequence: Generated


class _Step(NamedTuple):
    """One running beam: which beam before it comes from, its newest token, and its log-probability."""

    parent: int
    token: int
    total: float


@dataclass
class _Beams:
    """One item's sequences: those still running (best first) and the best finished ones."""

    options: GenerationOptions
    stopping: Stopping
    running: list[tuple[int, ...]] = field(default_factory=lambda: [()])
    finished: list[_Finished] = field(default_factory=list)

    def extend(self, candidates: list[_Step]) -> list[_Step]:
        """The beams to go on with among candidates, best first; none when the item is done."""
        width, going, ids = self.options.num_beams, [], []
        for place, step in enumerate(candidates):
            if step.total == -math.inf:
                break
            sequence = (*self.running[step.parent], step.token)
            reason = self.stopping.reason(sequence)
            if reason is None:
                going.append(step)
                ids.append(sequence)
            elif place < width:
                made = self.stopping.finish(sequence, step.total, reason)
                self.finished.append(_Finished(self._score(step.total, len(sequence)), made))
        self.finished = sorted(self.finished, key=lambda one: -one.score)[:width]
        if not going or self._settled(going[0].total, len(ids[0])):
            return []
        # Stop strings can leave fewer than `num_beams`; then the places are filled with beams that cannot win.
        missing = max(0, width - len(going))
        self.running = [*ids, *[ids[0]] * missing][:width]
        return [*going, *[going[0]._replace(total=-math.inf)] * missing][:width]

    def _score(self, total: float, length: int) -> float:
        return total / length**self.options.length_penalty

    def _settled(self, best: float, length: int) -> bool:
        full = len(self.finished) == self.options.num_beams
        return full and self._score(best, length) <= self.finished[-1].score


def search(session: Session, options: GenerationOptions, stopping: Stopping) -> list[list[Generated]]:
    """Each row's `num_return_sequences` best sequences by score, best first. Ends the session.

    **Raises** `ConfigError` when the vocabulary has fewer tokens than the search has candidates in its first step.
    """
    count, vocabulary = session.logits.shape
    # Enough for `num_beams` to run on even where every beam meets each of the end tokens.
    keep = max(2, 1 + len(stopping.eos)) * options.num_beams
    if keep > vocabulary:
        raise ConfigError(f"num_beams={options.num_beams} needs {keep} candidates of {vocabulary} tokens")
    beams = [_Beams(options, stopping) for _ in range(count)]
    active, totals = list(range(count)), torch.zeros(count, 1, device=session.logits.device)
    while active:
        width = totals.shape[1]
        scores = totals[..., None] + session.logits.log_softmax(-1).view(len(active), width, vocabulary)
        best, index = scores.flatten(1).topk(keep)
        left, rows, steps = [], [], []
        for place, (item, values, places) in enumerate(zip(active, best.tolist(), index.tolist(), strict=True)):
            candidates = [
                _Step(i // vocabulary, i % vocabulary, value) for i, value in zip(places, values, strict=True)
            ]
            if going := beams[item].extend(candidates):
                left.append(item)
                rows += [place * width + step.parent for step in going]
                steps += going
        active = left
        if active:
            session.select(rows)
            session.step([step.token for step in steps])
            totals = torch.tensor([step.total for step in steps], device=best.device).view(len(active), -1)
    return [[one.sequence for one in item.finished[: options.num_return_sequences]] for item in beams]
