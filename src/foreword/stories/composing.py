"""First drafts: which requests an approach makes of a writer, in which order, and what becomes of the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from foreword.errors import DataError, ForewordError
from foreword.stories.approaches import Approach, Brief, Turn
from foreword.stories.approaches.several import parted
from foreword.stories.language import Prose
from foreword.stories.language.phrases import Phrase
from foreword.stories.parts import LONGEST, Part, beats_of, bridge, divide, tail
from foreword.stories.runlog import RunLog
from foreword.stories.seeds import story_seed
from foreword.stories.sentence_guide import SentenceGuide
from foreword.stories.spec import StorySpec
from foreword.stories.story import Edit, Story
from foreword.stories.writers import Draft, Request, Writer
from foreword.stories.writers.base import joined

PLAN_WORDS = 150


class Run(Protocol):
    """What a run offers to those who compose its stories."""

    spec: StorySpec
    approach: Approach
    writer: Writer
    count: int
    seed: int
    log: RunLog
    known: Mapping[int, Story]

    def ready(self, number: int, story: Story, *, whole: bool = True) -> None:
        """A story is written, or (`whole` is false) as far as an interrupt let it be."""

    def failed(self, number: int, error: ForewordError) -> None:
        """A story could not be written."""

    def openings(self) -> tuple[str, ...]:
        """The first sentences so far."""

    def advance(self, tokens: int) -> None:
        """So many more tokens were generated."""


def compose(run: Run) -> None:
    """Write all candidates of a run. **Raises** `WriterStopped`, `KeyboardInterrupt`; what is ready is told by then."""
    number = 0
    while number < run.count:
        brief = _brief(run, number)
        if brief.several > 1:
            _several(run, number, brief)
            number += brief.several
            continue
        many = 1 if run.approach.sequential else run.count - number
        briefs = [brief, *(_brief(run, number + i) for i in range(1, many))]
        (_in_parts if brief.planned else _at_once)(run, number, briefs)
        number += many


def _brief(run: Run, number: int) -> Brief:
    return run.approach.brief(run.spec, Turn(number, run.count, run.seed, run.openings()))


def _at_once(run: Run, first: int, briefs: Sequence[Brief]) -> None:
    """Every story in one request."""
    numbers = [first + i for i in range(len(briefs)) if first + i not in run.known]
    requests = [_request(run, number, briefs[number - first]) for number in numbers]

    def done(place: int, draft: Draft | ForewordError) -> None:
        request, number = requests[place], numbers[place]
        if problem := _problem(draft):
            run.failed(number, problem)
        elif isinstance(draft, Draft):
            _log(run, number, request, draft)
            given = (request.lead, *draft.given) if request.lead else draft.given
            story = _story(run, request, draft, joined(request.lead, draft.text), given=given)
            run.ready(number, story, whole=draft.finished != "interrupted")

    run.writer.write(requests, done, run.advance)


def _request(run: Run, number: int, brief: Brief) -> Request:
    words, prompt, seed = run.spec.length, brief.render(), story_seed(run.seed, number)
    guide = SentenceGuide(run.spec, seed, prompt, brief.events) if brief.stepwise else None
    return Request(prompt, seed, words.min, words.max, _lead(run, brief), guide)


def _several(run: Run, first: int, brief: Brief) -> None:
    """Several stories in one answer."""
    words = run.spec.length
    seed = story_seed(run.seed, first)
    request = Request(brief.render(), seed, words.min * brief.several, words.max * brief.several)

    def done(_: int, draft: Draft | ForewordError) -> None:
        problem = _problem(draft)
        found = parted(draft.text)[: brief.several] if isinstance(draft, Draft) and problem is None else []
        if isinstance(draft, Draft):
            _log(run, first, request, draft)
        for place in range(brief.several):
            if place >= len(found):
                run.failed(first + place, problem or DataError("the answer holds no such story"))
                continue
            text, chance = found[place]
            edits = () if chance is None else (Edit("probability, as the writer says", added=f"{chance:g}"),)
            assert isinstance(draft, Draft)
            share = Draft(text, draft.tokens // len(found), draft.seconds / len(found), draft.finished)
            run.ready(first + place, _story(run, request, share, text, edits))

    run.writer.write([request], done, run.advance)


@dataclass
class _Growing:
    """A story that grows part by part."""

    prompt: str
    parts: tuple[Part, ...]
    text: str
    edits: tuple[Edit, ...] = ()
    tokens: int = 0
    seconds: float = 0.0
    failure: ForewordError | None = None
    prompts: list[str] = field(default_factory=list)
    given: list[str] = field(default_factory=list)
    done: int = 0


def _in_parts(run: Run, first: int, briefs: Sequence[Brief]) -> None:
    """All stories part by part, side by side. What has a part when the run ends early is kept as it is."""
    numbers = [first + i for i in range(len(briefs)) if first + i not in run.known]
    growing = [_plan(run, number, briefs[number - first]) for number in numbers]
    try:
        for part in range(max((len(one.parts) for one in growing), default=0)):
            _next_part(run, numbers, growing, part)
    finally:
        for number, one in zip(numbers, growing, strict=True):
            if one.failure is not None and not one.text.strip():
                run.failed(number, one.failure)
            elif one.tokens and one.text.strip():
                prompt = "\n\n".join(dict.fromkeys(one.prompts))
                draft = Draft(one.text, one.tokens, one.seconds, "end")
                request = Request(prompt, story_seed(run.seed, number), 0, 0)
                story = _story(run, request, draft, one.text, one.edits, tuple(one.given))
                run.ready(number, story, whole=one.done == len(one.parts) or one.failure is not None)


def _plan(run: Run, number: int, brief: Brief) -> _Growing:
    """The parts of one story; a writer that can plan is asked what happens in them."""
    prompt = brief.render()
    beats: tuple[str, ...] = ()
    if run.writer.strong:
        ask = f"{prompt}\n\nDo not write the story yet. Write a plan of it: one line for each of five to eight steps."
        request = Request(ask, story_seed(run.seed, number), 20, PLAN_WORDS)
        answers: list[Draft | ForewordError] = []
        run.writer.write([request], lambda _, draft: answers.append(draft), run.advance)
        if answers and isinstance(answers[0], Draft) and answers[0].finished != "refused":
            _log(run, number, request, answers[0])
            beats = beats_of(answers[0].text)
    lead = _lead(run, brief)
    parts = divide(run.spec, run.writer.capacity(prompt), beats)
    return _Growing(prompt, parts, lead, given=[lead] if lead else [])


def _next_part(run: Run, numbers: Sequence[int], growing: Sequence[_Growing], part: int) -> None:
    """The part `part` of every story that has one and did not fail, in one batch."""
    places = [i for i, one in enumerate(growing) if part < len(one.parts) and one.failure is None]
    requests = [_part_request(run, numbers[i], growing[i], growing[i].parts[part]) for i in places]

    def done(at: int, draft: Draft | ForewordError) -> None:
        one, request = growing[places[at]], requests[at]
        if problem := _problem(draft):
            one.failure = problem
        elif isinstance(draft, Draft):
            _log(run, numbers[places[at]], request, draft)
            _grow(one, request, draft, last=one.parts[part].last)

    run.writer.write(requests, done, run.advance)


def _part_request(run: Run, number: int, one: _Growing, part: Part) -> Request:
    prompt = f"{one.prompt}\n\n{part.instruction()}"
    one.prompts.append(prompt)
    room = run.writer.capacity(prompt)
    shown = LONGEST if room is None else max(0, min(LONGEST, room - 2 * part.words.max))
    lead = tail(one.text, shown) if part.number > 1 else one.text
    if run.writer.leads and part.number > 1:
        prose = Prose(one.text)
        missing = [clue for clue in part.clues if not Phrase.of(clue, run.spec.english).together(prose)]
        words = ""
        if missing and run.spec.english:
            words = bridge(" and ".join(missing), number + part.number, many=len(missing) > 1)
            one.edits = (*one.edits, Edit("first words of a part", added=words))
            one.given.append(words)
        one.text = f"{one.text.rstrip()}\n\n{words}"
        lead = f"{lead.rstrip()}\n\n{words}"
    seed = story_seed(story_seed(run.seed, number), part.number)
    return Request(prompt, seed, part.words.min, part.words.max, lead)


def _grow(one: _Growing, request: Request, draft: Draft, *, last: bool) -> None:
    """Put a part behind the text, cut to its last whole sentence."""
    text = draft.text
    if draft.finished == "length" and not last:
        sentences = Prose(text).sentences
        whole = [s for s in sentences if s.text.rstrip("\"”’'").endswith((".", "!", "?", "…"))]
        text = text[: whole[-1].end] if whole else text
    joint = "" if request.lead and one.text.endswith(request.lead) else "\n\n"
    one.text = joined(f"{one.text}{joint if one.text else ''}", text)
    one.done += draft.finished != "interrupted"
    one.tokens += draft.tokens
    one.seconds += draft.seconds


def _lead(run: Run, brief: Brief) -> str:
    return brief.lead if run.writer.leads and run.spec.english else ""


def _problem(draft: Draft | ForewordError) -> ForewordError | None:
    if isinstance(draft, ForewordError):
        return draft
    if draft.finished == "refused":
        return ForewordError(f"the writer refused: {' '.join(draft.text.split())[:120] or 'no text'}")
    return None


def _story(
    run: Run, request: Request, draft: Draft, text: str, edits: tuple[Edit, ...] = (), given: tuple[str, ...] = ()
) -> Story:
    return Story(
        text=text.strip(),
        title="",
        approach=run.approach.name,
        seed=request.seed,
        prompt=request.prompt,
        edits=edits,
        seconds=draft.seconds,
        tokens=draft.tokens,
        given=given,
    )


def _log(run: Run, number: int, request: Request, draft: Draft) -> None:
    values = {"number": number, "prompt": request.prompt, "lead": request.lead, "seed": request.seed,
              "text": draft.text, "finished": draft.finished, "tokens": draft.tokens,
              "seconds": round(draft.seconds, 3), "given": draft.given, "undone": draft.undone}  # fmt: skip
    run.log.write("draft", values)
