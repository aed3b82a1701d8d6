"""What a row leaves out to fit: tokens at a field's end, or all but a window of it; and what is told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from foreword.text.rows import Row

if TYPE_CHECKING:
    from foreword.text.encoder import Encoder


def lost(lengths: Mapping[int, int], excess: int) -> dict[int, int]:
    """How many tokens each slot loses: always one of the longest, until `excess` are gone."""
    left = dict(lengths)
    for _ in range(excess):
        # A tie goes against the field that was shorter, as in the tokenizers' own "longest first".
        left[max(left, key=lambda slot: (left[slot], -lengths[slot], -slot))] -= 1
    return {slot: lengths[slot] - rest for slot, rest in left.items() if rest < lengths[slot]}


def dropped(slots: Sequence[int], cut: Mapping[int, int], keep: Literal["start", "end"]) -> set[int]:
    """The places that go when each slot loses its number of tokens at the end that is not kept.

    `slots`: for each place, the slot that it may be cut from.
    """
    gone: set[int] = set()
    for slot, count in cut.items():
        indices = [index for index, own in enumerate(slots) if own == slot]
        gone.update(indices[-count:] if keep == "start" else indices[:count])
    return gone


def windows_over(count: int, room: int, overlap: int) -> list[range]:
    """Windows of `room` of `count` tokens, each beginning with the last `overlap` of the one before it.

    The last one ends with the last token, and so may share more. One window where there is room for all.
    """
    if count <= room:
        return [range(count)]
    starts = [*range(0, count - room, room - overlap), count - room]
    return [range(start, start + room) for start in starts]


@dataclass(frozen=True, slots=True)
class CutSummary:
    """What shortening did to a set of rows: `rows` of `total` lost `tokens` tokens."""

    rows: int
    total: int
    tokens: int
    message: str

    @property
    def share(self) -> float:
        """The share of the rows that lost something, between 0 and 1."""
        return self.rows / self.total if self.total else 0.0


def cut_summary(rows: Sequence[Row], encoder: Encoder) -> CutSummary:
    """What was cut from rows that `encoder` made, with a sentence to tell the user."""
    cut = [row.cut for row in rows if row.cut]
    if not cut:
        return CutSummary(0, len(rows), 0, f"none of {len(rows)} rows was longer than {encoder.max_length} tokens")
    fields = encoder.template.fields if encoder.shorten is None else encoder.shorten
    end = "end" if encoder.keep == "start" else "start"
    message = (
        f"{len(cut)} of {len(rows)} rows {'was' if len(cut) == 1 else 'were'} longer than {encoder.max_length} tokens; "
        f"{sum(cut)} tokens were cut from the {end} of {', '.join(fields)}"
    )
    return CutSummary(len(cut), len(rows), sum(cut), message)
