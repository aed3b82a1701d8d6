"""Repairs that need no model: each takes something out, or puts a simpler word in, and says so."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from foreword.stories.checking import check
from foreword.stories.constraints.forbidden_words import ForbiddenWords
from foreword.stories.constraints.no_cut_off import NoCutOff
from foreword.stories.constraints.no_repetition import repeated
from foreword.stories.constraints.story_only import signs
from foreword.stories.constraints.themes import Themes
from foreword.stories.language import Prose
from foreword.stories.ranking import standing
from foreword.stories.readings import unwrapped
from foreword.stories.resources import table
from foreword.stories.spec import StorySpec
from foreword.stories.story import Edit, Span, Verdict

Repair = Callable[[str, StorySpec], tuple[str, tuple[Edit, ...]]]


def repaired(text: str, spec: StorySpec) -> tuple[str, tuple[Edit, ...]]:
    """The text after every repair that leaves it standing no worse, and what was done.

    In order: what surrounds the story goes; a last sentence that is cut off; sentences that stood there before; talk
    about the story; sentences with words to avoid or of listed themes; what is too much at the end; hard words become
    simpler ones. A repair after which a hard constraint fails that held before, or which takes everything, is not made.
    What one repair makes possible for another is done too: repaired once more, the text is the same.
    """
    edits: list[Edit] = []
    while (found := _round(text, spec))[1]:
        text = found[0]
        edits += found[1]
    return text, tuple(edits)


def _round(text: str, spec: StorySpec) -> tuple[str, list[Edit]]:
    """Every repair once."""
    edits: list[Edit] = []
    checks = check(text, spec)
    for repair in (_unwrap, _whole, _once, _no_talk, _clean, _short_enough, _simple):
        after, made = repair(text, spec)
        if not made or not after.strip():
            continue
        found = check(after, spec)
        if not _worse(checks, found):
            text, checks = after, found
            edits += made
    return text, edits


def _worse(old: Sequence[Verdict], new: Sequence[Verdict]) -> bool:
    held = {one.constraint for one in old if one.hard and one.passed}
    return any(one.constraint in held and not one.passed for one in new) or standing(new) < standing(old)


def _unwrap(text: str, spec: StorySpec) -> tuple[str, tuple[Edit, ...]]:
    bare, _, edits = unwrapped(text)
    return bare, edits


def _whole(text: str, spec: StorySpec) -> tuple[str, tuple[Edit, ...]]:
    """Cut to the last whole sentence."""
    kept = text.rstrip()
    while (spans := Prose(kept).sentences) and not NoCutOff().check(Prose(kept)).passed:
        kept = kept[: spans[-1].start].rstrip()
    return kept, _cut("last sentence", text[len(kept) :])


def _once(text: str, spec: StorySpec) -> tuple[str, tuple[Edit, ...]]:
    """Leave out sentences that stood there before."""
    return _without(text, repeated(Prose(text)), "repeated sentence")


def _no_talk(text: str, spec: StorySpec) -> tuple[str, tuple[Edit, ...]]:
    """Leave out sentences that talk about the story."""
    talk = [span for span in signs(text) if span.what == "talk about the story"]
    return _without(text, _around(text, talk), "talk about the story")


def _clean(text: str, spec: StorySpec) -> tuple[str, tuple[Edit, ...]]:
    """Leave out sentences with words to avoid, or words of listed themes."""
    prose = Prose(text)
    made = [one for one in (ForbiddenWords.of(spec), Themes.of(spec)) if one is not None]
    bad = [span for one in made for span in one.check(prose).evidence]
    return _without(text, _around(text, bad), "sentence with a listed word")


def _short_enough(text: str, spec: StorySpec) -> tuple[str, tuple[Edit, ...]]:
    """Cut whole sentences off the end until the words are few enough."""
    prose = Prose(text)
    if len(prose.words) <= spec.length.max:
        return text, ()
    limit = prose.words[spec.length.max].start
    cuts = (text[: span.end] for span in reversed(prose.sentences) if span.end <= limit)
    kept = next((cut for cut in cuts if NoCutOff().check(Prose(cut)).passed), text)
    return kept, _cut("too long", text[len(kept) :])


def _simple(text: str, spec: StorySpec) -> tuple[str, tuple[Edit, ...]]:
    """Put simpler words in where too many are hard."""
    if all(one.passed for one in check(text, spec) if one.constraint == "known-words"):
        return text, ()
    words: dict[str, str] = table("simpler")["words"]
    edits: list[Edit] = []

    def simpler(match: re.Match[str]) -> str:
        found = words[match.group().lower()]
        found = found[0].upper() + found[1:] if match.group()[0].isupper() else found
        edits.append(Edit("simpler word", match.group(), found))
        return found

    pattern = r"(?<![\w'’-])(?:" + "|".join(map(re.escape, words)) + r")(?![\w'’-])"
    return re.sub(pattern, simpler, text, flags=re.IGNORECASE), tuple(edits)


def _around(text: str, spans: Iterable[Span]) -> list[Span]:
    """The sentences in which the spans stand."""
    marked = list(spans)
    return [
        one for one in Prose(text).sentences if any(one.start < span.end and span.start < one.end for span in marked)
    ]


def _without(text: str, spans: Sequence[Span], name: str) -> tuple[str, tuple[Edit, ...]]:
    """The text without some sentences and the space that they leave."""
    for span in sorted(spans, key=lambda one: one.start, reverse=True):
        before, after = text[: span.start], text[span.end :]
        if before.endswith("\n") or not before:
            after = after.lstrip(" \t")
        elif not after or after.startswith("\n"):
            before = before.rstrip(" \t")
        else:
            after = after.lstrip(" \t")
        text = before + after
    return re.sub(r"\n{3,}", "\n\n", text).strip(), tuple(Edit(name, removed=span.text) for span in spans)


def _cut(name: str, gone: str) -> tuple[Edit, ...]:
    return (Edit(name, removed=gone.strip()),) if gone.strip() else ()
