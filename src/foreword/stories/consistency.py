"""Contradictions in a spec, told before anything is generated."""

from __future__ import annotations

from foreword.errors import ConfigError, did_you_mean
from foreword.stories.checking import constraints_of
from foreword.stories.constraints.clues import MANY
from foreword.stories.constraints.themes import Entry, Themes
from foreword.stories.language import Prose
from foreword.stories.language.phrases import Phrase
from foreword.stories.resources import table
from foreword.stories.spec import StorySpec


def problems(spec: StorySpec) -> tuple[str, ...]:
    """Every contradiction of a spec with itself, one sentence each; none where it can be met."""
    return (*_avoided(spec), *_themes(spec), *_repeated(spec), *_lengths(spec))


def require_consistent(spec: StorySpec) -> None:
    """**Raises** `ConfigError` that names every contradiction, and for an unreadable word list."""
    _check_allow(spec)
    constraints_of(spec)
    found = problems(spec)
    if found:
        raise ConfigError("no story can be what the spec asks for: " + "; ".join(found), do="change the spec")


def _asked(spec: StorySpec) -> list[tuple[str, str]]:
    """What has to stand in the story, and what it is called."""
    clues = [(f"the clue '{clue}'", clue) for clue in spec.clues]
    return clues + [(f"the character '{who.name}'", who.name) for who in spec.characters]


def _avoided(spec: StorySpec) -> list[str]:
    phrases = [(word, Phrase.of(word, spec.english)) for word in spec.avoid]
    proses = [(called, Prose(text)) for called, text in (*_asked(spec), *_told(spec))]
    return [
        f"{called} holds '{word}', which is to be avoided"
        for called, prose in proses
        for word, phrase in phrases
        if phrase.places(prose)
    ]


def _told(spec: StorySpec) -> list[tuple[str, str]]:
    """What the story is said to be about, and what it is called: no word of it has to stand in the story, but will."""
    fields = {"topic": spec.topic, "setting": spec.setting, "moral": spec.moral}
    return [(f"the {name} '{text}'", text) for name, text in fields.items() if text]


def _themes(spec: StorySpec) -> list[str]:
    themes = Themes.of(spec)
    if themes is None:
        return []
    found = [(called, themes.check(Prose(text)).evidence) for called, text in (*_asked(spec), *_told(spec))]
    return [
        f"{called} holds '{span.text}', a listed word of the theme {span.what} (allow: [{span.what}] lets it in)"
        for called, evidence in found
        for span in evidence[:1]
    ]


def _repeated(spec: StorySpec) -> list[str]:
    heads = [" ".join(sorted(Phrase.of(clue, spec.english).content)) for clue in spec.clues]
    return [
        f"the clue '{clue}' is there twice" for place, clue in enumerate(spec.clues) if heads[place] in heads[:place]
    ]


def _lengths(spec: StorySpec) -> list[str]:
    found = []
    needed = sum(len(Phrase.of(clue, spec.english).words) for clue in spec.clues)
    needed += sum(len(Prose(who.name).words) for who in spec.characters)
    if needed > spec.length.max:
        found.append(f"the clues and names alone have {needed} words, and the story at most {spec.length.max}")
    if spec.sentences is not None and spec.sentences.min > spec.length.max:
        found.append(f"{spec.sentences.min} sentences have more than {spec.length.max} words")
    if spec.sentences is not None and spec.sentences.max == 1 and len(spec.clues) >= MANY:
        found.append(f"{len(spec.clues)} clues in one sentence would be a list of them")
    if spec.sentences is not None and spec.longest_sentence is not None:
        most = spec.sentences.max * spec.longest_sentence
        if most < spec.length.min:
            found.append(
                f"{spec.sentences.max} sentences of at most {spec.longest_sentence} words have at most {most} words, "
                f"and the story at least {spec.length.min}"
            )
    if spec.longest_sentence is not None:
        for clue in spec.clues:
            content = Phrase.of(clue, spec.english).content
            if len(content) > spec.longest_sentence:
                found.append(f"the clue '{clue}' has more words than the longest sentence, {spec.longest_sentence}")
    return found


def _check_allow(spec: StorySpec) -> None:
    """**Raises** `ConfigError` for something allowed that no list holds: it is a slip of the pen."""
    if not spec.english:
        return
    listed = {entry.phrase.text for entry in _all_entries(spec)}
    for one in spec.allow:
        known = one in table("themes") or any(Phrase.of(one).places(Prose(text)) for text in listed)
        if not known:
            raise ConfigError(f"allow: '{one}' is no theme and no listed word", do=did_you_mean(one, table("themes")))


def _all_entries(spec: StorySpec) -> tuple[Entry, ...]:
    everything = Themes.of(spec.model_copy(update={"allow": (), "age": 2}))
    return everything.entries if everything is not None else ()
