"""Scores of many items whose answers are texts: the loss of the right text's tokens, and what is really written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from foreword.bank import Bank
from foreword.batch import Item, collate, pieces
from foreword.errors import ConfigError
from foreword.evaluation import answers, texts
from foreword.evaluation.scoring import GROUP, Scored, summed_loss
from foreword.generation import generate
from foreword.readouts.lm import LanguageModel

Advance = Callable[[int], None]


def written(bank: Bank, items: Sequence[Item], max_tokens: int, advance: Advance = lambda n: None) -> list[str]:
    """The text that each item's own foreword writes, in the items' order, without white space around it."""
    prompts = [_prompt(bank, item) for item in items]
    found = [""] * len(items)
    for group in pieces(prompts, max_tokens, GROUP):
        by_owner: dict[str | None, list[int]] = {}
        for i in group:
            by_owner.setdefault(prompts[i].owner, []).append(i)
        for owner, members in by_owner.items():
            made = generate(bank, [prompts[i] for i in members], _readout(bank, owner).options)
            for i, sequences in zip(members, made, strict=True):
                found[i] = sequences[0].text.strip()
        advance(len(group))
    return found


@torch.no_grad()
def token_loss(bank: Bank, items: Sequence[Item], max_tokens: int) -> float:
    """The mean cross-entropy of the right texts' tokens, each given those before it, in nats."""
    total = 0.0
    for group in pieces(items, max_tokens, GROUP):
        batch = collate([items[i] for i in group], bank.backbone.pad_id, device=str(bank.backbone.device))
        for numbers, scores in bank.scores(batch):
            total += float(summed_loss(scores, batch.labels[torch.tensor(numbers, device=scores.device)]))
    return total / sum(item.labelled for item in items)


def evaluate_texts(
    bank: Bank, items: Sequence[Item], names: Sequence[str], max_tokens: int, advance: Advance = lambda n: None
) -> Scored:
    """Measure items whose right texts are known: the metrics `names`, and the tokens' `loss`.

    Nothing is written where `names` asks for nothing but the loss.
    """
    loss = {"loss": token_loss(bank, items, max_tokens)}
    wanted = [name for name in names if name != "loss"]
    if not wanted:
        return Scored([], None, loss, False)
    made = written(bank, items, max_tokens, advance)
    references = [item.references for item in items]
    measured, by_row, notes = measure(made, references, wanted)
    alike = len(made) > 1 and len(set(made)) == 1 and len(set(references)) > 1
    return Scored(made, None, measured | loss, alike, by_row, notes)


def measure(
    made: Sequence[str], references: Sequence[Sequence[str]], names: Sequence[str]
) -> tuple[dict[str, float], dict[str, list[float]], dict[str, str]]:
    """The metrics called `names`, those that each row has by itself, and the signatures to repeat them by.

    **Raises** `ConfigError` for an unknown name, or where a package that a metric needs is not there.
    """
    short = [name for name in names if name in answers.NAMES]
    long = [name for name in names if name not in short]
    by_row = {name: values for name, values in answers.rows(made, references).items() if name in short}
    by_row |= texts.rows(made, references, [name for name in long if name in texts.BY_ROW])
    measured = {name: sum(values) / len(values) for name, values in by_row.items()}
    measured |= texts.score(made, references, [name for name in long if name in texts.CORPUS])
    ordered = {name: measured[name] for name in names}
    return ordered, by_row, texts.signatures(references, long)


def _prompt(bank: Bank, item: Item) -> Item:
    if item.memory or item.states:
        raise ConfigError("an item whose text was run before cannot be continued")
    readout = _readout(bank, item.owner)
    return replace(item, rows=(readout.prompt(item.rows[0]),), label=-1)


def _readout(bank: Bank, owner: str | None) -> LanguageModel:
    readout = None if owner is None else bank.entry(owner).readout
    if not isinstance(readout, LanguageModel):
        raise ConfigError(f"rows of '{owner}' have no readout that writes", do="use readout: lm")
    return readout
