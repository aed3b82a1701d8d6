"""Stories from a spec: written, verified, repaired, ranked."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from foreword.artifacts.manifest import versions
from foreword.errors import ConfigError, ForewordError
from foreword.stories import composing
from foreword.stories import spec as specs
from foreword.stories.approaches import Approach, Turn, steps
from foreword.stories.checking import check
from foreword.stories.consistency import require_consistent
from foreword.stories.guided import Revision, continuation, rewrite
from foreword.stories.language import Prose
from foreword.stories.parts import require_room
from foreword.stories.ranking import ranked, standing
from foreword.stories.readings import unwrapped
from foreword.stories.repair import repaired
from foreword.stories.runlog import RunLog
from foreword.stories.seeds import story_seed
from foreword.stories.spec import StorySpec
from foreword.stories.story import Story
from foreword.stories.writers import Draft, Request, Writer

ROUNDS = 2
MODEL = "smollm2-135m-instruct"


class Watch:
    """Is told how a run goes on; this one says nothing."""

    def tokens(self, count: int) -> None:
        """So many more tokens were generated."""

    def story(self, ready: int, count: int) -> None:
        """So many of the candidates are ready."""


@dataclass(frozen=True)
class Written:
    """What a run made.

    `stories`: the best ones, best first and different from each other; `candidates`: all that were written, in order.
    `failures`: what went wrong with single ones. `stopped`: why the run ended early, or nothing. `folder`: its log.
    `settings`: what the writer says of itself (`Writer.describe`).
    """

    spec: StorySpec
    approach: str
    writer: str
    seed: int
    stories: tuple[Story, ...]
    candidates: tuple[Story, ...]
    failures: tuple[str, ...] = ()
    stopped: str = ""
    seconds: float = 0.0
    tokens: int = 0
    folder: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tokens_per_second(self) -> float:
        """Of the whole run: checking and waiting included."""
        return self.tokens / self.seconds if self.seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "spec": self.spec.model_dump(mode="json", exclude_defaults=True),
            "approach": self.approach,
            "writer": self.writer,
            "settings": self.settings,
            "seed": self.seed,
            "stories": [story.to_dict() for story in self.stories],
            "candidates": len(self.candidates),
            "passed": sum(story.passed for story in self.candidates),
            "failures": list(self.failures),
            "stopped": self.stopped,
            "seconds": round(self.seconds, 3),
            "tokens": self.tokens,
            "tokens_per_second": round(self.tokens_per_second, 2),
        }


def write(
    spec: StorySpec | Mapping[str, Any] | str | Path,
    *,
    approach: str = "plain",
    n: int = 8,
    keep: int = 3,
    seed: int = 0,
    repair: bool = True,
    writer: Writer | str = MODEL,
    folder: str | Path | None = None,
    watch: Watch | None = None,
    known: Mapping[int, Story] | None = None,
) -> Written:
    """`n` candidates for a spec (its file, a preset's name, plain values), each verified and repaired; the best `keep`.

    `approach`: the name of one, or several with `+` between. `writer`: a model's name, or a writer. `folder` gets a log
    of every prompt, seed, check and edit. `known`: candidates by their numbers that an earlier run of the same request
    has made; the others are written, and the folder's log goes on. After an interrupt (Ctrl-C), or when the writer
    cannot go on, what is ready is verified, ranked and returned, and `stopped` says why.

    **Raises** `ConfigError` for a spec that contradicts itself, or does not fit the writer; `ForewordError` when not a
    single story could be written.
    """
    wanted, made = as_spec(spec), Approach.parse(approach, steps)
    if n < 1 or not 1 <= keep:
        raise ConfigError("n and keep are at least 1")
    require_consistent(wanted)
    who = open_writer(writer) if isinstance(writer, str) else writer
    require_fit(wanted, made, who, n, seed)
    log = RunLog(Path(folder) if folder else None, again=known is not None)
    return _Run(wanted, made, who, n, seed, repair, log, watch or Watch(), dict(known or {})).go(keep)


def as_spec(given: StorySpec | Mapping[str, Any] | str | Path) -> StorySpec:
    """A spec from whatever describes it. **Raises** `ConfigError`."""
    if isinstance(given, StorySpec):
        return given
    if isinstance(given, Mapping):
        return specs.make(given)
    return specs.make({}, preset=given) if given in specs.preset_names() else specs.load(given)


def open_writer(model: str, **settings: Any) -> Writer:
    """The model of a name, loaded. **Raises** `BackboneError`, `Unsupported`."""
    from foreword.stories.writers.local import LocalWriter

    return LocalWriter.load(model, **settings)


def require_fit(spec: StorySpec, approach: Approach, writer: Writer, n: int, seed: int) -> None:
    """**Raises** `ConfigError` for an approach that is too much for the writer, or a length that does not fit."""
    if approach.strong and not writer.strong:
        raise ConfigError(
            f"the approach '{approach.name}' needs a model that follows long instructions, and {writer.name} does not",
            do="use an endpoint, or another approach such as varied",
        )
    briefs = [approach.brief(spec, Turn(number, n, seed)) for number in range(n)]
    if briefs[0].stepwise and not (writer.guides and spec.english):
        what = f"the approach '{approach.name}' needs a writer of this machine, and a story in English"
        raise ConfigError(what, do="choose another approach")
    if briefs[0].stepwise and (briefs[0].planned or briefs[0].several > 1):
        what = f"the approach '{approach.name}' writes a sentence at a time, and in parts or several at once"
        raise ConfigError(what, do="choose one of them")
    planned = briefs[0].planned
    if planned and any(brief.several > 1 for brief in briefs):
        what = f"the approach '{approach.name}' plans one story and asks for several"
        raise ConfigError(what, do="choose one of them")
    rooms = [writer.capacity(f"{brief.render()} {brief.lead}") for brief in briefs]
    require_room(spec, min((room for room in rooms if room is not None), default=None), planned=planned)


@dataclass
class _Run:
    spec: StorySpec
    approach: Approach
    writer: Writer
    count: int
    seed: int
    repair: bool
    log: RunLog
    watch: Watch
    known: Mapping[int, Story] = field(default_factory=dict)
    stories: dict[int, Story] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    tokens: int = 0

    def go(self, keep: int) -> Written:
        began, stopped = time.perf_counter(), ""
        self.log.write("run", {"spec": self.spec.model_dump(mode="json"), "approach": self.approach.name,
                               "writer": self.writer.name, "n": self.count, "seed": self.seed,
                               "repair": self.repair, "settings": self.writer.describe(),
                               "versions": versions()})  # fmt: skip
        self.stories = dict(self.known)
        try:
            composing.compose(self)
            for round_ in range(ROUNDS * self.repair):
                self._revise(round_)
        except KeyboardInterrupt:
            stopped = "interrupted"
        except ForewordError as error:  # what is written is worth more than the rest of the run
            stopped = error.what
            if not self.stories:
                raise
        if not self.stories and not stopped:
            raise ForewordError(f"no story could be written: {self.failures[0]}", where=self.writer.name)
        order = [self.stories[number] for number in sorted(self.stories)]
        written = Written(
            spec=self.spec,
            approach=self.approach.name,
            writer=self.writer.name,
            seed=self.seed,
            stories=ranked(order)[:keep],
            candidates=tuple(order),
            failures=tuple(self.failures),
            stopped=stopped,
            seconds=time.perf_counter() - began,
            tokens=self.tokens,
            folder=self.log.folder,
            settings=self.writer.describe(),
        )
        self.log.keep("stories.json", written.to_dict())
        return written

    def ready(self, number: int, story: Story, *, whole: bool = True) -> None:
        """A candidate is written: verify it, repair what needs no writer, and keep it."""
        text, title, edits = story.text, story.title, story.edits
        raw = replace(story, checks=check(text, self.spec))
        found = {"number": number, "text": text, "passed": raw.passed, "failed": raw.failed, "whole": whole}
        self.log.write("raw", found)
        if self.repair:
            title = title or unwrapped(text)[1]
            text, more = repaired(text, self.spec)
            edits += more
        checks = check(text, self.spec)
        if not title:
            title = self.spec.topic
        self._keep(number, replace(story, text=text, title=title, edits=edits, checks=checks), "story")

    def failed(self, number: int, error: ForewordError) -> None:
        """A candidate could not be written."""
        self.failures.append(f"story {number + 1}: {error.what}")
        self.log.write("failure", {"number": number, "error": error.what})

    def openings(self) -> tuple[str, ...]:
        """The first sentences so far."""
        proses = (Prose(self.stories[number].text) for number in sorted(self.stories))
        return tuple(prose.sentences[0].text for prose in proses if prose.sentences)

    def advance(self, tokens: int) -> None:
        """Count tokens."""
        self.tokens += tokens
        self.watch.tokens(tokens)

    def _keep(self, number: int, story: Story, event: str) -> None:
        self.stories[number] = story
        self.log.write(event, {"number": number, **story.to_dict()})
        self.watch.story(len(self.stories), self.count)

    def _revise(self, round_: int) -> None:
        """One round of repairs by the writer, for all candidates at once that a hard constraint fails of."""
        revisions: dict[int, Revision] = {}
        for number, story in self.stories.items():
            if story.passed and "ending" not in story.failed:
                continue
            seed = story_seed(story.seed, 1000 + round_)
            made = rewrite(story, self.spec, seed) if self.writer.strong else continuation(story, self.spec, seed)
            if made is not None:
                revisions[number] = made.fitted(self.writer.capacity(made.request.prompt))
        numbers = list(revisions)

        def done(place: int, draft: Draft | ForewordError) -> None:
            number = numbers[place]
            if isinstance(draft, ForewordError):
                self.failures.append(f"repair of story {number + 1}: {draft.what}")
            else:
                self._revised(number, revisions[number], draft)

        requests: Sequence[Request] = [revisions[number].request for number in numbers]
        if requests:
            self.writer.write(requests, done, self.advance)

    def _revised(self, number: int, revision: Revision, draft: Draft) -> None:
        """Take a revision where the story stands better with it."""
        old = self.stories[number]
        text, edit = revision.applied(draft.text)
        text, more = repaired(text, self.spec)
        checks = check(text, self.spec)
        answered = draft.finished in ("end", "length")
        better = answered and standing(checks) > standing(old.checks)
        self.log.write("revision", {"number": number, "prompt": revision.request.prompt, "lead": revision.request.lead,
                                    "seed": revision.request.seed, "answer": draft.text, "taken": better})  # fmt: skip
        given = (*old.given, revision.words) if revision.words else old.given
        edits = (*old.edits, edit, *more)
        new = replace(old, text=text, checks=checks, edits=edits, given=given) if better else old
        tokens, seconds = old.tokens + draft.tokens, old.seconds + draft.seconds
        self._keep(number, replace(new, tokens=tokens, seconds=seconds), "story")
