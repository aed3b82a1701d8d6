"""What surrounds a story and is no part of it, and the story without it."""

from __future__ import annotations

import re

from foreword.stories.story import Edit

_YES = r"(?:sure|certainly|of course|okay|absolutely)"
PREFACE = re.compile(
    rf"\A\s*(?:{_YES}[,!.]?\s+)?here(?:['’]s| is| are)\b[^\n]{{0,200}}?"
    r"(?::(?=[ \t]*\n)|\b(?:story|tale)\b[^\n]{0,80}?(?::(?=\s)|[.!](?=[ \t]*\n)))\s*"
    rf"|\A\s*{_YES}\b[^\n]{{0,200}}?(?::(?=[ \t]*\n)|\b(?:story|tale)\b[^\n]{{0,80}}?[.!:](?=[ \t]*\n))\s*"
    rf"|\A\s*{_YES}!\s+(?=(?-i:[^a-z\s]))",
    re.IGNORECASE,
)
_FENCE = re.compile(r"^```\w*[ \t]*\n?", re.MULTILINE)
_MARKS = re.compile(r"\*\*|(?<!\w)\*(?=\w)|(?<=\w)\*(?!\w)|^#{1,6}[ \t]+|<\|[^|\n]{0,30}\|>", re.MULTILINE)
_LABEL = re.compile(r"\A(?:title|story):\s*", re.IGNORECASE)
_ENDS = re.compile(r"[.!?…,;:\"”’'。]$")
_TALK = re.compile(
    r"\n[ \t]*(?:-{3,}[ \t]*\n\s*)?(?:\(?word count|i hope (?:you|this)|let me know|feel free|note:|"
    r"this (?:story|tale) |the moral of (?:the|this) story)[^\n]*(?:\n.*)?\Z",
    re.IGNORECASE | re.DOTALL,
)
TITLE_WORDS = 12


def unwrapped(text: str) -> tuple[str, str, tuple[Edit, ...]]:
    """The bare story, its title where it had one, and what was taken away.

    Taken away are: a preface ("Sure, here is a story:"), code fences, marks of emphasis and headings (not their words),
    the title (a first line of at most `TITLE_WORDS` words that does not end like a sentence, before an empty line or
    marked as a title), and what is said about the story behind it ("I hope you like it"). It is idempotent.
    """
    edits: list[Edit] = []
    title = ""
    while True:
        before = text
        text = _cut(PREFACE, "preface", text, edits)
        text = _cut(_FENCE, "code fence", text, edits)
        found, text = _title(text)
        if found:
            title = title or found
            edits.append(Edit("title", removed=found))
        text = _cut(_MARKS, "marks", text, edits)
        text = _cut(_TALK, "talk about the story", text, edits)
        text = text.strip()
        if text == before:
            return text, title, tuple(edits)


def _cut(pattern: re.Pattern[str], name: str, text: str, edits: list[Edit]) -> str:
    gone = [match.group() for match in pattern.finditer(text)]
    if not gone:
        return text
    edits.append(Edit(name, removed=" ".join(" ".join(gone).split())))
    return pattern.sub("", text)


def _title(text: str) -> tuple[str, str]:
    """The title on the first line and the rest; the title is empty where there is none."""
    head, _, rest = text.lstrip().partition("\n")
    marked = re.match(r"\s*(?:#{1,6}\s|\*\*[^*]+\*\*:?\s*$|title:)", head, re.IGNORECASE)
    if not rest.strip() or not (marked or rest.startswith(("\n", " \n"))):
        return "", text
    name = _LABEL.sub("", re.sub(r"[#*_\"“”]", "", head).strip()).strip()
    plain = not head.strip().startswith(("-", '"', "“")) or marked
    if plain and name and len(name.split()) <= TITLE_WORDS and not (_ENDS.search(name) and not marked):
        return name.rstrip(":"), rest
    return "", text
