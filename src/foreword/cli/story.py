"""`foreword story`: stories for children, written, verified, repaired and ranked."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foreword.cli import story_measures, story_run, story_study
from foreword.cli.targets import require_targets

if TYPE_CHECKING:
    from foreword.stories import Story, StorySpec, Verdict, Written
    from foreword.stories.writers import Writer

app = typer.Typer(help="Stories for children: write, check.", no_args_is_help=True)
app.command("compare")(story_measures.compare)
app.command("style")(story_measures.style)
app.command("study")(story_study.study)
RUNS = Path("runs/stories")

Spec = Annotated[Path | None, typer.Option("--spec", help="A YAML or JSON file with what the story has to be.")]
Preset = Annotated[str | None, typer.Option(help="A spec of the package, such as magical-forest.")]
Topic = Annotated[str | None, typer.Option(help="What the story is about.")]
Style = Annotated[str | None, typer.Option(help="Such as: playful and imaginative.")]
Length = Annotated[str | None, typer.Option(help="Words: 300-500, 400 (a tenth more or less), or 400 +- 50.")]
Clue = Annotated[list[str] | None, typer.Option(help="What has to occur; may be repeated.")]
Age = Annotated[int | None, typer.Option(help="Of the child, in years.")]
Character = Annotated[list[str] | None, typer.Option(help='"NAME: who it is"; may be repeated.')]
Setting = Annotated[str | None, typer.Option(help="Where it takes place.")]
Moral = Annotated[str | None, typer.Option(help="What it shows.")]
Tone = Annotated[str | None, typer.Option(help="Such as: calm and warm.")]
Avoid = Annotated[list[str] | None, typer.Option(help="A word that may not occur, in any form; may be repeated.")]
Allow = Annotated[list[str] | None, typer.Option(help="A listed theme or word that may occur; may be repeated.")]
Language = Annotated[str | None, typer.Option(help="A code such as en; many checks need English.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def _group() -> None:
    """Stories for children: write, check."""


@app.command("write")
def write(
    spec: Spec = None,
    preset: Preset = None,
    topic: Topic = None,
    style: Style = None,
    length: Length = None,
    clue: Clue = None,
    age: Age = None,
    character: Character = None,
    setting: Setting = None,
    moral: Moral = None,
    tone: Tone = None,
    avoid: Avoid = None,
    allow: Allow = None,
    language: Language = None,
    approach: Annotated[
        str,
        typer.Option(
            help="plain, specific, emotional-cue, theme-first, stepwise, plan, open-ended, varied, different, several; "
            "or A+B."
        ),
    ] = "plain",
    n: Annotated[int, typer.Option("--n", min=1, help="How many candidates are written.")] = 8,
    keep: Annotated[int, typer.Option(min=1, help="How many of them are shown, best first.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same stories.")] = 0,
    repair: Annotated[bool, typer.Option(help="Mend what fails; every edit is told.")] = True,
    model: Annotated[str | None, typer.Option(help="A causal model (default: smollm2-135m-instruct).")] = None,
    style_prompt: Annotated[
        Path | None, typer.Option(help="The artifact of a trained style (foreword story style), on its own model.")
    ] = None,
    strength: Annotated[float | None, typer.Option(help="Of the style prompt, 0 to 1 (default: 1).")] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="The address of an OpenAI-compatible endpoint, such as http://localhost:8000/v1.")
    ] = None,
    key_env: Annotated[
        str | None, typer.Option(help="The variable with the endpoint's key (default: FOREWORD_ENDPOINT_KEY).")
    ] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds for one request to the endpoint.")] = None,
    max_requests: Annotated[int | None, typer.Option(help="Requests to the endpoint at most.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="The endpoint's tokens at most, in and out.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Of sampling (default: 0.5, endpoints 0.9).")] = None,
    top_p: Annotated[float | None, typer.Option(help="Of sampling (default: 0.95, endpoints 1).")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Stories side by side on this machine (default: 8).")] = None,
    show_prompt: Annotated[bool, typer.Option("--show-prompt", help="Print the prompts and stop.")] = False,
    output: Annotated[Path | None, typer.Option(help="The folder of the run's log (default: runs/stories/…).")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the stories into a Markdown file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the stories into a page to print, in large type.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write candidates, verify and repair each, show the best ones that differ. Exit code 1: none holds all rules."""
    from foreword.errors import Interrupted
    from foreword.stories import writing

    given = {"topic": topic, "style": style, "length": length, "clues": clue, "age": age, "characters": character,
             "setting": setting, "moral": moral, "tone": tone, "avoid": avoid, "allow": allow,
             "language": language}  # fmt: skip
    wanted = _spec(spec, preset, given)
    if show_prompt:
        _show_prompts(wanted, approach, n, seed)
        return
    local = {"temperature": temperature, "top_p": top_p, "batch": batch}
    remote = {"temperature": temperature, "top_p": top_p, "key_env": key_env, "timeout": timeout,
              "max_requests": max_requests, "max_tokens": max_tokens}  # fmt: skip
    _require_use(endpoint, key_env=key_env, timeout=timeout, max_requests=max_requests, max_tokens=max_tokens)
    _before(wanted, approach, endpoint)
    story_measures.require_style(style_prompt, strength, model=model, endpoint=endpoint)
    require_targets(output, markdown=markdown, html=html)
    with story_run.interruptible():
        if style_prompt is not None:
            writer: Writer = story_measures.style_writer(style_prompt, strength, _set(local))
        elif endpoint:
            writer = _endpoint(endpoint, model, remote)
        else:
            writer = writing.open_writer(model or writing.MODEL, **_set(local))
        folder = output or _folder(wanted.topic)
        options: dict[str, Any] = {"approach": approach, "n": n, "keep": keep, "seed": seed, "repair": repair}
        with _Bar(n) as bar:
            made = writing.write(wanted, **options, writer=writer, folder=folder, watch=bar)
        _files(made, markdown, html)
    _told(made, as_json)
    if made.stopped == "interrupted":
        raise Interrupted("stopped; what was written is kept", where=str(folder))
    if not any(story.passed for story in made.stories):
        raise typer.Exit(1)


