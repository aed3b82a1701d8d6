"""The list of forewords page by page, one foreword's card, several side by side."""

import asyncio
import json
import shutil
import threading
import time
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from foreword.serving.pages import shelf
from foreword.serving.pages.looking import WAITING, Looking
from foreword.serving.pages.shelf import Line, _best

from .conftest import judge, running, save
from .paging import Page, browse


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Two runs as `foreword train` leaves them, one of which is broken later, and ten thousand names."""
    root = tmp_path_factory.mktemp("library")
    for seed, score in ((0, 0.75), (1, 0.5)):
        made = judge("bert", "prompt-text", seed=seed)
        metrics = {"test": {"accuracy": score, "loss": score}, "validation": {"accuracy": 0.9}}
        from foreword.artifacts import storage

        storage.save(made, root / f"run-{seed}" / "artifact", f"run-{seed}", metrics)
        record = {"train": {"rows": 123, "steps": 45}, "seconds": 6.5, "test": {"majority": {"accuracy": 0.5}}}
        (root / f"run-{seed}" / "result.json").write_text(json.dumps(record))
    save(judge("bert", "lora"), root, "plain")
    save(judge("bert", "linear-probe"), root, "probe")
    (root / "broken").mkdir()
    (root / "broken" / "foreword.json").write_text("{}")
    with running(root, "bert") as (url, service):
        card = service.store.cards["plain"]
        service.store.cards.update({f"many/{i:05}": replace(card, name=f"many/{i:05}") for i in range(10_000)})
        yield url, service


def names(page):
    return [own["value"] for own in page.all("input", name="name") if own["type"] == "checkbox"]


def test_ten_thousand_are_many_pages(library):
    url, service = library
    began = time.perf_counter()
    answer = browse(url, "/forewords")
    assert time.perf_counter() - began < 5 and len(answer.text) < 60_000
    page = Page(answer.text)
    assert len(names(page)) == 24 and "10,004 in all, page 1 of 417" in page.words
    second = Page(browse(url, "/forewords?page=2").text)
    assert not set(names(page)) & set(names(second)) and "Previous page" in second.words
    last = Page(browse(url, "/forewords?page=999").text)
    assert "page 417 of 417" in last.words and "Next page" not in last.words
    assert browse(url, "/forewords?page=x").status_code == 400
    assert "1 more in the folder is not served" in page.words


def test_looking_is_by_words_of_names_and_tasks(library):
    url, service = library
    assert names(Page(browse(url, "/forewords?find=RUN+classif").text)) == ["run-0", "run-1"]
    assert "No foreword is called so" in browse(url, "/forewords?find=nobody").text
    part = browse(url, "/forewords?find=many/0001", headers={"hx-request": "true"})
    assert part.text.startswith('<div id="shelf">') and len(names(Page(part.text))) == 10


def test_what_was_ticked_is_kept_from_page_to_page(library):
    page = Page(browse(library[0], "/forewords?name=run-0&name=many/00001&page=2&name=nobody").text)
    hidden = [own["value"] for own in page.all("input", type="hidden", name="name")]
    ticked = [own["value"] for own in page.all("input", type="checkbox") if "checked" in own]
    assert sorted(hidden + ticked) == ["many/00001", "run-0"]


def test_a_card_says_what_the_manifest_says(library):
    url, service = library
    listed = Page(browse(url, "/forewords?find=run-0").text).words
    card = service.store.cards["run-0"]
    assert "0.7500 test" in listed and card.fingerprint[:12] in listed and card.created[:10] in listed
    page = Page(browse(url, "/forewords/card/run-0").text)
    assert all(text in page.words for text in ("0.9000", "prompt-tuning", card.fingerprint, "token 0", "numbers"))
    assert "foreword inspect run-0/artifact" in page.words and page.all("a", href="?words=1")
    assert "adds nothing to the model" in browse(url, "/forewords/card/probe").text
    assert "layer 0" in browse(url, "/forewords/card/plain").text
    assert browse(url, "/forewords/card/nobody").status_code == 404
    assert "is refused" in browse(url, "/forewords/card/broken").text


def test_words_near_virtual_tokens_are_compared_with_chance(library):
    url, _ = library
    whole = Page(browse(url, "/forewords/card/run-0?words=1").text)
    part = Page(browse(url, "/forewords/words/run-0", headers={"hx-request": "true"}).text)
    assert len(whole.all("th", scope="row")) == len(part.all("th", scope="row")) > 0, part.words
    assert "chance" in part.words
    assert "it has none" in browse(url, "/forewords/words/plain").text


def test_records_stand_side_by_side(library):
    url, _ = library
    page = Page(browse(url, "/forewords/compare?name=run-0&name=run-1").text)
    assert all(text in page.words for text in ("123", "45", "6.5", "0.7500", "0.5000", "majority"))
    assert len(page.all("td", **{"class": "best"})) == 4  # accuracy, the smaller loss, and validation's, which is even
    assert "foreword compare run-0/result.json run-1/result.json" in page.words
    mixed = Page(browse(url, "/forewords/compare?name=run-0&name=plain").text)
    assert "foreword compare run" not in mixed.words
    for query in ("", "?name=run-0", "?" + "&".join(f"name=many/{i:05}" for i in range(7))):
        assert browse(url, f"/forewords/compare{query}").status_code == 400
    assert browse(url, "/forewords/compare?name=run-0&name=nobody").status_code == 404


def test_an_artifact_that_goes_is_told_where_it_stood(tmp_path):
    save(judge("bert", "lora"), tmp_path, "gone")
    with running(tmp_path, "bert") as (url, _):
        shutil.rmtree(tmp_path / "gone")
        assert "has no foreword.json" in browse(url, "/forewords").text
        card = browse(url, "/forewords/card/gone")
        assert card.status_code == 200 and "is gone from the disk" in card.text


def test_a_record_that_is_none_is_passed_over(library, tmp_path):
    _, service = library
    card = service.store.cards["run-0"]
    assert shelf.record(service.store, card)["seconds"] == 6.5
    assert shelf.record(service.store, service.store.cards["plain"]) == {}
    folder = tmp_path / "x" / "artifact"
    folder.mkdir(parents=True)
    for content in ("[]", "{", '{"train": 3}'):
        (tmp_path / "x" / "result.json").write_text(content)
        found = shelf.record(service.store, replace(card, folder=folder))
        assert shelf._part(found, "train", "rows") is None
    (tmp_path / "x" / "result.json").unlink()
    (tmp_path / "x" / "result.json").symlink_to(service.store.root / "run-0" / "result.json")
    assert shelf.record(service.store, replace(card, folder=folder)) == {}


@given(st.lists(st.none() | st.floats(0, 1), max_size=6), st.sampled_from(["accuracy", "loss"]))
def test_the_best_are_those_that_none_is_better_than(values, metric):
    best, known = _best(metric, values), [value for value in values if value is not None]
    better = min if metric == "loss" else max
    assert best == (frozenset() if len(known) < 2 else {i for i, v in enumerate(values) if v == better(known)})
    assert Line("x", ()).best == frozenset()


def test_few_wait_to_be_looked_into_and_a_fine_tuned_copy_does_not_change_what_is_seen(library):
    _, service = library
    looking = Looking(service)
    backbone, gate = service.bank.backbone, threading.Event()
    looking._pool.submit(gate.wait)
    try:

        async def many():
            asked = [asyncio.create_task(looking.words("run-0")) for _ in range(WAITING + 2)]
            await asyncio.sleep(0.2)
            gate.set()
            return await asyncio.gather(*asked)

        table = backbone.embedding.weight
        other = {name: torch.zeros_like(table) for name, own in looking._own.items() if own is table}
        with backbone.weights(other):
            found = asyncio.run(many())
    finally:
        gate.set()
        looking.close()
    assert [one.gap for one in found].count("others are being looked into") == 2
    seen = [one for one in found if not one.gap]
    assert len(seen) == WAITING
    assert looking._vocabulary is not None and float(looking._vocabulary.table.abs().max()) > 0
