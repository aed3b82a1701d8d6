"""The studio: stories from the engine, one written anew, pinned, printed; what cannot be written is told."""

import re
import threading
import time

import pytest

from foreword.bank import Bank
from foreword.errors import ForewordError
from foreword.serving.limits import Limits
from foreword.serving.pages.studio import KEPT
from foreword.serving.pages.writer import Drafts, EngineWriter
from foreword.serving.service import Service
from foreword.stories.writers import Request
from foreword.stories.writers.base import WriterStopped
from foreword.stories.writers.drawing import Drawing
from foreword.stories.writers.local import MARGIN, LocalWriter

from .conftest import post
from .hearing import wait_for
from .paging import Page, browse, roomy, send, storytelling

SPEC = {"topic": "the sea", "length": "6-12", "clues": "a crab", "approach": "plain", "n": "2", "age": "5"}


@pytest.fixture(scope="module")
def studio(writers):
    with storytelling(writers, limits=Limits(slots=8)) as made:
        yield made


def written(url, **fields):
    """The path of a run that has ended, and its page."""
    answer = send(url, "/stories", {**SPEC, **fields})
    assert answer.status_code == 303, Page(answer.text).words
    return ended(url, answer.headers["location"].removeprefix("/pages"))


def ended(url, path):
    for _ in range(600):
        page = Page(browse(url, path).text)
        if not page.all("progress"):
            return path, page
        time.sleep(0.05)
    raise AssertionError("it does not end")


def stories(page):
    return len(page.all("article"))


def test_a_story_is_written_and_every_check_is_told(studio):
    url, _ = studio
    path, page = written(url)
    assert stories(page) == 2 and page.all("ul", **{"class": "chips"})
    assert {"clues", "word-range", "themes"} <= set(page.words.replace(":", " ").split())
    assert all(text in page.words for text in ("seed", "Write a story for a 5-year-old child", "tokens in"))
    assert page.all("input", name="topic")[0]["value"] == "the sea"  # the form as it was sent
    part = browse(url, f"{path}/progress", headers={"hx-request": "true"})
    assert part.headers["hx-retarget"] == "#candidates" and stories(Page(part.text)) == 2


def test_one_is_written_anew_the_other_is_pinned_and_printed(studio):
    url, _ = studio
    path, _ = written(url, seed="3")
    first, second = texts(url, path)
    page = Page(send(url, f"{path}/pin", {"place": "1"}, {"hx-request": "true"}).text)
    assert [own.get("aria-pressed") for own in page.all("button") if "aria-pressed" in own] == ["true", "false"]
    assert texts(url, f"{path}") == [second, first]  # pinned ones stand first
    assert printed(url, path) == [second]
    seeds = [made(url, path)]
    for what in ("roll", "rest"):
        send(url, f"{path}/{what}", {"place": "0"})
        ended(url, path)
        seeds.append(made(url, path))
        assert texts(url, path)[0] == second
    assert len({kept for kept, _ in seeds}) == 1 and len({new for _, new in seeds}) == 3
    send(url, f"{path}/pin", {"place": "1"})
    assert len(printed(url, path)) == 2
    for what, place in (("pin", "9"), ("roll", "9"), ("other", "0")):
        assert send(url, f"{path}/{what}", {"place": place}).status_code == 404
    assert browse(url, "/stories/unknown").status_code == 404


def texts(url, path):
    """The stories of a page, in order, by their words."""
    parts = browse(url, path).text.split('<div class="story">')[1:]
    return [Page("<div>" + part.partition("</div>")[0] + "</div>").words.split() for part in parts]


def made(url, path):
    """The seeds of the stories of a page, in order."""
    return re.findall(r"seed (\d+)", browse(url, path).text)


def printed(url, path):
    parts = browse(url, f"{path}/print").text.split("</h2>")[1:]
    return [Page("<div>" + part.partition("</article>")[0] + "</div>").words.split() for part in parts]


def test_the_same_seed_writes_the_same_stories(studio):
    url, _ = studio
    assert texts(url, written(url, seed="5")[0]) == texts(url, written(url, seed="5")[0])


