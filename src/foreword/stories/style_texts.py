"""The texts that a style prompt is trained on: read, cleaned, split by whole text, and cut into answers."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foreword.data import files
from foreword.errors import DataError
from foreword.stories.language import Prose

SHORTEST = 40
"""A text of fewer words is left out: it is a heading or a note, not a story."""
HEAVY = 0.25
"""A text that gives more than this share of the rows may be learned by heart, its names first."""
BEGIN = ("Tell me a story.", "Write a story for me.", "Please tell a story.")
GO_ON = ("Go on with the story.", "Write the next part of a story.", "What happens then?")
"""Requests that say nothing of a text, so that the prompt has to."""

Count = Callable[[str], int]
"""How many tokens a text has."""
Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Text:
    """One text and where it stands."""

    where: str
    text: str


@dataclass(frozen=True)
class Texts:
    """What was read: the texts, how many words they have, and how many were left out, by reason."""

    texts: tuple[Text, ...]
    words: int
    dropped: dict[str, int]

    def lines(self) -> list[tuple[str, str]]:
        """The cleaning as names and readable values."""
        out = ", ".join(f"{count} {reason}" for reason, count in self.dropped.items()) or "none"
        return [("texts", f"{len(self.texts):,}, {self.words:,} words"), ("left out", out)]


@dataclass(frozen=True)
class Rows:
    """The rows of both splits, which share no text, and the largest share of the training rows that one text has."""

    train: tuple[Row, ...]
    validation: tuple[Row, ...]
    held_out: tuple[str, ...]
    largest: tuple[str, float]

    def lines(self) -> list[tuple[str, str]]:
        """The split as names and readable values, with a warning where one text gives too much."""
        where, share = self.largest
        heavy = f"one text gives {share:.0%} of the rows ({where}): the prompt may learn it by heart"
        return [
            ("rows", f"{len(self.train):,} for training, {len(self.validation):,} of {len(self.held_out)} other texts"),
            *([("warning", heavy)] if share > HEAVY else []),
        ]


def read(place: str | Path) -> Texts:
    """The texts of a folder's .txt and .md files, one a file, and of the `text` of its .jsonl lines; or of one file.

    Texts of fewer than `SHORTEST` words and texts that were there before, word by word, are left out. Headings of
    Markdown are, too. **Raises** `DataError`: nothing there, not UTF-8, a line without a text, fewer than two texts.
    """
    path = Path(place).expanduser()
    if not path.exists():
        raise DataError(f"no such file or folder: {path}", do="give a folder of .txt, .md or .jsonl files")
    found = [path] if path.is_file() else sorted(one for one in path.iterdir() if one.is_file() and _kind(one))
    if not found or not all(map(_kind, found)):
        raise DataError("there are no texts to learn from", where=str(path), do="give .txt, .md or .jsonl files")
    given = [text for one in found for text in _texts(one)]
    kept: dict[str, Text] = {}
    dropped: Counter[str] = Counter()
    for one in given:
        words = [word.folded for word in Prose(one.text).words]
        key = hashlib.sha256(" ".join(words).encode("utf-8", "surrogatepass")).hexdigest()
        if len(words) < SHORTEST:
            dropped[f"shorter than {SHORTEST} words"] += 1
        elif key in kept:
            dropped["there before"] += 1
        else:
            kept[key] = one
    if len(kept) < 2:
        raise DataError(
            f"{len(kept)} text(s) of at least {SHORTEST} words: a style takes two or more, one of them held out",
            where=str(path),
            do="give one file, or one line, for each text",
        )
    ordered = tuple(kept[key] for key in sorted(kept))  # an order that the files' names have no part in
    return Texts(ordered, sum(len(Prose(one.text).words) for one in ordered), dict(dropped))


def rows(texts: Texts, count: Count, room: int, *, per_text: int, held_out: float, held_out_rows: int) -> Rows:
    """Requests and the parts of texts that answer them.

    **Arguments:** `room`, the tokens of an answer: a part goes on at least so far, so that only the end of a text
    teaches the model to end. `per_text`: at most so many parts of one, spread over it. `held_out`: the share of the
    texts that is for validation, at least one; of them at most `held_out_rows` parts.
    """
    size = min(len(texts.texts) - 1, max(1, round(held_out * len(texts.texts))))
    validation, train = texts.texts[:size], texts.texts[size:]
    each = max(1, held_out_rows // size)
    learned = [_rows(one, count, room, per_text) for one in train]
    tested = [row for one in validation for row in _rows(one, count, room, min(each, per_text))][:held_out_rows]
    total = sum(map(len, learned))
    most = max(range(len(train)), key=lambda i: len(learned[i]))
    return Rows(
        tuple(row for one in learned for row in one),
        tuple(tested),
        tuple(one.where for one in validation),
        (train[most].where, len(learned[most]) / total),
    )


def parts(text: str, count: Count, room: int) -> list[str]:
    """A text in runs of whole sentences of at least `room` tokens; the last one is what is left."""
    prose, found, begin = Prose(text), [], 0
    for sentence in prose.sentences:
        if count(text[begin : sentence.end].strip()) >= room:
            found.append(text[begin : sentence.end].strip())
            begin = sentence.end
    rest = text[begin:].strip()
    return [*found, rest] if Prose(rest).words else found


def _rows(one: Text, count: Count, room: int, most: int) -> list[Row]:
    """At most `most` parts, evenly spread, the first and the last among them."""
    found = parts(one.text, count, room)
    number = min(most, len(found))
    places = sorted({round(i * (len(found) - 1) / max(1, number - 1)) for i in range(number)})
    return [{"request": (BEGIN if not at else GO_ON)[at % len(BEGIN)], "story": found[at]} for at in places]


def _kind(path: Path) -> str:
    suffix = files.suffix(path).lower()
    return suffix if suffix in (".txt", ".md", ".jsonl") else ""


def _texts(path: Path) -> Sequence[Text]:
    if _kind(path) == ".jsonl":
        table = files.read(path)
        return [Text(table.place(i), _field(row, table.place(i))) for i, row in enumerate(table.rows)]
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        do = "save the file as UTF-8, for example with iconv -f latin1 -t utf-8"
        raise DataError("the file is not UTF-8", where=str(path), do=do) from None
    except OSError as error:
        raise DataError(f"cannot read the file: {error.strerror or error}", where=str(path)) from None
    if _kind(path) == ".md":
        content = re.sub(r"(?m)^#{1,6} .*$", "", content)
    return [Text(str(path), content.strip())]


def _field(row: dict[str, Any], where: str) -> str:
    text = row.get("text", row.get("story"))
    if not isinstance(text, str):
        raise DataError("the line has no text", where=where, do='write {"text": "..."}, one text a line')
    return text.strip()
