"""Base forms of English words by stated rules: which forms of a word are the same word.

A word's *bases* are every base form it could have come from; two words are the same word when they share one. So
"flew", "flying" and "flies" all meet in "fly". The rules, for words of at least three letters:

- a possessive `'s` or `'` is dropped
- `-ies` and `-ied` come from `-y`; `-es` from the stem, with and without `e`; `-s` from the stem (not `-ss -us -is`)
- `-ed` and `-ing` come from the stem: after a doubled consonant from the single one (running, run); after
  one vowel and one consonant from the stem with `e` (hoping, hope, never hop); else from both (dancing, talking)
- `-er` and `-est` in the same way, but only from an adjective that is listed (a "lover" is no form of "love")
- `-men` comes from `-man`, `-children` from `-child`
- a stem must hold a vowel, so that "king" and "red" stay whole
- what is irregular stands in `data/irregular.yaml`, with the words that only look like forms (morning, hundred)

Homographs are not told apart: "saw" is
a form of "see" and a word of its own.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from foreword.stories.resources import table

INVISIBLE = "\u00ad\u200b-\u200d\u2060\ufeff"
"""What may stand inside of a word and is not seen: the soft hyphen, spaces and joiners of no width."""
_UNSEEN = re.compile(f"[{INVISIBLE}]")
_VOWEL = re.compile(r"[aeiouy]")
_SHORT = re.compile(r"^[^aeiou]*[aeiouy][^aeiouwxy]$")
_DOUBLED = re.compile(r"([b-df-hj-np-tv-z])\1$")


def fold(word: str) -> str:
    """Letters of one form: composed, caseless, with the straight apostrophe and nothing unseen."""
    return unicodedata.normalize("NFC", _UNSEEN.sub("", word)).casefold().replace("’", "'")


@cache
def bases(word: str) -> frozenset[str]:
    """Every base form that `word` may be a form of, itself among them."""
    word = re.sub(r"'s?$", "", fold(word))
    found = {word}
    irregular = _irregular()
    if word in irregular:
        return frozenset(found | irregular[word])
    if len(word) >= 3 and word.isascii() and word not in _whole():
        found |= _stems(word)
    return frozenset(base for base in found if base == word or (len(base) >= 2 and _VOWEL.search(base)))


def same_word(one: str, other: str) -> bool:
    """Whether two words are forms of one word."""
    return not bases(one).isdisjoint(bases(other))


def _stems(word: str) -> set[str]:
    """What a regular form may come from, by its ending."""
    found: set[str] = set()
    if word.endswith("s"):
        found |= _plural(word)
    if word.endswith("men") and len(word) > 4:
        found.add(word[:-3] + "man")
    if word.endswith("children"):
        found.add(word[:-3])
    for suffix in ("ed", "ing"):
        if word.endswith(suffix):
            found |= _verbal(suffix, word)
    for suffix in ("er", "est"):
        if word.endswith(suffix):
            found |= _verbal(suffix, word) & _comparable()
    return found


def _plural(word: str) -> set[str]:
    if word.endswith(("ss", "us", "is")):
        return set()
    if word.endswith("ies") and len(word) > 4:
        return {word[:-3] + "y"}
    if word.endswith(("ses", "xes", "zes", "ches", "shes", "oes")):
        return {word[:-2], word[:-1]}
    return {word[:-1]}


def _verbal(suffix: str, word: str) -> set[str]:
    """The bases of a word in -ed, -ing, -er or -est."""
    stem = word[: -len(suffix)]
    if stem.endswith("e") and suffix == "ed":
        return set()  # need, feed: those that are forms (agreed) stand in the table
    if stem.endswith("i") and suffix != "ing":
        return {stem[:-1] + "y"}
    if not _VOWEL.search(stem):
        return set()
    if _DOUBLED.search(stem):
        return {stem[:-1], stem}
    if _SHORT.match(stem):
        return {stem + "e"}
    return {stem, stem + "e"}


@cache
def _irregular() -> dict[str, frozenset[str]]:
    """Each irregular form and the bases it comes from."""
    found: dict[str, set[str]] = {}
    for base, forms in table("irregular")["forms"].items():
        for form in str(forms).split():
            found.setdefault(form, set()).add(str(base))
    return {form: frozenset(of) for form, of in found.items()}


@cache
def _whole() -> frozenset[str]:
    return frozenset(str(table("irregular")["whole"]).split())


@cache
def _comparable() -> frozenset[str]:
    return frozenset(str(table("irregular")["comparable"]).split())
