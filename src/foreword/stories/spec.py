"""What is asked for: a `StorySpec`, from YAML, JSON, a preset or single fields."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field, field_validator, model_validator

from foreword.config import Settings, build
from foreword.errors import ConfigError, did_you_mean
from foreword.stories.resources import table

DASHES = "-–—"
_RANGE = re.compile(rf"(\d+)\s*(?:[{DASHES}]|to)\s*(\d+)")
_AROUND = re.compile(r"(\d+)\s*(?:\+/-|\+-|±)\s*(\d+)\s*(%?)")
_A_LETTER = re.compile(r"[^\W_]")
AROUND = 10
"""A single number of words means this many percent more or less."""


class Range(Settings):
    """From `min` to `max`, both included."""

    min: int = Field(1, ge=1)
    max: int = Field(ge=1, le=1_000_000)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"the least, {self.min}, is more than the most, {self.max}")
        return self

    @classmethod
    def parse(cls, value: Any) -> Any:
        """`"300-500"`, `"400 +- 50"`, `"400 +- 10%"` or `400`; anything else is left to pydantic.

        A single number means so many, `AROUND` percent more or less.
        """
        if isinstance(value, bool):
            raise ValueError("give a number, or a range such as 300-500")
        text = str(value).replace(",", "").replace("words", "").strip() if isinstance(value, str | int) else None
        if text is None:
            return value
        if isinstance(value, str) and re.fullmatch(r"\d{2,3},\d{3}", value.strip()):
            raise ValueError(f"is '{value.strip()}' a range? write it as {value.strip().replace(',', '-')}")
        if between := _RANGE.fullmatch(text):
            return {"min": int(between[1]), "max": int(between[2])}
        around = _AROUND.fullmatch(text if "+" in text or "±" in text else f"{text} +- {AROUND}%")
        if around is None:
            raise ValueError("give a number, a range such as 300-500, or such as 400 +- 50")
        if around[3] and int(around[2]) > 100:
            raise ValueError(f"{around[2]}% more or less leaves no least number: give at most 100%")
        middle = int(around[1])
        away = middle * int(around[2]) // 100 if around[3] else int(around[2])
        return {"min": max(1, middle - away), "max": middle + away}


class Character(Settings):
    """Somebody in the story: a name, and what is known of them."""

    name: str = Field(min_length=1)
    role: str = ""

    @field_validator("name")
    @classmethod
    def _has_a_letter(cls, value: str) -> str:
        if not _A_LETTER.search(value):
            raise ValueError("a name needs a letter")
        return " ".join(value.split())

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        if isinstance(value, str):
            name, _, role = value.partition(":")
            return {"name": name.strip(), "role": role.strip()}
        return value


ITEMS, LETTERS = 100, 1000
"""The most clues, characters, words to avoid and the like, and the most characters of a field or of one of these."""


class StorySpec(Settings):
    """What a story has to be. Everything but the topic may be left out.

    `topic`, `style`, `tone`, `setting`, `moral`: free text. `length`: words. `clues`: what has to occur, at least one
    word each; `ordered`, in this order. `age`: of the listener, in years, from which limits are drawn that are not
    given. `characters`: by name. `avoid`: words that may not occur, in any form. `allow`: categories of listed themes,
    or single words of them, that may. `sentences`: how many. `longest_sentence`: in words. `dialogue`: somebody speaks.
    `grade`: the highest Flesch-Kincaid grade. `known_words`: the least share of words that a child knows, by the list
    of the package or by `word_list`, a file with one word a line (or a CSV file, of which the first column counts).
    `language`: a code; what needs the rules of English is left out for others.
    """

    topic: str = Field(min_length=1, max_length=LETTERS)
    style: str = Field("", max_length=LETTERS)
    length: Range = Range(min=150, max=300)
    clues: tuple[str, ...] = Field((), max_length=ITEMS)
    ordered: bool = False
    age: int = Field(5, ge=2, le=18)
    characters: tuple[Character, ...] = Field((), max_length=ITEMS)
    setting: str = Field("", max_length=LETTERS)
    moral: str = Field("", max_length=LETTERS)
    tone: str = Field("", max_length=LETTERS)
    avoid: tuple[str, ...] = Field((), max_length=ITEMS)
    allow: tuple[str, ...] = Field((), max_length=ITEMS)
    sentences: Range | None = None
    longest_sentence: int | None = Field(None, ge=3)
    dialogue: bool = False
    grade: float | None = None
    known_words: float | None = Field(None, ge=0, le=1)
    word_list: str | None = None
    language: str = Field("en", pattern=r"^[a-z]{2,3}$")

    @field_validator("length", "sentences", mode="before")
    @classmethod
    def _range(cls, value: Any) -> Any:
        return value if value is None else Range.parse(value)

    @field_validator("clues", "avoid", "allow", "characters", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("topic", "style", "setting", "moral", "tone")
    @classmethod
    def _one_line(cls, value: str) -> str:
        return " ".join(value.split())

    @field_validator("topic")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if not _A_LETTER.search(value):
            raise ValueError("a topic needs a word")
        return value

    @field_validator("clues", "avoid", "allow")
    @classmethod
    def _no_empty(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        values = tuple(" ".join(value.split()) for value in values)
        for place, value in enumerate(values, 1):
            if not _A_LETTER.search(value):
                raise ValueError(f"number {place} is empty: give at least one word, or take it out")
            if len(value) > LETTERS:
                raise ValueError(f"number {place} has more than {LETTERS} characters")
        return values

    @property
    def english(self) -> bool:
        """Whether the rules of English apply."""
        return self.language == "en"


def preset_names() -> tuple[str, ...]:
    """The presets of the package."""
    return tuple(table("presets"))


def make(values: Mapping[str, Any], *, preset: str | None = None, where: str | None = None) -> StorySpec:
    """A spec from plain values, over those of a preset. **Raises** `ConfigError` that names every wrong field."""
    start: Mapping[str, Any] = {}
    if preset is not None:
        if preset not in table("presets"):
            raise ConfigError(f"unknown preset '{preset}'", do=did_you_mean(preset, preset_names()))
        start = table("presets")[preset]
    merged = {**start, **values}
    if "topic" not in merged:
        raise ConfigError(
            "a story needs a topic", where=where, do=f"give one, or a preset: {', '.join(preset_names())}"
        )
    return build(StorySpec, merged, where)


def load(path: str | Path, values: Mapping[str, Any] | None = None) -> StorySpec:
    """A spec from a YAML or JSON file, with single `values` over it. **Raises** `ConfigError`."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        do = "give a YAML or JSON file with a topic"
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot read the spec: {reason}", where=str(path), do=do) from None
    try:
        found = json.loads(text) if str(path).endswith(".json") else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"the spec is broken: {reason}", where=str(path)) from None
    if not isinstance(found, Mapping):
        do = "begin with a line such as topic: the sea"
        raise ConfigError("a spec is a mapping of fields", where=str(path), do=do)
    return make({**{str(name): value for name, value in found.items()}, **(values or {})}, where=str(path))
