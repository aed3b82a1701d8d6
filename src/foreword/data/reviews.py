"""The named sets `reviews`, `reviews:products`, `reviews:movies`, `reviews:news` and `reviews:tweets`.

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
FILES = {
    "products": "amazonReviewSnippets_GroundTruth.txt",
    "movies": "movieReviewSnippets_GroundTruth.txt",
    "news": "nytEditorialSnippets_GroundTruth.txt",
    "tweets": "tweets_GroundTruth.txt",
}


def read(domain: str) -> tuple[Table, int]:
    """Rows `{text, rating, label}` of one domain, and how many sentences were dropped as ambiguous.

    HTML entities of the source (`&amp;`) are undone. **Raises** `DataError` for an unknown domain, `ForewordError` if
    the archive is not in the cache and cannot be fetched.
    """
    if domain not in FILES:
        raise DataError(f"the set 'reviews' has no part '{domain}'", do=did_you_mean(domain, FILES))
    return parse(store.make_once("data/reviews", _unpack) / FILES[domain])


def parse(path: Path) -> tuple[Table, int]:
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
        if abs(rating) < AMBIGUOUS:
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
