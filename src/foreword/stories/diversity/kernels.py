"""How alike texts are, as symmetric positive semidefinite matrices with 1 on the diagonal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ORDERS = (1, 2, 3, 4)
"""The n of the n-grams whose cosines are averaged."""


def ngrams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """All runs of n words, in order."""
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def ngram_kernel(texts: Sequence[Sequence[str]]) -> Floats:
    """`[N, N]`: the cosine of the texts' counts of n-grams, averaged over n = 1 … 4, as by Friedman and Dieng (2023).

    Texts without a common word are at 0, equal ones at 1. Small words that every text has keep it above 0 in practice.
    """
    tables = (cosine(counts(texts, n).astype(np.float64)) for n in ORDERS)
    return sum(tables, np.zeros((len(texts), len(texts)))) / len(ORDERS)


def cosine(vectors: Floats) -> Floats:
    """`[N, N]` of vectors `[N, E]`; a vector without a length is like itself alone."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, lengths, out=np.zeros_like(vectors, dtype=np.float64), where=lengths > 0)
    table: Floats = np.clip(unit @ unit.T, -1.0, 1.0)
    np.fill_diagonal(table, 1.0)
    return table


def counts(texts: Sequence[Sequence[str]], n: int) -> NDArray[np.int64]:
    """`[N, G]`: how often each of all G n-grams stands in each text."""
    counted = [Counter(ngrams(words, n)) for words in texts]
    columns = {gram: place for place, gram in enumerate(dict.fromkeys(gram for one in counted for gram in one))}
    table = np.zeros((len(texts), len(columns)), dtype=np.int64)
    for row, one in enumerate(counted):
        table[row, [columns[gram] for gram in one]] = list(one.values())
    return table
