"""Folders of forewords on tiny models, and servers of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import torch

from foreword.artifacts import storage
from foreword.bank import Bank
from foreword.generation.stopping import Stopping
from foreword.serving.api import make_app
from foreword.serving.limits import Limits
from foreword.serving.run import Server, configured
from foreword.serving.service import Service
from support.backbones import shared, tiny
from support.forewords import loud, make
from support.spots import finder, tagger

# certificates are loaded at every call otherwise, which takes longer than most answers
get, post, stream = (partial(call, verify=False) for call in (httpx.get, httpx.post, httpx.stream))
WRITERS = ("hard", "prompt-text", "prompt-both", "v2-random", "v2-layers", "v2-text", "lora", "adapter-houlsby", "full")
JUDGES = ("linear-probe", "prompt-text", "v2-random", "v2-layers", "lora", "adapter-houlsby", "full")
SOURCES = ("The film was great.", "A boring and awful movie, it was not worth the money", "good", "the story was bad")
ROWS = tuple({"source": text, "translation": ("it was wonderful",)} for text in SOURCES)


def save(assembly, root: Path, name: str) -> Path:
    return storage.save(assembly, root / name, name)


def writer(method: str, seed: int = 0, family: str = "llama"):
    readout = {"name": "lm", "max_new_tokens": 8}
    settings = {"task": "translation", "template": "it was a film: {source} means{mask}", "seed": seed}
    made = make(family, method, readout, backbone=shared(family), rows=ROWS, labels=(), **settings)
    with torch.no_grad():  # away from where they begin, so that every one says something else
        generator = torch.Generator().manual_seed(seed + 5)
        for parameter in made.method.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return made


def judge(family: str, method: str, readout: str = "mean", seed: int = 0):
    return loud(make(family, method, readout, backbone=shared(family), seed=seed))


@pytest.fixture
def endless(monkeypatch) -> None:
    """No text ends by a token that it happens to draw: its length ends it, or whoever asked for it."""
    plain = Stopping.__init__

    def begin(self, tokenizer, options):
        plain(self, tokenizer, options)
        self.eos = frozenset()

    monkeypatch.setattr(Stopping, "__init__", begin)


@pytest.fixture(scope="session")
def writers(tmp_path_factory) -> Path:
    """Forewords of a causal model: nine that write, and one that gives labels."""
    root = tmp_path_factory.mktemp("writers")
    for method in WRITERS:
        save(writer(method), root, method)
    save(judge("llama", "v2-random", "last"), root, "judge")
    return root


@pytest.fixture(scope="session")
def judges(tmp_path_factory) -> Path:
    """Forewords of an encoder: labels by several readouts, tags, and parts of texts."""
    root = tmp_path_factory.mktemp("judges")
    for number, method in enumerate(JUDGES):
        save(judge("bert", method, ("mean", "cls", "last")[number % 3], number), root, f"labels/{method}")
    save(judge("bert", "v2-random", "words"), root, "labels/words/artifact")
    for method in ("v2-random", "lora"):
        save(loud(tagger("bert", method)), root, f"tags/{method}")
        save(loud(finder("bert", method)), root, f"spans/{method}")
    return root


@contextmanager
def running(
    root: Path, family: str, keys=(), limits: Limits | None = None, **settings
) -> Iterator[tuple[str, Service]]:
    """A server in a thread, at an address of its own."""
    service = Service(root, Bank(tiny(family)), limits or Limits(), settings.pop("pinned", ()))
    app = make_app(service, keys, **settings)
    addresses: list[str] = []
    up = threading.Event()
    config = configured(app, service.limits, "127.0.0.1", 0)
    config.timeout_graceful_shutdown = 5
    server = Server(config, service, lambda url: (addresses.append(url), up.set()))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert up.wait(60)
        yield addresses[0], service
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()
        assert service.bank.backbone.model.config._attn_implementation == "foreword"


@pytest.fixture(scope="module")
def writing(writers) -> Iterator[tuple[str, Service]]:
    with running(writers, "llama", runtime_loading=True) as made:
        yield made


@pytest.fixture(scope="module")
def judging(judges) -> Iterator[tuple[str, Service]]:
    with running(judges, "bert") as made:
        yield made


@pytest.fixture(scope="session")
def served(writers):
    """A bank with the forewords that write, and each by its name."""
    from .hearing import resident_of

    bank = Bank(tiny("llama"))
    return bank, {name: resident_of(bank, writers, name) for name in WRITERS}