def test_a_foreword_writes_otherwise_than_the_model_and_is_held_meanwhile(studio):
    url, service = studio
    bare, styled = (texts(url, written(url, seed="7", model=model)[0]) for model in ("", "v2-random"))
    assert bare != styled
    assert all(one.users == 0 for one in service.store._residents.values())
    _, page = written(url, model="nobody")
    assert "is not served here" in page.words and not stories(page)


@pytest.mark.parametrize(("model", "why"), [("prompt-text", "virtual tokens inside"), ("judge", "writes no text")])
def test_a_foreword_that_is_no_style_is_refused_as_on_the_command_line(studio, model, why):
    _, page = written(studio[0], model=model)
    assert why in page.words and not stories(page)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"avoid": "\n".join(f"word{n}" for n in range(101))}, "at most 100"),
        ({"topic": "x" * 1001}, "at most 1000"),
        ({"topic": ""}, "a story needs a topic"),
        ({"length": "many"}, "give a number, a range"),
        ({"age": "99"}, "age: give a whole number from 2 to 18"),
        ({"n": "99"}, "from 1 to 8"),
        ({"approach": "nonsense"}, "unknown approach"),
        ({"approach": "several"}, "is not served"),
        ({"avoid": "crabs"}, "which is to be avoided"),
    ],
)
def test_a_spec_that_cannot_be_is_told_and_stays_in_the_form(studio, fields, match):
    answer = send(studio[0], "/stories", {**SPEC, **fields})
    page = Page(answer.text)
    assert answer.status_code == 400 and match in page.words and page.all("p", role="alert")
    assert page.all("input", name="length")[0]["value"] == fields.get("length", "6-12")


def test_what_does_not_fit_the_model_is_told_by_the_run(studio):
    _, page = written(studio[0], length="4000-5000")
    assert "longer than the about" in page.words and not stories(page)


def test_a_preset_fills_the_form(studio):
    page = Page(browse(studio[0], "/stories?preset=space-helper").text)
    assert page.all("input", name="age")[0]["value"] == "7" and "Pip: a small robot" in page.words
    assert "checked" in page.all("input", id="dialogue")[0]
    assert browse(studio[0], "/stories?preset=nonsense").status_code == 400


def test_requests_are_answered_while_stories_are_written_and_cancelling_frees_the_slots(studio):
    url, service = studio
    answer = send(url, "/stories", {**SPEC, "length": "180-200", "n": "4"})
    path = answer.headers["location"].removeprefix("/pages")
    while not service.engine.decoder.running:
        time.sleep(0.01)
    body = {"model": "llama", "prompt": "good", "max_tokens": 3}
    assert post(f"{url}/v1/completions", json=body, timeout=60).status_code == 200
    told = browse(url, f"{path}/progress?known=0", headers={"hx-request": "true"})
    assert 'id="progress"' in told.text and "of 4 ready" in told.text and "hx-retarget" not in told.headers
    assert 'http-equiv="refresh"' in browse(url, path).text
    assert send(url, f"{path}/roll", {"place": "0"}).status_code == 409
    assert send(url, f"{path}/cancel").status_code == 303
    _, page = ended(url, path)
    assert "cancelled" in page.words
    deadline = time.monotonic() + 10
    while not service.engine.idle and time.monotonic() < deadline:
        time.sleep(0.02)
    assert service.engine.idle


def test_few_wait_and_few_are_kept(studio):
    url, _ = studio
    paths = [send(url, "/stories", {**SPEC, "length": "180-200"}).headers["location"] for _ in range(4)]
    busy = send(url, "/stories", SPEC)
    assert busy.status_code == 429 and "other stories are being written" in busy.text
    for path in paths:
        send(url, f"{path.removeprefix('/pages')}/cancel")
    for path in paths:
        ended(url, path.removeprefix("/pages"))
    for _ in range(KEPT + 1):
        last, _ = written(url, n="1")
    assert browse(url, paths[0].removeprefix("/pages")).status_code == 404
    assert browse(url, last).status_code == 200


