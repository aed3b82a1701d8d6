"""The first pass of requests, run in pieces, so that whoever is being written to never waits for a whole prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from foreword.backbone.attention import LayerPrefix
from foreword.backbone.sited import Twins
from foreword.backbone.stacks import new_cache
from foreword.bank import Bank
from foreword.batch import Batch, Item, collate
from foreword.injections import Weights
from foreword.serving.attention import Front, Shared
from foreword.serving.writing import Writing


@dataclass(eq=False)
class Rows:
    """The requests' rows as the backbone is given them, and how far they are run.

    `done`: places that all rows have behind them; `states`: `[B, H]`, of each row's last token, once that was run.
    """

    batch: Batch
    embeds: Tensor
    positions: Tensor
    layers: dict[int, LayerPrefix] | None
    twins: Twins | None
    cache: Any
    done: int = 0
    states: Tensor | None = None


class Beginning:
    """Requests under the same `weights`, whose rows are run behind their fronts, so many tokens at a time."""

    def __init__(self, jobs: Sequence[Writing], weights: Weights | None) -> None:
        self.jobs, self.weights = list(jobs), weights
        self.rows: Rows | None = None

    @property
    def ended(self) -> bool:
        """Whether all rows were run to their ends."""
        return self.rows is not None and self.rows.done == self.rows.embeds.shape[1]

    def prepare(self, bank: Bank, fronts: Sequence[Front | None]) -> None:
        """Make the rows ready, behind these fronts."""
        backbone = bank.backbone
        items = [Item((job.rest,), job.owner) for job in self.jobs]
        batch = collate(items, backbone.pad_id, device=str(backbone.device))
        ahead = torch.tensor([len(job.row) - len(job.rest) for job in self.jobs], device=batch.ids.device)
        self.rows = Rows(
            batch,
            bank.embeds(batch),
            bank.positions(batch) + ahead[:, None],
            _layers(fronts),
            bank.twins_of(batch),
            new_cache(backbone.model.config, False),
        )

    def run(self, bank: Bank, tokens: int) -> None:
        """Run the next piece, of at most `tokens` padded tokens where each row has one at least."""
        rows = self.rows
        assert rows is not None
        backbone, batch = bank.backbone, rows.batch
        begin = rows.done
        end = min(begin + max(1, tokens // len(self.jobs)), rows.embeds.shape[1])
        hidden = backbone.forward(
            rows.embeds[:, begin:end], batch.mask[:, :end], rows.positions[:, begin:end], batch.types[:, begin:end],
            None if rows.layers is None else backbone.prefix(rows.layers), rows.cache, twins=rows.twins,
        )  # fmt: skip
        if rows.states is None:
            rows.states = hidden.new_zeros(len(self.jobs), hidden.shape[-1])
        here = ((batch.last >= begin) & (batch.last < end)).nonzero()[:, 0]
        rows.states[here] = hidden[here, batch.last[here] - begin]
        rows.done = end


def _layers(fronts: Sequence[Front | None]) -> dict[int, LayerPrefix] | None:
    """What rows with these fronts carry, by layer; None where no row has one."""
    shared = Shared.of(fronts)
    if shared is None:
        return None
    order = {key: number for number, key in enumerate({id(front): front for front in fronts})}
    picked = torch.tensor([order[id(front)] for front in fronts], device=shared.back.device)
    return {
        layer: LayerPrefix(keys[picked], values[picked], (bias == 0)[picked, 0, 0])
        for layer, (keys, values, bias) in enumerate(zip(shared.keys, shared.values, shared.bias, strict=True))
        if keys.shape[2]
    }
