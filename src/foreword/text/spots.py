"""Where the words or the tokens of a field stand in a row."""

from __future__ import annotations

from collections.abc import Sequence

from foreword.text.rows import Spot

Covered = tuple[int, int]


def spots_of(value: str | Sequence[str], covered: Sequence[Covered]) -> list[tuple[int, Spot]]:
    """Places of a field, in order, with what stands there.

    **Arguments:** `value`: the field's text, or its words. `covered`: for each place of the row, which characters of
    the field it covers, -1 for none; words count as joined by single spaces.

    Of a text, each token that covers some of it is a spot. Of words, each word is one, at the first token that covers a
    character of it; a word that the tokenizer makes nothing of has no place.
    """
    if isinstance(value, str):
        covering = [(index, place) for index, place in enumerate(covered) if place[0] >= 0]
        return [(index, Spot(number, *place)) for number, (index, place) in enumerate(covering)]
    found, at, start = [], 0, 0
    for number, word in enumerate(value):
        end = start + len(word)
        while at < len(covered) and covered[at][1] <= start:
            at += 1
        if at < len(covered) and covered[at][0] < end:
            found.append((at, Spot(number, start, end)))
        start = end + 1
    return found
