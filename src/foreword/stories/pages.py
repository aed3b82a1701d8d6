"""Stories to read: as Markdown, and as a page to print, in large type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from foreword.page.render import template
from foreword.stories.language import Prose
from foreword.stories.story import Story

NOTICE = "Read before you read aloud: lists find words, not meanings."


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a paragraph; `mark` is what was found there, or nothing."""

    text: str
    mark: str = ""


def markdown(stories: Sequence[Story]) -> str:
    """All stories with what was checked, one behind the other."""
    return "\n\n---\n\n".join(_markdown(story) for story in stories) + "\n"


def page(stories: Sequence[Story], *, title: str, checks: bool = True) -> str:
    """A whole HTML page without a script or a request; each story begins on a sheet of its own when it is printed.

    With `checks`, what constraints found in the text is marked on the screen, and not in print.
    """
    return str(
        template("foreword.stories", "story.html.j2").render(
            title=title,
            notice=NOTICE,
            stories=[(story, paragraphs(story, checks=checks)) for story in stories],
            checks=checks,
        )
    )


def paragraphs(story: Story, *, checks: bool = True) -> list[list[Piece]]:
    """The text's paragraphs as pieces, of which some are marked with the constraints that found something there."""
    marks = [""] * len(story.text)
    for verdict in story.checks if checks else ():
        for span in verdict.evidence if verdict.hard or not verdict.passed else ():
            if span.end - span.start < 120:  # a whole long sentence would hide every smaller mark
                what = f"{verdict.constraint}: {span.what}" if span.what else verdict.constraint
                marks[span.start : span.end] = [what] * (span.end - span.start)
    return [_pieces(story.text, marks, one.start, one.end) for one in Prose(story.text).paragraphs]


def _pieces(text: str, marks: Sequence[str], start: int, end: int) -> list[Piece]:
    pieces, begin = [], start
    for place in range(start + 1, end + 1):
        if place == end or marks[place] != marks[begin]:
            pieces.append(Piece(text[begin:place], marks[begin]))
            begin = place
    return pieces


def _markdown(story: Story) -> str:
    rows = [
        f"| {one.constraint} | {'hard' if one.hard else 'soft'} | {_said(one.passed)} | {_said(one.lenient)} "
        f"| {one.score:.2f} | {one.note.replace('|', '/')} |"
        for one in story.checks
    ]
    head = ["| constraint | kind | strict | lenient | score | found |", "|---|---|---|---|---|---|"]
    edits = [f"- {one.name}: {_told(one.removed)} → {_told(one.added)}" for one in story.edits]
    repairs = ["", "Repairs:", "", *edits] if edits else []
    how = f"approach {story.approach}, seed {story.seed}, {story.tokens} tokens in {story.seconds:.0f} s"
    if story.given:
        words = "; ".join(f"“{' '.join(words.split())}”" for words in story.given)
        how += f"; the program gave {story.given_share:.0%} of the words: {words}"
    return "\n".join([f"# {story.title}", "", story.text, "", f"*{NOTICE}*", "", how, "", *head, *rows, *repairs])


def _said(passed: bool) -> str:
    return "pass" if passed else "**fail**"


def _told(text: str) -> str:
    short = " ".join(text.split())
    return f"“{short[:80]}{'…' if len(short) > 80 else ''}”" if short else "nothing"
