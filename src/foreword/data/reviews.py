"""The named sets `reviews`, `reviews:products`, `reviews:movies`, `reviews:news`, `reviews:tweets`, `reviews:origin`.

Sentences with the mean of at least 20 human ratings from -4 (extremely negative) to 4 (extremely positive), from the
archive of vaderSentiment (Hutto and Gilbert 2014, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of
Social Media Text", ICWSM; MIT). Files are tab separated: id, mean rating, text; UTF-8 with CRLF line ends.

As classes: negative and positive by the sign of the mean. Sentences whose mean lies within `AMBIGUOUS` of 0 are
dropped, for there the raters call the sentence neutral or disagree, and the sign is noise. What remains:

| set | positive | negative | dropped |
|---|---|---|---|
| products | 1750 | 1235 | 723 |
| movies | 4996 | 5076 | 533 |
| news | 1187 | 1783 | 2220 |
| tweets | 2345 | 1087 | 768 |

`reviews:origin` asks of a sentence which of the four it is from, whatever its rating: four classes, none dropped.

Sentences of one review or article stand in different splits when the set is cut at random; only repeated sentences are
kept together.
"""

from __future__ import annotations

import html
import tempfile
from pathlib import Path

from foreword import store
from foreword.data.files import Table
from foreword.errors import DataError, did_you_mean

AMBIGUOUS = 0.5  # on the scale from -4 to 4
LABELS = ("negative", "positive")
ORIGIN = "origin"
FILES = {
    "products": "amazonReviewSnippets_GroundTruth.txt",
    "movies": "movieReviewSnippets_GroundTruth.txt",
    "news": "nytEditorialSnippets_GroundTruth.txt",
    "tweets": "tweets_GroundTruth.txt",
}


def read(domain: str) -> tuple[Table, tuple[str, ...], tuple[str, ...]]:
    """Rows `{text, rating, label}` of one domain, or of `ORIGIN`; the classes, and notes on what was dropped.

    HTML entities of the source (`&amp;`) are undone. **Raises** `DataError` for an unknown domain, `ForewordError` if
    the archive is not in the cache and cannot be fetched.
    """
    if domain not in (*FILES, ORIGIN):
        raise DataError(f"the set 'reviews' has no part '{domain}'", do=did_you_mean(domain, (*FILES, ORIGIN)))
    folder = store.make_once("data/reviews", _unpack)
    if domain == ORIGIN:
        return origins(folder), tuple(FILES), ()
    table, dropped = parse(folder / FILES[domain])
    return table, LABELS, (f"{dropped} sentences dropped as ambiguous (mean rating within {AMBIGUOUS} of 0)",)


def origins(folder: Path) -> Table:
    """Rows of all files, each labelled by its file's name. **Raises** `DataError` for a broken line."""
    parts = {name: parse(folder / file, ambiguous=0)[0] for name, file in FILES.items()}
    rows = tuple({**row, "label": name} for name, part in parts.items() for row in part.rows)
    return Table(rows, tuple(line for part in parts.values() for line in part.lines), str(folder))


def parse(path: Path, ambiguous: float = AMBIGUOUS) -> tuple[Table, int]:
    """Rows of one rated file, and the number dropped as ambiguous. **Raises** `DataError` for a broken line."""
    rows, lines, dropped = [], [], 0
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            _, mean, text = line.split("\t")
            rating = float(mean)
        except ValueError:
            do = "delete this folder of the cache, it is made again"
            raise DataError("broken line: not id, rating, text", where=f"{path}:{number}", do=do) from None
        if abs(rating) < ambiguous:
            dropped += 1
            continue
        rows.append({"text": html.unescape(text.strip()), "rating": rating, "label": LABELS[rating > 0]})
        lines.append(number)
    return Table(tuple(rows), tuple(lines), str(path)), dropped


def _unpack(folder: Path) -> None:
    archive = store.fetch(store.VADER)
    with tempfile.TemporaryDirectory(dir=folder.parent) as between:
        (inner,) = store.extract(archive, ["*/additional_resources/hutto_ICWSM_2014.tar.gz"], Path(between))
        store.extract(inner, [f"*/{name}" for name in (*FILES.values(), "_README_.txt")], folder)
    store.extract(archive, ["*/LICENSE.txt"], folder)
