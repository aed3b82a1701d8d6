"""Scores of many items whose answers point into them: a tag for each word, or a part of a text."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from foreword.bank import Bank
from foreword.batch import Item, collate, pieces
from foreword.evaluation import answers, tags
from foreword.evaluation.scoring import GROUP, Scored
from foreword.readouts.span import Span, spots_in

Advance = Callable[[int], None]
OUTSIDE = "O"
"""What a word is taken for that the model does not see."""


@dataclass(frozen=True)
class Tagged:
    """A sentence's words, their tags, and how probable each tag is; None where a word was cut off, whose tag is O."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    probabilities: tuple[float | None, ...]

    @property
    def spans(self) -> list[tuple[str, str]]:
        """The type and the words of each span, from left to right."""
        return [(span.type, " ".join(self.words[span.start : span.end])) for span in tags.spans(self.tags)]


@dataclass(frozen=True)
class Found:
    """The part of a text that answers: its characters `start` … `end` - 1, and how probable its two ends are together.

    It is empty where the tokenizer makes nothing of the text.
    """

    text: str
    start: int
    end: int
    probability: float


def tagged(
    bank: Bank, items: Sequence[Item], labels: Sequence[str], max_tokens: int, advance: Advance = lambda n: None
) -> list[Tagged]:
    """The most probable tag of each word, of every item under its own foreword."""
    scores = _scores(bank, items, lambda item: len(item.rows[0].answers), max_tokens, advance)
    return [tags_of(item, own, labels) for item, own in zip(items, scores, strict=True)]


def found(bank: Bank, items: Sequence[Item], max_tokens: int, advance: Advance = lambda n: None) -> list[Found]:
    """The best part of each item's text under the item's own foreword, of at most `max_answer_length` tokens."""
    scores = _scores(bank, items, lambda item: 2, max_tokens, advance)
    return [span_of(bank, item, own) for item, own in zip(items, scores, strict=True)]


def evaluate_tags(
    bank: Bank,
    items: Sequence[Item],
    labels: Sequence[str],
    names: Sequence[str],
    max_tokens: int,
    advance: Advance = lambda n: None,
) -> Scored:
    """Measure items whose tags are known: the metrics `names`, and the mean cross-entropy of the seen words as `loss`.

    Words that are cut off count as O. `by_row` has the counts of spans that `tags.from_rows` takes.
    """
    scores = _scores(bank, items, lambda item: len(item.rows[0].answers), max_tokens, advance)
    made = [list(tags_of(item, own, labels).tags) for item, own in zip(items, scores, strict=True)]
    right = [item.references for item in items]
    measured = tag_scores(made, right, names) | {"loss": _loss(scores, items)}
    alike = len({tag for one in made for tag in one}) == 1 and len({tag for one in right for tag in one}) > 1
    return Scored(made, None, measured, alike, tags.rows(made, right))


def evaluate_spans(
    bank: Bank, items: Sequence[Item], names: Sequence[str], max_tokens: int, advance: Advance = lambda n: None
) -> Scored:
    """Measure items whose answers are known: the metrics `names`, and the mean cross-entropy of both ends as `loss`."""
    scores = _scores(bank, items, lambda item: 2, max_tokens, advance)
    made = [span_of(bank, item, own).text for item, own in zip(items, scores, strict=True)]
    references = [item.references for item in items]
    by_row = {name: values for name, values in answers.rows(made, references).items() if name in names}
    measured = {name: sum(by_row[name]) / len(made) for name in names} | {"loss": _loss(scores, items)}
    alike = len(made) > 1 and len(set(made)) == 1 and len(set(references)) > 1
    return Scored(made, None, measured, alike, by_row)


def tag_scores(made: Sequence[Sequence[str]], right: Sequence[Sequence[str]], names: Sequence[str]) -> dict[str, float]:
    """The metrics `names` of tags by sentence: those of spans, and the share of words whose tag is right."""
    pairs = [pair for one, other in zip(made, right, strict=True) for pair in zip(one, other, strict=True)]
    known = tags.score(made, right) | {"accuracy": sum(one == other for one, other in pairs) / max(len(pairs), 1)}
    return {name: known[name] for name in names}


@torch.no_grad()
def _scores(
    bank: Bank, items: Sequence[Item], size: Callable[[Item], int], max_tokens: int, advance: Advance
) -> list[Tensor]:
    """Each item's `[m, C]` scores, of which there are `size` lines."""
    done: dict[int, Tensor] = {}
    for group in pieces(items, max_tokens, GROUP):
        batch = collate([items[i] for i in group], bank.backbone.pad_id, device=str(bank.backbone.device))
        for numbers, scores in bank.scores(batch):
            own = [group[number] for number in numbers]
            done |= zip(own, scores.float().cpu().split([size(items[i]) for i in own]), strict=True)
        advance(len(group))
    return [done[i] for i in range(len(items))]


def _loss(scores: Sequence[Tensor], items: Sequence[Item]) -> float:
    total = sum(
        float(cross_entropy(own, torch.tensor(item.label), reduction="sum"))
        for own, item in zip(scores, items, strict=True)
        if item.labelled
    )
    return total / max(1, sum(item.labelled for item in items))


def tags_of(item: Item, scores: Tensor, labels: Sequence[str]) -> Tagged:
    """An item's tags by its scores `[W, C]`, W being the words that were not cut; those that were are outside."""
    words = tuple(item.source)
    made, sure = [OUTSIDE] * len(words), [None] * len(words)
    if len(scores):
        best, which = scores.softmax(-1).max(-1)
        for spot, probability, tag in zip(item.rows[0].spots, best.tolist(), which.tolist(), strict=True):
            made[spot.number], sure[spot.number] = labels[tag], probability
    return Tagged(words, tuple(made), tuple(sure))


def span_of(bank: Bank, item: Item, scores: Tensor) -> Found:
    """The best legal part of an item's text by its scores `[2, N]` of first and last tokens."""
    readout = bank.entry(item.owner or "").readout
    assert isinstance(readout, Span)
    spots = spots_in(item.rows)
    if not spots:
        return Found("", 0, 0, 0.0)
    first, last = best_span(scores[:, : len(spots)], readout.max_answer_length)
    probability = scores.softmax(-1)
    start, end = spots[first].start, spots[last].end
    while end < len(item.source) and unicodedata.category(item.source[end]) == "Mn":
        end += 1  # an accent that a tokenizer has stripped belongs to its letter
    text = item.source[start:end]
    assert isinstance(text, str)
    return Found(text, start, end, float(probability[0, first] * probability[1, last]))


def best_span(scores: Tensor, longest: int) -> tuple[int, int]:
    """The first and the last token, at most `longest` of them, whose scores `[2, N]` add up to the most."""
    starts, ends = scores
    longest = min(longest, len(ends))
    beyond = ends.new_full((longest - 1,), float("-inf"))
    together = starts[:, None] + torch.cat([ends, beyond]).unfold(0, longest, 1)  # [N, longest]
    first, more = divmod(int(together.argmax()), longest)
    return first, first + more
