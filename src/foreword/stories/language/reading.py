"""How hard a text is to read: syllables, the Flesch-Kincaid grade, and words that a child knows."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from foreword.errors import ConfigError
from foreword.stories.language.lemmas import bases, fold
from foreword.stories.language.prose import Prose, Word
from foreword.stories.resources import FOLDER, table

_GROUP = re.compile(r"[aeiouy]+")
# The e of safe, of loved and of cakes is silent; that of apple, giggled, wanted and boxes is not.
_SILENT = re.compile(
    r"(?<![aeiouy])(?<![bcdfgkptz]l)e$"
    r"|(?<![aeiouytd])(?<![bcdfgkptz]l)ed$"
    r"|(?<![aeiouysxzcgh])(?<![bcdfgkptz]l)es$"
    r"|(?<=[^aeiouyl])e(?=(?:ly|ful|fully|less|ness|ment|ments)$)"
)
_SPLIT = re.compile(r"(?<![cgst])ia(?!l)|(?<=r)iou|(?<![cgst])io(?!u|n)|eo(?!u|n|p)|ua(?=l)|eate|[aeioy]ing")
_NOT = re.compile(r"(?<=[^aeiouyr])n't$")


def syllables(word: str) -> int:
    """How many syllables an English word has, by rule: groups of vowels, less a silent e, more for vowels that part.

    What the rule gets wrong among words for children stands in `data/syllables.yaml`. At least 1 for any word.
    """
    plain = re.sub(r"[^a-z]", "", fold(word))
    exceptions = _exceptions()
    if plain in exceptions:
        return exceptions[plain]
    known = [exceptions[base] for base in bases(plain) if base in exceptions and plain == base + "s"]
    if known:
        return known[0]
    core = _SILENT.sub("", plain)
    return max(1, len(_GROUP.findall(core)) + len(_SPLIT.findall(plain)) + bool(_NOT.search(fold(word))))


def grade(prose: Prose) -> float:
    """The Flesch-Kincaid grade level, 0.39 words/sentences + 11.8 syllables/words - 15.59.

    Kincaid et al. 1975, Derivation of New Readability Formulas for Navy Enlisted Personnel. It is rough, and unreliable
    below about a hundred words. 0 for a text without words.
    """
    words = prose.words
    if not words:
        return 0.0
    spoken = sum(syllables(word.folded) for word in words)
    return 0.39 * len(words) / max(1, len(prose.sentences)) + 11.8 * spoken / len(words) - 15.59


def names(prose: Prose) -> frozenset[str]:
    """Words that are taken for names: never written small, and at least once capital inside a sentence."""
    starts = {prose.words_of(sentence)[0].start for sentence in prose.sentences}
    starts |= {words[0].start for span in prose.quoted if (words := prose.words_of(span))}
    small = {word.folded for word in prose.words if word.text[0].islower()}
    inside = {w.folded for w in prose.words if w.text[0].isupper() and w.start not in starts}
    plain = {re.sub(r"'s?$", "", name) for name in inside - small}
    return frozenset(plain - {"i", "i'm", "i'll", "i've", "i'd"} - small)


def unknown(prose: Prose, known: frozenset[str]) -> tuple[Word, ...]:
    """The words that are no form of a known one; names and numbers count as known."""
    called = names(prose)
    return tuple(word for word in prose.words if not _is_known(word.folded, known, called))


def _is_known(word: str, known: frozenset[str], called: frozenset[str]) -> bool:
    if word.isdigit() or re.sub(r"'s?$", "", word) in called or not bases(word).isdisjoint(known):
        return True
    if word.endswith("ly") and not known.isdisjoint(
        (word[:-2], f"{word[:-3]}y" if word.endswith("ily") else word[:-2])
    ):
        return True  # brightly, happily
    parts = re.split(r"[-']", word)  # tip-toe; didn't, whose second part is no word of its own
    return len(parts) > 1 and all(len(part) < 3 or not bases(part).isdisjoint(known) for part in parts if part)


@cache
def known_words(path: str | None = None) -> frozenset[str]:
    """The words a child is taken to know: the package's own list, or the file at `path`.

    One word a line, or CSV, of which the first column counts; `#` begins a comment. **Raises** `ConfigError`.
    """
    if path is None:
        text = (FOLDER / "known_words.txt").read_text(encoding="utf-8")
        return frozenset(word for line in text.splitlines() if not line.startswith("#") for word in line.split())
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the word list: {getattr(error, 'strerror', error)}", where=path) from None
    firsts = (re.split(r"[,;\t]", line)[0].strip().strip('"') for line in lines if not line.startswith("#"))
    found = frozenset(fold(word) for word in firsts if word)
    if not found:
        raise ConfigError("the word list is empty", where=path, do="give one word a line")
    return found


@cache
def _exceptions() -> dict[str, int]:
    return {word: int(count) for count, words in table("syllables").items() for word in str(words).split()}
