"""Several forewords asked as one: every row once for each of them in one pass, and the mean of their probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from foreword.assembly import Example
from foreword.bank import Bank
from foreword.errors import DataError, Unsupported
from foreword.evaluation.scoring import score_items
from foreword.evaluation.statistics import PairedTest, paired_bootstrap
from foreword.inspection.likeness import check_backbones, titles
from foreword.inspection.outcomes import MAX_TOKENS, RESAMPLES
from foreword.inspection.subject import Subject


@dataclass(frozen=True)
class Ensemble:
    """Accuracies of the members and of the ensemble, over the same rows.

    `over_mean`: the ensemble less the members' mean; `over_best`: less the member that is best on these very rows,
    which is chosen after the fact and so too good. `agree`: the share of rows that all members answer alike.
    """

    names: tuple[str, ...]
    members: tuple[float, ...]
    accuracy: float
    over_mean: PairedTest
    over_best: PairedTest
    agree: float
    rows: int


@torch.no_grad()
def ensemble(
    subjects: Sequence[Subject], rows: Sequence[Example], advance: Callable[[int], None] = lambda n: None
) -> Ensemble:
    """Score `rows` by all, in one pass over a bank; each foreword reads them with its own template and readout.

    **Raises** `Unsupported` for answers that are no classes; `DataError` for other labels, or one foreword alone.
    """
    if len(subjects) < 2:
        raise DataError("an ensemble is of two forewords or more", do="give another artifact")
    check_backbones(subjects)
    first = subjects[0].foreword
    for one in subjects:
        if one.foreword.reader.task.answer != "class":
            raise Unsupported(f"'{one.foreword.name}' answers with no classes, and there is no mean of other answers")
        if one.foreword.labels != first.labels:
            raise DataError(
                f"'{one.foreword.name}' has the labels {', '.join(one.foreword.labels)}, and '{first.name}' "
                f"{', '.join(first.labels)}",
                do="give forewords of one task",
            )
    bank, items = Bank(subjects[0].backbone), []
    for number, one in enumerate(subjects):
        bank.put(str(number), one.injection, one.readout)
        items += [replace(one.foreword.reader.item(row), owner=str(number)) for row in rows]
    scores = torch.stack(score_items(bank, items, MAX_TOKENS, advance)).float().softmax(-1)
    by_member = scores.view(len(subjects), len(rows), -1)
    targets = torch.tensor([int(row[first.reader.task.target]) for row in rows])
    answers = by_member.argmax(-1)
    right = (answers == targets).double().numpy()
    together = (by_member.mean(0).argmax(-1) == targets).double().numpy()
    best = int(np.argmax(right.mean(1)))
    return Ensemble(
        titles(subjects),
        tuple(right.mean(1).tolist()),
        float(together.mean()),
        paired_bootstrap(together, right.mean(0), RESAMPLES),
        paired_bootstrap(together, right[best], RESAMPLES),
        float((answers == answers[0]).all(0).double().mean()),
        len(rows),
    )