@app.command("check")
def check(
    file: Annotated[Path, typer.Argument(help="A text file, or - for the standard input.")],
    spec: Spec = None,
    preset: Preset = None,
    topic: Topic = None,
    length: Length = None,
    clue: Clue = None,
    age: Age = None,
    character: Character = None,
    avoid: Avoid = None,
    allow: Allow = None,
    language: Language = None,
    as_json: AsJson = False,
) -> None:
    """Check a text against a spec, strictly and leniently read. Exit code 1 where a hard constraint fails."""
    from foreword.cli import render
    from foreword.stories import checking
    from foreword.stories.consistency import require_consistent

    given = {"topic": topic, "length": length, "clues": clue, "age": age, "characters": character, "avoid": avoid,
             "allow": allow, "language": language}  # fmt: skip
    wanted = _spec(spec, preset, given)
    require_consistent(wanted)
    verdicts = checking.check(_text(file), wanted)
    passed = all(one.passed for one in verdicts if one.hard)
    if as_json:
        from dataclasses import asdict

        typer.echo(json.dumps({"passed": passed, "checks": [asdict(one) for one in verdicts]}, ensure_ascii=False))
    else:
        _verdicts(verdicts)
        render.out.print("every hard constraint holds" if passed else "[bold red]a hard constraint fails[/]")
    if not passed:
        raise typer.Exit(1)


def _spec(path: Path | None, preset: str | None, values: dict[str, Any]) -> StorySpec:
    """The spec of a file or a preset, with what was given by name over it."""
    from foreword.errors import ConfigError
    from foreword.stories import spec as specs

    if path is not None and preset is not None:
        raise ConfigError("a spec was given twice: as a file and as a preset", do="give one of them")
    given = _set(values)
    return specs.load(path, given) if path is not None else specs.make(given, preset=preset)


def _set(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None and value != []}


def _before(spec: StorySpec, approach: str, endpoint: str | None) -> None:
    """What can be told before a model is loaded. **Raises** `ConfigError`."""
    from foreword.stories.approaches import Approach, steps
    from foreword.stories.consistency import require_consistent

    require_consistent(spec)
    made = Approach.parse(approach, steps)
    if made.strong and endpoint is None:
        from foreword.errors import ConfigError

        do = "give an --endpoint, or another approach such as varied"
        raise ConfigError(f"the approach '{approach}' needs a model that follows long instructions", do=do)


def _require_use(endpoint: str | None, **values: Any) -> None:
    """**Raises** `ConfigError` for settings of an endpoint where there is none."""
    from foreword.errors import ConfigError

    if endpoint is None and (idle := next(iter(_set(values)), None)):
        raise ConfigError(f"--{idle.replace('_', '-')} is for an endpoint, and none is given", do="give an --endpoint")


def _endpoint(url: str, model: str | None, values: dict[str, Any]) -> Writer:
    from foreword.config import build
    from foreword.errors import ConfigError
    from foreword.stories.writers.endpoint import EndpointSettings, EndpointWriter

    if model is None:
        raise ConfigError("an endpoint needs the name of a model", do="give --model")
    return EndpointWriter(build(EndpointSettings, {"url": url, "model": model, **_set(values)}, "the endpoint"))


