"""Texts with a guide: what is taken back was never there, what is given stands in the text, the guide ends it."""

from __future__ import annotations

import pytest
import torch

from foreword.bank import Bank
from foreword.batch import Item
from foreword.stories.writers import Draft, Request
from foreword.stories.writers.decoding import Patient, _row
from foreword.stories.writers.drawing import LIKELY, Drawing
from foreword.stories.writers.local import LocalWriter
from support.backbones import shared


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_what_is_taken_back_was_never_there(family):
    bank = Bank(shared(family))
    one, two = [3, 4, 5, 6], [7, 8, 9]
    with torch.no_grad(), bank.backbone.weights(None):
        struck = Patient(bank, [Item((_row(ids),)) for ids in (one, two)])
        for tokens in ([10, 11], [12, 13], [14, 15]):
            struck.step(tokens)
        struck.strike(0, 2)
        struck.step([20, 16])
        struck.step([21, 17])
        fresh = Patient(bank, [Item((_row([*one, 10, 20]),)), Item((_row([*two, 11, 13, 15, 16]),))])
        fresh.step([21, 17])
    torch.testing.assert_close(struck.logits, fresh.logits, atol=1e-4, rtol=1e-4)


class Script:
    """A guide that judges and gives as it is told, and keeps what it was asked."""

    def __init__(self, verdicts: list[str], leads: list[str | None], tries: int = 3) -> None:
        self.verdicts, self.leads, self.tries, self.seen = verdicts, leads, tries, []

    def judge(self, text: str, tries: int) -> str:
        self.seen.append(("judge", text, tries))
        return self.verdicts.pop(0) if self.verdicts else ""

    def lead(self, text: str, given: tuple[str, ...], tries: int) -> str | None:
        self.seen.append(("lead", text, tries))
        return self.leads.pop(0) if self.leads else ""


@pytest.fixture
def every_third(monkeypatch):
    """A sentence ends behind every third token of a row, whatever a random model writes."""

    def ends(row: Drawing, text: str, token: int) -> bool:
        return len(row.ids) > row.settled and len(row.ids) % 3 == 0

    monkeypatch.setattr(Drawing, "_ends", ends)


def written(*requests: Request) -> list[Draft]:
    found: dict[int, Draft] = {}
    counted: list[int] = []
    LocalWriter(Bank(shared("gpt2"))).write(requests, found.__setitem__, counted.append)
    assert sum(counted) == sum(draft.tokens for draft in found.values()) + len(
        [draft for draft in found.values() if draft.finished == "end"]
    ), "a step in which a row ends takes no token"
    return [found[number] for number in range(len(requests))]


def request(guide: Script, seed: int = 1, lead: str = "") -> Request:
    return Request("the story was good", seed, 4, 20, lead, guide)


@pytest.mark.usefixtures("every_third")
def test_a_guide_gives_words_and_ends_the_text():
    guide = Script([], [" it was", "", " the story", None])
    [draft] = written(request(guide))
    assert draft.text.startswith(" it was") and " the story" in draft.text
    assert draft.given == ("it was", "the story")
    assert draft.finished == "end" and not draft.undone


@pytest.mark.usefixtures("every_third")
def test_a_sentence_that_is_taken_back_leaves_no_trace_but_in_the_account():
    guide = Script(["wrong", "wrong again", "", ""], ["", " it was", " the story", "", None])
    [draft] = written(request(guide))
    assert [why for why, _ in draft.undone] == ["wrong", "wrong again"]
    assert draft.given == ("the story",), "words that were given to an attempt that was taken back are gone with it"
    assert draft.text.startswith(" the story")
    assert all(draft.text.find(gone) != 0 for _, gone in draft.undone)
    assert [tries for kind, _, tries in guide.seen if kind == "judge"] == [0, 1, 2, 0]
    assert [text for kind, text, tries in guide.seen if kind == "lead" and tries] == ["", ""]


@pytest.mark.usefixtures("every_third")
def test_after_so_many_tries_a_sentence_stays():
    guide = Script(["wrong"] * 9, ["", "", "", None], tries=2)
    [draft] = written(request(guide))
    assert len(draft.undone) == 2 and draft.text


@pytest.mark.usefixtures("every_third")
def test_a_guided_text_does_not_change_its_neighbours():
    def draft(*others: Script) -> str:
        plain = Request("the story was good", 7, 4, 9)
        return written(plain, *(request(one, seed=3) for one in others))[0].text

    assert draft() == draft(Script(["wrong", "wrong"], ["", "", " it was", None]))


def test_only_likely_tokens_are_drawn(monkeypatch):
    monkeypatch.setattr("foreword.stories.writers.drawing.LIKELY", 1)
    found = {}
    LocalWriter(Bank(shared("gpt2")), temperature=5.0).write(
        [Request("the story was good", seed, 4, 9) for seed in range(3)], found.__setitem__, lambda count: None
    )
    assert len({draft.text for draft in found.values()}) == 1
    assert LIKELY > 50
