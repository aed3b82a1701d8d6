"""`/pages/stories`: the studio. A spec at the left, candidates with what was checked of them at the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from foreword.errors import ForewordError
from foreword.serving.pages.access import PREFIX
from foreword.serving.pages.forms import Form
from foreword.serving.pages.rendering import Site, swaps
from foreword.serving.pages.studio import Candidate, Run, Studio, Wanted, is_served
from foreword.serving.problems import Refusal, refusal_of
from foreword.stories import Story, StorySpec
from foreword.stories import spec as specs
from foreword.stories.approaches import Approach, steps
from foreword.stories.pages import NOTICE, Piece, paragraphs

LINES = ("clues", "characters", "avoid", "allow")
TEXTS = ("topic", "style", "length", "tone", "setting", "moral")
SHOWN = 280
"""So many characters of a text that is being written are shown, the last ones."""
STYLES = 50
"""How many forewords that write stories are offered."""
PRESET = "bedtime"


@dataclass(frozen=True)
class Shown:
    """A candidate as the page has it: paragraphs in pieces, of which some are marked with what was found there."""

    place: int
    story: Story
    pinned: bool
    paragraphs: Sequence[Sequence[Piece]]
    failing: frozenset[str]

    def wrong(self, piece: Piece) -> bool:
        """Whether what was found there is a fault."""
        return piece.mark.partition(":")[0] in self.failing


def routes(site: Site, studio: Studio) -> list[Route]:
    """The form, its runs, and what can be done with their candidates."""

    async def show(request: Request) -> Response:
        preset = (await Form.of(request)).text("preset") or PRESET
        made = specs.make({}, preset=preset)
        return _page(site, studio, _typed(Wanted(made, "stepwise+varied", min(4, studio.most), 0)), preset=preset)

    async def begin(request: Request) -> Response:
        form = await Form.of(request)
        typed = _sent(form)
        try:
            run = studio.begin(_wanted(form, studio))
        except ForewordError as error:
            refusal = refusal_of(error)
            return _page(site, studio, typed, problem=_told(error), status=refusal.status)
        return _to(run)

    async def run(request: Request) -> Response:
        found = studio.run(request.path_params["id"])
        return _page(site, studio, _typed(found.wanted), **_run(found))

    async def progress(request: Request) -> Response:
        """How far it is; when it is done, the candidates in the place of all that was there."""
        found = studio.run(request.path_params["id"])
        known = (await Form.of(request)).whole("known", 0, 0, 10**6)
        if found.progress is not None:
            return site.part("progress", **{**_run(found), "known": known})
        headers = {"hx-retarget": "#candidates", "hx-reswap": "outerHTML"}
        return site.part("candidates", headers, **{**_run(found), "oob": True})

    async def act(request: Request) -> Response:
        """Write one anew, or all that are not pinned; pin one; cancel."""
        found, form = studio.run(request.path_params["id"]), await Form.of(request)
        _act(studio, found, request.path_params["what"], form.whole("place", 0, 0, 10**6))
        return site.part("candidates", **{**_run(found), "oob": True}) if swaps(request) else _to(found)

    async def print_(request: Request) -> Response:
        found = studio.run(request.path_params["id"])
        chosen = found.pinned or found.candidates
        stories = [(one.story, paragraphs(one.story, checks=False)) for one in chosen]
        return site.page("print", stories=stories, run=found, notice=NOTICE, pinned=bool(found.pinned))

    return [
        Route("/stories", show, methods=["GET"]),
        Route("/stories", begin, methods=["POST"]),
        Route("/stories/{id}", run, methods=["GET"]),
        Route("/stories/{id}/progress", progress, methods=["GET"]),
        Route("/stories/{id}/print", print_, methods=["GET"]),
        Route("/stories/{id}/{what}", act, methods=["POST"]),
    ]


def _act(studio: Studio, run: Run, what: str, place: int) -> None:
    if what == "pin":
        _candidate(run, place).pinned = not _candidate(run, place).pinned
    elif what == "roll":
        studio.again(run, [place])
    elif what == "rest":
        studio.again(run, [i for i, one in enumerate(run.candidates) if not one.pinned])
    elif what == "cancel":
        studio.cancel(run)
    else:
        raise Refusal("there is no such page", 404)


def _to(run: Run) -> Response:
    return RedirectResponse(f"{PREFIX}/stories/{run.id}", 303)


def _candidate(run: Run, place: int) -> Candidate:
    if place >= len(run.candidates):
        raise Refusal("there is no such story", 404)
    return run.candidates[place]


def _page(site: Site, studio: Studio, typed: Mapping[str, Any], status: int = 200, **more: Any) -> Response:
    cards = site.service.store.cards.values()
    values: dict[str, Any] = {
        "typed": typed,
        "preset": "",
        "presets": specs.preset_names(),
        "approaches": [name for name in steps.names if is_served(Approach.parse(name, steps))],
        "styles": [card.name for card in cards if card.task == "story-writing"][:STYLES],
        "most": studio.most,
        "writes": site.service.engine.writes,
        "filled": [name for name, value in typed.items() if value],
        "problem": "",
        "run": None,
    }
    return site.page("stories", status, **{**values, **more})


def _run(run: Run) -> dict[str, Any]:
    """What the page shows of a run."""
    progress, drafts = run.progress, []
    if progress is not None:
        drafts = [(number + 1, _end(text)) for number, text in sorted(progress.drafts.texts.copy().items())]
    shown = [_shown(place, one) for place, one in enumerate(run.candidates)]
    return {
        "run": run,
        "progress": progress,
        "seconds": perf_counter() - progress.began if progress else 0.0,
        "drafts": drafts,
        "shown": sorted(shown, key=lambda one: not one.pinned),
        "known": progress.ready if progress else 0,
        "oob": False,
    }


def _end(text: str) -> str:
    return text if len(text) <= SHOWN else f"… {text[-SHOWN:]}"


def _shown(place: int, one: Candidate) -> Shown:
    failing = frozenset(check.constraint for check in one.story.checks if not check.passed)
    return Shown(place, one.story, one.pinned, paragraphs(one.story), failing)


def _wanted(form: Form, studio: Studio) -> Wanted:
    """**Raises** `ConfigError`, `Refusal` that name every wrong field."""
    values: dict[str, Any] = {name: form.text(name) for name in TEXTS if form.text(name).strip()}
    values |= {name: lines for name in LINES if (lines := _lines(form.text(name)))}
    values |= {"ordered": form.on("ordered"), "dialogue": form.on("dialogue"), "age": form.whole("age", 5, 2, 18)}
    return Wanted(
        spec=specs.make(values),
        approach=form.text("approach").strip() or "plain",
        n=form.whole("n", 4, 1, studio.most),
        seed=form.whole("seed", 0, 0, 2**31),
        model=form.text("model"),
    )


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]


def _sent(form: Form) -> dict[str, Any]:
    """The form as it was sent, to be shown again."""
    plain = {name: form.text(name) for name in (*TEXTS, *LINES, "approach", "n", "seed", "age", "model")}
    return {**plain, "ordered": form.on("ordered"), "dialogue": form.on("dialogue")}


def _typed(wanted: Wanted) -> dict[str, Any]:
    """The form that would ask for this."""
    spec: StorySpec = wanted.spec
    people = (f"{one.name}: {one.role}" if one.role else one.name for one in spec.characters)
    return {
        **{name: getattr(spec, name) for name in TEXTS if name != "length"},
        "length": f"{spec.length.min}-{spec.length.max}",
        **{name: "\n".join(getattr(spec, name)) for name in LINES if name != "characters"},
        "characters": "\n".join(people),
        "ordered": spec.ordered,
        "dialogue": spec.dialogue,
        "age": spec.age,
        "approach": wanted.approach,
        "n": wanted.n,
        "seed": wanted.seed,
        "model": wanted.model,
    }


def _told(error: ForewordError) -> str:
    return f"{error.what}; {error.do}" if error.do else error.what
