"""A guide for writers that forget: it takes back sentences that break a rule, and begins those that bring a clue in.

It also ends the text where it may end. All it gives are a few first words, and all of them are told.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from foreword.stories.checking import constraints_of
from foreword.stories.constraints import Constraint
from foreword.stories.constraints.clues import MANY
from foreword.stories.constraints.dialogue import Dialogue
from foreword.stories.constraints.known_words import KnownWords
from foreword.stories.constraints.longest_sentence import LongestSentence
from foreword.stories.constraints.no_cut_off import NoCutOff
from foreword.stories.language import Prose, bases, reading
from foreword.stories.language.phrases import SMALL, Phrase
from foreword.stories.resources import table
from foreword.stories.spec import StorySpec
from foreword.stories.story import Span

FINAL = ("themes", "forbidden-words", "story-only", "no-repetition")
"""What a text that fails goes on failing, whatever comes behind."""
STRANGE = 0.25
"""A sentence with more unknown words than this is tried again once or twice, as long as a better one may come."""
ALIKE = 0.7
"""A sentence that shares more of its content words with an earlier one says it again."""
ECHO = 0.5
"""The same of a sentence of the request; what has to occur is not counted there."""
LEAST = 3
"""Fewer content words than this are a refrain, or chance."""
CLOSING = 25
"""An ending is begun so many words before the length that is aimed at."""
LAST = 2
"""Sentences behind the first words of the ending, at the most, where the ending has not shown by then."""
_ODD = re.compile(r"[*#<>{}\[\]|_=\\/]|\d{3}|^[^\w\"“'‘]*$")
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]+")


@dataclass(frozen=True)
class SentenceGuide:
    """The guide of one story; see `writers.base.Guide`. `prompt`: the request, so that the story does not say it again.

    `seed` decides the length that is aimed at, and which first words are given. `events`: words that sentences are to
    begin with, one after the other over the story.
    """

    spec: StorySpec
    seed: int
    prompt: str = ""
    events: tuple[str, ...] = ()
    tries: int = 5

    def judge(self, text: str, tries: int) -> str:
        """Final faults of the text, then faults of its last sentence; what can only be better or worse comes last."""
        prose = Prose(text)
        if not prose.sentences:
            return "there is no sentence"
        for one in self._final:
            found = one.check(prose)
            if not found.passed:
                return f"{one.name}: {found.note}"
        if len(prose.words) > self.spec.length.max:
            return "the text is too long with it"
        last = prose.sentences[-1]
        return self._sentence(prose, last) or self._order(prose) or (self._strange(last) if tries < 2 else "")

    def lead(self, text: str, given: Sequence[str], tries: int) -> str | None:
        """First words: of the ending, an event, a clue or a name whose turn has come, or of a new attempt.

        A quotation that stays open is closed.
        """
        prose = Prose(text)
        if not prose.words:
            return self.spec.characters[0].name if self.spec.characters else ""
        if mark := _open_mark(prose.paragraphs[-1].text):
            begun = prose.text.rindex(mark[0]) < prose.sentences[-1].start
            return mark[1] if begun or len(prose.words) >= self.target - CLOSING else ""
        if not NoCutOff().check(prose).passed:
            return ""
        left = self._missing(prose)
        closed = [words for words in given if words in table("bridges")["closings"]]
        if self._finished(prose, closed, left):
            return None
        count = len(prose.words)
        if not closed and not left and count >= self.target - CLOSING:
            return "\n\n" + self._pick(table("bridges")["closings"], tries)
        events = [words for words in self.events if words not in given]
        if events and not closed and count >= self._happening(events[0]):
            return " " + events[0]
        if left and count >= self._due(left[0]):
            return " " + self._meeting(left[0], prose, tries)
        if self._mute(prose):
            return " " + self._pick(table("bridges")["speakers"], tries).format(hero=hero(text) or "Somebody")
        return " " + self._pick(table("bridges")["turns"], tries) if tries >= self.tries - 2 else ""

    @cached_property
    def target(self) -> int:
        """The words that are aimed at: in the middle of the length, other ones for every seed."""
        least, most = self.spec.length.min, self.spec.length.max
        return round(least + (most - least) * random.Random(f"{self.seed}/length").uniform(0.35, 0.7))

    @cached_property
    def _final(self) -> tuple[Constraint, ...]:
        return tuple(one for one in constraints_of(self.spec) if one.name in FINAL)

    @cached_property
    def _asked(self) -> frozenset[str]:
        """The content words of what the story is about and of what has to occur."""
        spec = self.spec
        return content(
            " ".join(
                (spec.topic, spec.setting, *spec.clues, *(f"{c.name} {c.role}" for c in spec.characters), *self.events)
            )
        )

    @cached_property
    def _clauses(self) -> tuple[frozenset[str], ...]:
        return tuple(content(one.text) for one in Prose(self.prompt).sentences)

    @cached_property
    def _items(self) -> tuple[str, ...]:
        """What has to occur, in the order in which its turns come."""
        return (*(who.name for who in self.spec.characters), *self.spec.clues)

    def _due(self, item: str) -> float:
        """The words after which something that is still missing is brought in."""
        return (self.target - CLOSING) * (self._items.index(item) + 0.5) / len(self._items)

    def _happening(self, words: str) -> float:
        """The words after which an event of the story comes."""
        return (self.target - CLOSING) * (self.events.index(words) + 0.4) / len(self.events)

    def _missing(self, prose: Prose) -> list[str]:
        english = self.spec.english
        names = [who.name for who in self.spec.characters if who.name not in prose.text]
        return names + [clue for clue in self.spec.clues if not Phrase.of(clue, english).together(prose)]

    def _finished(self, prose: Prose, closed: Sequence[str], left: Sequence[str]) -> bool:
        count, most = len(prose.words), self.spec.length.max
        if count >= most - 5:
            return True
        if count < self.spec.length.min or left or self._mute(prose):
            return False
        if count >= most - CLOSING:
            return True
        if not closed:
            return False
        behind = len(Prose(prose.text[prose.text.rindex(closed[-1]) :]).sentences)
        ending = next((one for one in constraints_of(self.spec) if one.name == "ending"), None)
        return behind > LAST or ending is None or ending.check(prose).passed

    def _mute(self, prose: Prose) -> bool:
        """Whether somebody has to speak by now, and did not."""
        dialogue = Dialogue.of(self.spec)
        if dialogue is None or dialogue.check(prose).passed:
            return False
        said = len(prose.quoted)
        return len(prose.words) >= self.target * (0.25 + 0.3 * said)

    def _meeting(self, item: str, prose: Prose, tries: int) -> str:
        called = hero(prose.text)
        forms = list(table("bridges")["meetings"])
        if called and called not in item and item in self.spec.clues:
            forms += table("bridges")["meetings_of_hero"]
        words = self._pick(forms, tries + len(prose.sentences)).format(clue=item, hero=called)
        return words[0].upper() + words[1:]

    def _pick(self, forms: Sequence[str], number: int) -> str:
        return str(forms[(self.seed + number) % len(forms)])

    def _sentence(self, prose: Prose, last: Span) -> str:
        words = prose.words_of(last)
        if len(words) < 2:
            return "hardly a word"
        most = next((one.most for one in constraints_of(self.spec) if isinstance(one, LongestSentence)), 30)
        if len(words) > most:
            return f"a sentence of {len(words)} words"
        if _ODD.search(last.text):
            return "signs that no story has"
        clues = [Phrase.of(clue, self.spec.english) for clue in self.spec.clues]
        if len(clues) >= MANY and sum(bool(clue.together(Prose(last.text))) for clue in clues) >= MANY - 1:
            return "clues as in a list"
        mine = content(last.text)
        if any(_alike(mine, content(one.text), ALIKE) for one in prose.sentences[:-1]):
            return "it was said before"
        if any(_alike(mine - self._asked, one, ECHO) for one in self._clauses):
            return "it says the request again"
        return ""

    def _order(self, prose: Prose) -> str:
        if not self.spec.ordered:
            return ""
        there = [bool(Phrase.of(clue, self.spec.english).together(prose)) for clue in self.spec.clues]
        return "a clue before its turn" if any(b and not a for a, b in zip(there, there[1:], strict=False)) else ""

    def _strange(self, last: Span) -> str:
        known = next((one.known for one in constraints_of(self.spec) if isinstance(one, KnownWords)), None)
        prose = Prose(last.text)
        if known is None or len(reading.unknown(prose, known)) <= STRANGE * len(prose.words):
            return ""
        return "words that a child does not know"


def _open_mark(paragraph: str) -> str:
    """The marks of a quotation that is open, or nothing."""
    if paragraph.count("“") > paragraph.count("”"):
        return "“”"
    return '""' if paragraph.count('"') % 2 else ""


def _alike(mine: frozenset[str], other: frozenset[str], most: float) -> bool:
    return len(mine) >= LEAST and len(mine & other) > most * len(mine)


def hero(text: str) -> str:
    """The name that stands most often inside of sentences, or nothing."""
    found = Counter(name for name in _NAME.findall(text) if name.lower() in reading.names(Prose(text)))
    return found.most_common(1)[0][0] if found else ""


def content(text: str) -> frozenset[str]:
    """The base forms of the words that carry meaning."""
    return frozenset(min(bases(word.folded)) for word in Prose(text).words if word.folded not in SMALL)