def _show_prompts(spec: StorySpec, approach: str, n: int, seed: int) -> None:
    from foreword.stories.approaches import Approach, Turn, steps
    from foreword.stories.consistency import require_consistent

    require_consistent(spec)
    made = Approach.parse(approach, steps)
    for number in range(n):
        brief = made.brief(spec, Turn(number, n, seed))
        lead = f"\n[begins with] {brief.lead}" if brief.lead else ""
        typer.echo(f"--- story {number + 1}\n{brief.render()}{lead}")


def _folder(topic: str) -> Path:
    """A folder that is not there yet."""
    name = re.sub(r"[^a-z0-9]+", "-", topic.lower()).strip("-")[:40] or "story"
    number = 1
    while (folder := RUNS / f"{name}-{number}").exists():
        number += 1
    return folder


def _text(file: Path) -> str:
    import sys

    from foreword.errors import DataError

    try:
        found = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot read the text: {error.strerror}", where=str(file)) from None
    except UnicodeDecodeError as error:
        do = "give UTF-8, for example through iconv -f latin1 -t utf-8"
        raise DataError(f"the text is not UTF-8: {error}", where=str(file), do=do) from None
    return found.removeprefix("\ufeff")


def _files(made: Written, markdown: Path | None, html: Path | None) -> None:
    from foreword.stories import pages
    from foreword.whole import put

    if markdown is not None:
        put(markdown, pages.markdown(made.stories))
    if html is not None:
        put(html, pages.page(made.stories, title=made.spec.topic))


def _told(made: Written, as_json: bool) -> None:
    from foreword.cli import render

    if as_json:
        typer.echo(json.dumps(made.to_dict(), ensure_ascii=False))
        return
    for number, story in enumerate(made.stories, 1):
        render.out.rule(f"{number}")
        _show(story)
    render.out.rule()
    passed = sum(story.passed for story in made.candidates)
    render.err.print(
        f"{len(made.candidates)} written by {made.writer} ({made.approach}), {passed} hold every hard constraint; "
        f"{made.seconds:.0f} s, {made.tokens_per_second:.1f} tokens/s, "
        f"{made.seconds / max(1, len(made.candidates)):.0f} s a story",
        markup=False,
    )
    for failure in made.failures:
        render.err.print(f"failed: {failure}", markup=False)
    if made.stopped:
        render.err.print(f"stopped early: {made.stopped}", markup=False)
    render.err.print(f"log: {made.folder}\nRead before you read aloud: lists find words, not meanings.", markup=False)


def _show(story: Story) -> None:
    from foreword.cli import render

    render.out.print(f"\n[bold]{render.escape(story.title)}[/]\n")
    render.out.print(story.text + "\n", markup=False)
    _verdicts(story.checks)
    if story.given:
        shown = " … ".join(story.given)
        render.out.print(f"  given: {story.given_share:.0%} of the words: {shown}", markup=False)
    for edit in story.edits:
        parts = [f"{sign}“{text[:70]}”" for sign, text in (("-", edit.removed), ("+", edit.added)) if text]
        render.out.print(f"  repaired: {edit.name} {' '.join(parts)}", markup=False)


def _verdicts(checks: Sequence[Verdict]) -> None:
    from foreword.cli import render

    body = [
        [
            one.constraint + ("" if one.hard else " (soft)"),
            "pass" if one.passed else "FAIL",
            "pass" if one.lenient else "FAIL",
            f"{one.score:.2f}",
            one.note,
        ]
        for one in checks
    ]
    render.grid(["constraint", "strict", "lenient", "score", "found"], body)


class _Bar:
    """Candidates that are ready, and tokens a second, on a terminal; one line a story elsewhere."""

    def __init__(self, count: int) -> None:
        from foreword.cli import render

        columns = [*render.Progress.get_default_columns()[:2], render.MofNCompleteColumn(), render.TimeElapsedColumn()]
        columns.append(render.TextColumn("{task.fields[note]}"))
        self.console = render.err
        self.bar = render.Progress(*columns, console=render.err, disable=not render.err.is_terminal)
        self.task = self.bar.add_task("stories", total=count, note="")
        self.began, self.count, self.shown = time.perf_counter(), 0, 0

    def __enter__(self) -> Any:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def tokens(self, count: int) -> None:
        """So many more tokens were generated."""
        self.count += count
        seconds = time.perf_counter() - self.began
        self.bar.update(self.task, note=f"{self.count:,} tokens, {self.count / seconds:.1f} a second")

    def story(self, ready: int, count: int) -> None:
        """So many of the candidates are ready."""
        self.bar.update(self.task, completed=ready, total=count)
        if self.bar.disable and ready > self.shown:
            self.console.print(f"story {ready} of {count}, {time.perf_counter() - self.began:.0f} s")
        self.shown = max(self.shown, ready)
