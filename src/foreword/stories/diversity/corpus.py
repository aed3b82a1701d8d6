"""Stories made comparable: cut to the same number of words, counted, and compared with each other once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foreword.errors import DataError
from foreword.stories.diversity.kernels import cosine, ngram_kernel
from foreword.stories.language import Prose

Floats = NDArray[np.float64]
Embed = Callable[[Sequence[str]], Floats]
"""Texts to vectors `[N, E]`."""
SHORT = 0.5
"""A story with less than this share of the median length says nothing about the others, and is left out."""
LEAST = 20
"""Words below which a comparison of texts is one of chance."""


@dataclass(frozen=True)
class Sample:
    """N stories of one length. All measures are functions of it, and none looks at the stories' order.

    `words`: folded, as many of each story. `kernels`: by name `[N, N]`, how alike stories are, 1 on the diagonal:
    "words" by their n-grams and, where there was a model, "meaning" by embeddings. `halves`: by the same names
    `[N, N]`, how alike the halves of two stories are, and on the diagonal those of one.
    """

    texts: tuple[str, ...]
    words: tuple[tuple[str, ...], ...]
    kernels: Mapping[str, Floats]
    halves: Mapping[str, Floats]

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def best_kernel(self) -> str:
        """By meaning where there was a model, else by words."""
        return "meaning" if "meaning" in self.kernels else "words"

    def take(self, indices: Sequence[int]) -> Sample:
        """The sample of these stories only."""
        index = np.ix_(indices, indices)
        return Sample(
            tuple(self.texts[i] for i in indices),
            tuple(self.words[i] for i in indices),
            {name: table[index] for name, table in self.kernels.items()},
            {name: table[index] for name, table in self.halves.items()},
        )


def common_length(texts: Sequence[str], wanted: int | None = None) -> int:
    """How many words of each story are compared: `wanted`, or those of the shortest that is not left out.

    Left out is what has less than `SHORT` of the median length, so that one cut-off story does not cut all others.
    **Raises** `DataError` for empty texts, and where fewer than `LEAST` words would be left.
    """
    counts = [len(Prose(text).words) for text in texts]
    for number, count in enumerate(counts, 1):
        if not count:
            raise DataError(f"story {number} has no words", do="take it out, or write it again")
    if wanted is None:
        least = SHORT * float(np.median(counts))
        wanted = min(count for count in counts if count >= least)
    if wanted < LEAST:
        raise DataError(
            f"{wanted} words of each story are too few to compare: at least {LEAST} are needed",
            do="give longer stories, or a larger --words, which leaves the shorter ones out",
        )
    return wanted


def long_enough(text: str, words: int) -> bool:
    """Whether a story has so many words."""
    return len(Prose(text).words) >= words


def cut(text: str, words: int) -> str:
    """The text up to its word number `words`."""
    found = Prose(text).words
    return text if len(found) <= words else text[: found[words - 1].end]


def sample(texts: Sequence[str], words: int, embed: Embed | None = None) -> Sample:
    """Cut, count and compare. **Raises** `DataError` for a text with fewer than `words` words."""
    kept = tuple(cut(text, words) for text in texts)
    folded = tuple(tuple(word.folded for word in Prose(text).words) for text in kept)
    for number, own in enumerate(folded, 1):
        if len(own) < words:
            raise DataError(f"story {number} has {len(own)} words, and {words} are compared", do="leave it out")
    parts = [_halves(text) for text in kept]
    split = [part for side in (0, 1) for part in (one[side] for one in parts)]
    split_words = [[word.folded for word in Prose(part).words] for part in split]
    kernels, halves = {"words": ngram_kernel(folded)}, {"words": _across(ngram_kernel(split_words))}
    if embed is not None:
        vectors = embed([*kept, *split])
        kernels["meaning"] = cosine(vectors[: len(kept)])
        halves["meaning"] = _across(cosine(vectors[len(kept) :]))
    return Sample(kept, folded, kernels, halves)


def _halves(text: str) -> tuple[str, str]:
    """Every other sentence, and the others; of a single sentence its two ends."""
    prose = Prose(text)
    if len(prose.sentences) > 1:
        return tuple(" ".join(one.text for one in prose.sentences[side::2]) for side in (0, 1))  # type: ignore[return-value]
    middle = prose.words[len(prose.words) // 2].start
    return text[:middle], text[middle:]


def _across(table: Floats) -> Floats:
    """`[2N, 2N]` likeness of halves, the first ones first, to `[N, N]`: of two stories the mean over four pairs."""
    count = len(table) // 2
    same = (table[:count, :count] + table[count:, count:]) / 2
    crossed = (table[:count, count:] + table[count:, :count]) / 2
    mixed = (same + crossed) / 2
    np.fill_diagonal(mixed, np.diag(crossed))
    return mixed