def test_a_text_is_the_same_alone_and_in_company_and_ends_within_its_words(tmp_path):
    requests = [
        Request("Write a story about the good cat.", 3, 5, 12),
        Request("Write a story about the sea.", 4, 12, 20, "Once there was a good dog,"),
        Request("Another one about the film", 5, 2, 6, "It was a good day. It was a good day. It was a"),
    ]
    service = Service(tmp_path, Bank(roomy("llama")), Limits())
    service.engine.start()
    try:
        drafts, counts, alone = {}, [], {}
        writer = EngineWriter(service, None, threading.Event(), Drafts())
        writer.write(requests, lambda n, draft: drafts.update({n: draft}), counts.append)
        for number, request in enumerate(requests):
            writer.write([request], lambda _, draft, n=number: alone.update({n: draft}), lambda n: None)
    finally:
        service.engine.stop()
        service.store.close()
    assert {n: (d.text, d.tokens, d.finished) for n, d in drafts.items()} == {
        n: (d.text, d.tokens, d.finished) for n, d in alone.items()
    }
    assert sum(counts) == sum(draft.tokens for draft in drafts.values())
    for number, request in enumerate(requests):
        rate = writer._per_word(request.prompt)
        assert int(request.least * rate) <= drafts[number].tokens <= int(request.most * rate * MARGIN)
    writer._stop.set()
    with pytest.raises(WriterStopped):
        writer.write(requests, lambda n, draft: None, lambda n: None)


class Script:
    """A guide that takes the first attempt at each sentence back, gives words to the second, and ends a long text."""

    tries = 2

    def judge(self, text: str, tries: int) -> str:
        return "" if tries else "it could be better"

    def lead(self, text: str, given: tuple[str, ...], tries: int) -> str | None:
        if tries:
            return " it was"
        return None if len(text) > 60 else " the story" if text else ""


@pytest.fixture
def every_fourth(monkeypatch):
    """A sentence ends behind four tokens, whatever a random model writes."""
    monkeypatch.setattr(Drawing, "_ends", lambda row, text, token: len(row.ids) >= row.settled + 4)


@pytest.mark.usefixtures("every_fourth")
def test_a_guided_text_from_the_engine_is_the_text_of_the_command_line(tmp_path):
    requests = [
        Request("Write a story about the good cat.", 3, 5, 30, guide=Script()),
        Request("Write a story about the sea.", 4, 12, 20, "Once there was a good dog,"),
        Request("Another one about the film", 5, 2, 30, "It was a good day.", Script()),
    ]
    bank = Bank(roomy("llama"))
    service = Service(tmp_path, bank, Limits())
    service.engine.start()
    try:
        drafts, local, counts, seen = {}, {}, [], Drafts()
        writer = EngineWriter(service, None, threading.Event(), seen)
        writer.write(requests, lambda n, draft: drafts.update({n: draft}), counts.append)
        LocalWriter(bank).write(requests, lambda n, draft: local.update({n: draft}), lambda n: None)
    finally:
        service.engine.stop()
        service.store.close()
    for number, one in drafts.items():
        other = local[number]
        assert (one.text, one.tokens, one.finished, one.given, one.undone) == (
            other.text, other.tokens, other.finished, other.given, other.undone,
        )  # fmt: skip
        assert seen.texts[number] == one.text, "what was told while it was written is what stays"
    assert drafts[0].undone and drafts[0].given and drafts[0].finished == "end"
    assert 0 < sum(counts) < sum(draft.tokens for draft in drafts.values())


def test_a_guide_that_fails_ends_its_own_text_alone(tmp_path):
    class Broken(Script):
        def lead(self, text: str, given: tuple[str, ...], tries: int) -> str | None:
            raise ValueError("no words")

    requests = [Request("Write a story.", 3, 5, 9, guide=Broken()), Request("Write a story.", 4, 5, 9)]
    service = Service(tmp_path, Bank(roomy("llama")), Limits())
    service.engine.start()
    try:
        found = {}
        writer = EngineWriter(service, None, threading.Event(), Drafts())
        writer.write(requests, lambda n, draft: found.update({n: draft}), lambda n: None)
        wait_for(lambda: service.engine.idle)
    finally:
        service.engine.stop()
        service.store.close()
    assert isinstance(found[0], ForewordError) and found[1].text


def test_a_story_is_written_sentence_by_sentence(studio):
    _, page = written(studio[0], approach="stepwise+varied", length="20-40")
    assert stories(page) == 2 and "the program gave" in page.words
