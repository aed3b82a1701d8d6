"""The forewords of a folder: what is found, what is refused and why, what is in memory, and what a replacement does."""

import asyncio
import json
import os
import shutil
import threading
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from foreword.artifacts import storage
from foreword.artifacts.manifest import TensorInfo, read_manifest
from foreword.bank import Bank
from foreword.errors import ArtifactError, ConfigError
from foreword.serving import cards, residents
from foreword.serving.metrics import Metrics
from foreword.serving.problems import Refusal
from foreword.serving.store import Store
from foreword.store import sha256
from support.backbones import shared
from support.forewords import loud
from support.spots import tagger

from .conftest import judge, save


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three forewords of one method, and one for another model, each in a folder to copy from."""
    root = tmp_path_factory.mktemp("made")
    for seed in range(3):
        save(judge("bert", "v2-random", seed=seed), root, f"f{seed}")
    save(judge("distilbert", "v2-random"), root, "foreign")
    return root


@pytest.fixture
def root(made, tmp_path):
    for name in ("f0", "f1", "f2"):
        shutil.copytree(made / name, tmp_path / name)
    return tmp_path


def store_of(root, limit=2**30):
    return Store(root, Bank(shared("bert")), limit, Metrics())


def run(store, work):
    async def inside():
        try:
            return await work(store)
        finally:
            store.close()

    return asyncio.run(inside())


async def use(store, *names):
    for name in names:
        async with store.using(name):
            pass


def rewrite(folder, change):
    """An artifact whose tensors are changed, and whose manifest says so."""
    tensors = change(load_file(folder / "weights.safetensors"))
    save_file(tensors, folder / "weights.safetensors", {"format": "foreword"})
    manifest = json.loads((folder / "foreword.json").read_text())
    manifest["tensors"] = {
        k: TensorInfo(shape=list(v.shape), dtype=str(v.dtype)).model_dump() for k, v in sorted(tensors.items())
    }
    manifest["weights_sha256"] = sha256(folder / "weights.safetensors")
    (folder / "foreword.json").write_text(json.dumps(manifest))


def test_a_scan_finds_names_and_passes_over_the_rest(root, made):
    (root / "f1").rename(root / "runs-f1")
    (root / "deep/er").mkdir(parents=True)
    (root / "runs-f1").rename(root / "deep/er/artifact")
    (root / ".f9.tmp").mkdir()
    shutil.copytree(made / "f0", root / ".f9.tmp/new")
    (root / "link").symlink_to(made / "f0", target_is_directory=True)
    (root / "empty").mkdir()
    (root / "broken").mkdir()
    (root / "broken/foreword.json").write_text("{")
    (root / "broken/weights.safetensors").write_bytes(b"")
    (root / "alone").mkdir()
    (root / "alone/foreword.json").write_text("{}")
    (root / "linked").mkdir()
    shutil.copy(made / "f0/foreword.json", root / "linked/foreword.json")
    (root / "linked/weights.safetensors").symlink_to(made / "f0/weights.safetensors")
    found = cards.scan(root)
    assert list(found.cards) == ["deep/er", "f0", "f2"]
    assert found.cards["f0"].answer == "class" and found.cards["f0"].backbone == "bert"
    assert list(found.refused) == ["alone", "broken", "linked"]
    assert "no weights" in found.refused["alone"] and "link" in found.refused["linked"]
    with pytest.raises(ArtifactError, match="no such folder"):
        cards.scan(root / "nowhere")


@pytest.mark.parametrize("values", ["[]", '{"task": 3}', '{"task": "x"}', "[" * 100_000, "nan", '{"backbone": {}}'])
def test_a_broken_manifest_is_refused_with_a_reason(root, values):
    (root / "f0/foreword.json").write_text(values)
    found = cards.scan(root)
    assert "broken or foreign" in found.refused["f0"] and list(found.cards) == ["f1", "f2"]


def test_forewords_of_another_model_are_refused_and_the_rest_is_served(root, made):
    shutil.copytree(made / "foreign", root / "foreign")
    store = store_of(root)
    assert "another model" in store.refused["foreign"] and list(store.cards) == ["f0", "f1", "f2"]
    with pytest.raises(Refusal, match="another model") as error:
        run(store, lambda s: use(s, "foreign"))
    assert error.value.status == 404


def test_what_is_not_there_is_a_404(root):
    with pytest.raises(Refusal, match="not served here") as error:
        run(store_of(root), lambda s: use(s, "nobody"))
    assert error.value.status == 404 and error.value.code == "model_not_found"


FAULTS = {
    "truncated": lambda f: os.truncate(f / "weights.safetensors", 40),
    "changed": lambda f: (f / "weights.safetensors").write_bytes(b"x" + (f / "weights.safetensors").read_bytes()[1:]),
    "nan": lambda f: rewrite(f, lambda t: {**t, "readout.bias": t["readout.bias"] * float("nan")}),
    "shape": lambda f: rewrite(f, lambda t: {**t, "readout.bias": torch.zeros(7)}),
    "foreign tensor": lambda f: rewrite(f, lambda t: {**t, "other": torch.zeros(1)}),
    "other geometry": lambda f: rewrite(f, lambda t: {**t, "injection.key_values": torch.zeros(3, 2, 9, 4, 2)}),
    "no operation": lambda f: rewrite(f, lambda t: {**t, "injection.sites.0..nothing[].a": torch.zeros(2)}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_artifact_is_refused_and_the_rest_is_served(root, fault):
    FAULTS[fault](root / "f0")
    store = store_of(root)

    async def work(store):
        with pytest.raises(Refusal, match="'f0' cannot be served") as error:
            await use(store, "f0")
        assert error.value.status == 404 and str(root) not in error.value.body["error"]["message"]
        await use(store, "f1", "f2")

    run(store, work)
    assert store.names == ("f1", "f2") and len(store.bank.names) == 2


def test_one_that_is_too_large_is_refused_before_it_is_read(root, monkeypatch):
    monkeypatch.setattr(storage, "read", pytest.fail)
    with pytest.raises(Refusal, match="bytes are|are allowed"):
        run(store_of(root, 100), lambda s: use(s, "f0"))


def test_memory_is_bounded_and_the_least_recently_used_goes(root):
    size = residents_size(root)
    store = store_of(root, int(size * 2.5))

    async def work(store):
        await use(store, "f0", "f1", "f0", "f2")
        assert store.names == ("f0", "f2") and store.used <= store.limit
        await use(store, "f1")
        assert store.names == ("f2", "f1")

    run(store, work)
    assert store.metrics.evictions._value.get() == 2 and len(store.bank.names) == 2


def residents_size(root):
    card = cards.read_card("f0", root / "f0")
    return residents.read("x", card, root, Bank(shared("bert")), 2**30, threading.Lock()).size


def test_what_is_pinned_or_in_use_stays(root, monkeypatch):
    monkeypatch.setattr("foreword.serving.store.ROOM_SECONDS", 0.05)
    store = store_of(root, int(residents_size(root) * 2.5))

    async def work(store):
        await store.pin(["f0"])
        async with store.using("f1"):
            with pytest.raises(Refusal, match="full of those in use") as error:
                await use(store, "f2")
            assert error.value.status == 429
        await use(store, "f2")
        assert store.names == ("f0", "f2")
        with pytest.raises(ConfigError, match="cannot be kept"):
            await store.pin(["nobody"])

    run(store, work)


def test_who_waits_for_memory_gets_it_when_it_is_free(root):
    store = store_of(root, int(residents_size(root) * 1.5))

    async def work(store):
        async with store.using("f0"):
            waiting = asyncio.create_task(use(store, "f1"))
            await asyncio.sleep(0.05)
            assert not waiting.done()
        await waiting

    run(store, work)
    assert store.names == ("f1",)


def test_a_replacement_is_taken_whole_and_old_requests_keep_theirs(root, made):
    store = store_of(root)

    async def work(store):
        first = await store.take("f0")
        shutil.rmtree(root / "f0")
        shutil.copytree(made / "f1", root / "f0")
        second = await store.take("f0")
        assert second is not first and second.key != first.key
        assert {first.key, second.key} == set(store.bank.names)
        assert not torch.equal(first.injection.key_values.tensor, second.injection.key_values.tensor)
        store.give_back(first)
        assert store.bank.names == (second.key,)
        store.give_back(second)

    run(store, work)
    assert store.names == ("f0",) and store.metrics.evictions._value.get() == 0


def test_a_replacement_may_be_of_another_task(root):
    save(loud(tagger("bert", "v2-random")), root, "tags")
    store = store_of(root)

    async def work(store):
        await use(store, "f0")
        shutil.rmtree(root / "f0")
        (root / "tags").rename(root / "f0")
        async with store.using("f0") as resident:
            assert resident.card.answer == "tags" and store.cards["f0"].task == "tagging"

    run(store, work)


def test_one_that_is_broken_is_read_once_until_it_changes(root, made, monkeypatch):
    os.truncate(root / "f0/weights.safetensors", 40)
    read, calls = storage.read, []
    monkeypatch.setattr(storage, "read", lambda folder: calls.append(1) or read(folder))
    store = store_of(root)

    async def work(store):
        for _ in range(3):
            with pytest.raises(Refusal, match="truncated or was changed|sha256"):
                await use(store, "f0")
        assert len(calls) == 1
        shutil.copy(made / "f0/weights.safetensors", root / "f0/weights.safetensors")
        await use(store, "f0")

    run(store, work)
    assert store.names == ("f0",)


def test_one_that_is_deleted_in_use_goes_on_for_those_who_have_it(root):
    store = store_of(root)

    async def work(store):
        held = await store.take("f0")
        shutil.rmtree(root / "f0")
        with pytest.raises(Refusal, match="gone from the disk") as error:
            await store.take("f0")
        assert error.value.status == 404 and held.key in store.bank.names
        store.give_back(held)
        assert held.key not in store.bank.names

    run(store, work)


def test_many_who_ask_at_once_load_it_once(root):
    store = store_of(root)
    run(store, lambda s: asyncio.gather(*(use(s, "f0") for _ in range(20))))
    assert store.metrics.loads._value.get() == 1


def test_loading_does_not_hold_the_event_loop(root, monkeypatch):
    read = storage.read
    monkeypatch.setattr(storage, "read", lambda folder: time.sleep(2) or read(folder))
    store = store_of(root)

    async def work(store):
        loading = asyncio.create_task(use(store, "f0"))
        longest, last = 0.0, time.perf_counter()
        while not loading.done():
            await asyncio.sleep(0.005)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
        return longest

    assert run(store, work) < 1.5, "a busy machine gets some grace; held by the sleep it would be 2 s"


def test_an_artifact_that_is_replaced_while_it_is_read_is_read_again(root, made, monkeypatch):
    read, calls = storage.read, []

    def replaced(folder):
        calls.append(1)
        artifact = read(folder)
        if len(calls) == 1:
            shutil.rmtree(root / "f0")
            shutil.copytree(made / "f2", root / "f0")
        return artifact

    monkeypatch.setattr(storage, "read", replaced)
    store = store_of(root)

    async def work(store):
        async with store.using("f0") as resident:
            return resident.foreword.manifest.weights_sha256

    # the card was read before the replacement, and the version after it
    assert run(store, work) == read_manifest(made / "f2").weights_sha256
    assert len(calls) == 2


def test_an_artifact_between_two_renames_is_waited_for(root, made, monkeypatch):
    read, calls = storage.read, []
    shutil.copytree(made / "f2", root / ".new")

    def gone_for_a_moment(folder):
        calls.append(1)
        if len(calls) == 1:
            folder.rename(root / ".gone")
            threading.Timer(0.02, lambda: (root / ".new").rename(folder)).start()
        return read(folder)

    monkeypatch.setattr(storage, "read", gone_for_a_moment)

    async def work(store):
        async with store.using("f0") as resident:
            return resident.foreword.manifest.weights_sha256

    assert run(store_of(root), work) == read_manifest(made / "f2").weights_sha256


def test_what_is_served_goes_on_being_served_when_it_cannot_be_loaded_anew(root):
    store = store_of(root)

    async def work(store):
        card = store.cards["f0"]
        await use(store, "f0")
        whole = (root / "f0" / "weights.safetensors").read_bytes()
        (root / "f0" / "weights.safetensors").write_bytes(whole[:-9])
        with pytest.raises(Refusal):
            await store.add("f0")
        assert store.cards["f0"].folder == card.folder
        (root / "f0" / "weights.safetensors").write_bytes(whole)
        await use(store, "f0")

    run(store, work)


def test_what_is_pinned_stays_pinned_over_a_replacement_that_fails(root, monkeypatch):
    monkeypatch.setattr("foreword.serving.store.ROOM_SECONDS", 0.05)
    store = store_of(root)

    async def work(store):
        await store.pin(["f0"])
        whole = (root / "f0" / "weights.safetensors").read_bytes()
        (root / "f0" / "weights.safetensors").write_bytes(whole[:-9])
        with pytest.raises(Refusal):
            await use(store, "f0")
        (root / "f0" / "weights.safetensors").write_bytes(whole)
        await use(store, "f0")
        store.limit = len(whole) + 9  # room for one
        with pytest.raises(Refusal, match="full of those in use"):
            await use(store, "f1")
        assert store.names == ("f0",)

    run(store, work)


def test_a_name_that_is_not_utf8_is_refused_in_letters_that_can_be_shown(root):
    os.mkdir(os.fsencode(root) + b"/caf\xe9")
    for name in ("foreword.json", "weights.safetensors"):
        shutil.copy(root / "f0" / name, os.fsencode(root) + b"/caf\xe9/" + name.encode())
    [(name, reason)] = [pair for pair in cards.scan(root).refused.items() if "caf" in pair[0]]
    assert name.encode() and "UTF-8" in reason


def test_run_time_loading_stays_below_the_folder(root, made, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    shutil.copytree(made / "f0", outside / "f0")
    shutil.copytree(made / "foreign", root / "foreign")
    store = store_of(root)
    shutil.copytree(made / "f0", root / "later")
    (root / "way-out").symlink_to(outside, target_is_directory=True)

    async def work(store):
        assert (await store.add("later")).name == "later"
        for path in ("../" + outside.name + "/f0", str(outside / "f0"), "way-out/f0", "f0/../../x"):
            with pytest.raises(Refusal, match="leads out"):
                await store.add(path)
        with pytest.raises(Refusal, match="no foreword.json"):
            await store.add("nothing")
        with pytest.raises(Refusal, match="another model"):
            await store.add("foreign")
        store.reserved = "later"
        with pytest.raises(Refusal, match="the model itself"):
            await store.add("later")
        await use(store, "later")

    run(store, work)
    store.drop("later")
    assert "later" not in store.cards and not store.bank.names
    with pytest.raises(Refusal, match="not served"):
        store.drop("later")


@pytest.mark.slow
def test_ten_thousand_forewords_are_found_in_ten_seconds(made, tmp_path):
    for number in range(10_000):
        folder = tmp_path / f"{number % 100:02}" / str(number)
        folder.mkdir(parents=True)
        for name in ("foreword.json", "weights.safetensors"):
            os.link(made / "f0" / name, folder / name)
    began = time.process_time()  # of this process alone: the machine may be busy with others
    store = store_of(tmp_path)
    assert len(store.cards) == 10_000 and time.process_time() - began < 10
