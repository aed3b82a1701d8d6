"""Generation over a bank: greedy, sampled or by beams, with rows under different forewords in one batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from foreword.bank import Bank
from foreword.batch import Item
from foreword.config import GenerationOptions
from foreword.errors import ConfigError, Unsupported
from foreword.generation import beam, sampling
from foreword.generation.session import Session
from foreword.generation.stopping import Generated, Stopping
from foreword.injections import Weights


@torch.no_grad()
def generate(
    bank: Bank, items: Sequence[Item], options: GenerationOptions | None = None, use_cache: bool = True
) -> list[list[Generated]]:
    """`options.num_return_sequences` continuations of each item's row, in the items' order; beams best first.

    **Arguments:** `items`, of one row each, whose owners name forewords of the bank or none; `use_cache`, off, runs
    every step from the first token on (slow, same results).

    **Raises** `Unsupported` for a masked model, or one without a language-model head; `ConfigError` for an item of
    several rows, an unknown foreword, and a row whose tokens, virtual ones included, and `max_new_tokens` together
    exceed the backbone's positions (in an encoder-decoder: the decoder's tokens).
    """
    options = options or GenerationOptions()
    backbone = bank.backbone
    if backbone.kind == "masked":
        raise Unsupported(
            f"{backbone.name} ({backbone.family}) is a masked model and cannot generate text",
            do="use a causal model or an encoder-decoder, or a verbalizer to choose among answers",
        )
    backbone.require("head")
    for index, item in enumerate(items):
        _check(bank, item, options, f"item {index}")
    stopping = Stopping(backbone.tokenizer, options)
    results: list[list[Generated]] = [[] for _ in items]
    for weights, members in _by_weights(bank, items):
        with backbone.weights(weights.tensors if weights else None):
            group = [items[index] for index in members]
            session = Session(bank, group, use_cache)
            if options.num_beams > 1:
                found = beam.search(session, options, stopping)
            else:
                found = _one_by_one(session, group, options, stopping)
        for index, sequences in zip(members, found, strict=True):
            results[index] = sequences
    return results


def _one_by_one(
    session: Session, items: Sequence[Item], options: GenerationOptions, stopping: Stopping
) -> list[list[Generated]]:
    """Greedy search and sampling; a row leaves the batch when it ends."""
    copies = options.num_return_sequences
    keys = [(item, copy) for item in range(len(items)) for copy in range(copies)]
    session.select([item for item, _ in keys])
    chances = [sampling.generator(options.seed, items[item].rows[0].ids, copy) for item, copy in keys]
    ids: list[list[int]] = [[] for _ in keys]
    totals = [0.0] * len(keys)
    results: dict[int, Generated] = {}
    active = list(range(len(keys)))
    while True:
        if options.do_sample:
            chosen = sampling.draw(sampling.shaped(session.logits, options), [chances[row] for row in active])
        else:
            chosen = session.logits.argmax(-1)
        own = session.logits.log_softmax(-1).gather(1, chosen[:, None])[:, 0]
        for row, token, value in zip(active, chosen.tolist(), own.tolist(), strict=True):
            ids[row].append(token)
            totals[row] += value
            if reason := stopping.reason(ids[row]):
                results[row] = stopping.finish(ids[row], totals[row], reason)
        places = [place for place, row in enumerate(active) if row not in results]
        if not places:
            return [[results[item * copies + copy] for copy in range(copies)] for item in range(len(items))]
        active = [active[place] for place in places]
        session.select(places)
        session.step([ids[row][-1] for row in active])


def _check(bank: Bank, item: Item, options: GenerationOptions, where: str) -> None:
    if len(item.rows) != 1 or not len(item.rows[0]):
        raise ConfigError(
            f"generation continues one row of at least one token, and this item has {len(item.rows)} rows, the longest "
            f"of {item.tokens} tokens",
            where=where,
            do="encode the example without continuation",
        )
    row, offset = item.rows[0], bank.injection(item.owner).position_offset
    tokens = len(row) if row.border is None else len(row) - row.border
    needed, positions = tokens + offset + options.max_new_tokens, bank.backbone.geometry.positions
    if needed > positions:
        moved = f" after {offset} positions of the foreword '{item.owner}'" if offset else ""
        raise ConfigError(
            f"a prompt of {tokens} tokens{moved} and max_new_tokens={options.max_new_tokens} need {needed} "
            f"positions, and {bank.backbone.name} has {positions}",
            where=where,
            do="lower max_new_tokens or template.max_length",
        )


def _by_weights(bank: Bank, items: Sequence[Item]) -> list[tuple[Weights | None, list[int]]]:
    """Items grouped by the weights they run under, so that each group is padded to its own longest row."""
    groups: dict[int, tuple[Weights | None, list[int]]] = {}
    for index, item in enumerate(items):
        weights = bank.injection(item.owner).weights
        groups.setdefault(id(weights), (weights, []))[1].append(index)
    return list(groups.values())
