"""One batch of texts of a model of this machine, token by token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from foreword.bank import Bank
from foreword.batch import Item
from foreword.generation.session import Session
from foreword.stories.writers.base import Advance
from foreword.stories.writers.drawing import Drawing
from foreword.text.rows import Row


@dataclass
class TextRow:
    """One row: its text, and the tokens that it has at the most."""

    drawing: Drawing
    most: int
    cut: bool = False
    interrupted: bool = False


Ready = Callable[[int, TextRow], None]


class Patient(Session):
    """A session in which a row's last tokens can be taken back: they are masked, and their positions used again."""

    def strike(self, row: int, count: int) -> None:
        """Take back the last `count` tokens of the row at this place; its logits are those of before the next step."""
        if count:
            self._mask, self._positions = self._mask.clone(), self._positions.clone()
            self._mask[row, -count:] = 0
            self._positions[row] -= count


class Decoding:
    """One batch from its prompts to its ends; a row leaves when it ends."""

    def __init__(
        self, bank: Bank, owner: str | None, prompts: Sequence[Sequence[int]], rows: Sequence[TextRow]
    ) -> None:
        self.rows = list(rows)
        unique = list(dict.fromkeys(tuple(ids) for ids in prompts))  # candidates of one spec: their prompt is run once
        self.session = Patient(bank, [Item((_row(ids),), owner) for ids in unique])
        self.session.select([unique.index(tuple(ids)) for ids in prompts])
        self.ended: set[int] = set()

    def go(self, ready: Ready, advance: Advance) -> None:
        """Generate until every row has ended. At an interrupt, what the others have so far is told as well."""
        try:
            self._go(ready, advance)
        except KeyboardInterrupt:
            for number, row in enumerate(self.rows):
                if number not in self.ended and row.drawing.ids:
                    row.interrupted = True
                    ready(number, row)
            raise

    def _go(self, ready: Ready, advance: Advance) -> None:
        active = list(range(len(self.rows)))
        while active:
            left = []
            for place, number in enumerate(active):
                row = self.rows[number]
                if self._ends(place, row):
                    self.ended.add(number)
                    ready(number, row)
                else:
                    left.append(place)
            advance(len(active))
            active = [active[place] for place in left]
            if active:
                self.session.select(left)
                self.session.step([self.rows[number].drawing.ids[-1] for number in active])

    def _ends(self, place: int, row: TextRow) -> bool:
        """Draw a row's next token; whether the text ends with it or before it."""
        token, struck = row.drawing.choose(self.session.logits[place])
        self.session.strike(place, struck)
        if token is None or token in row.drawing.rules.ends:
            return True
        row.cut = len(row.drawing.ids) >= row.most
        return row.cut


def _row(ids: Sequence[int]) -> Row:
    """A prompt as a row that is continued behind its last token."""
    return Row(tuple(ids), (-1,) * len(ids), (0,) * len(ids), None, (len(ids) - 1,))
