"""`foreword serve`: what it says, how it ends, and the mistakes that it tells."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from foreword.cli.main import app
from foreword.serving import demo
from foreword.serving.cards import scan
from foreword.serving.run import backbone_for
from support.folders import model_folder

from .conftest import get, judge, post, save, stream, writer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model on disk, and a foreword that names it."""
    root = tmp_path_factory.mktemp("served")
    model = model_folder(root / "model", "llama")
    made = writer("lora")
    made.backbone.name, before = str(model), made.backbone.name
    try:
        save(made, root / "forewords", "lora")
    finally:
        made.backbone.name = before
    return root


class Process:
    """`foreword serve` in a process of its own."""

    def __init__(self, *arguments):
        command = [sys.executable, "-m", "foreword", "serve", *map(str, arguments), "--port", "0"]
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command, env=environment, text=True, **pipes)
        self.url = self.process.stdout.readline().removeprefix("serving at ").strip()
        assert self.url.startswith("http://127.0.0.1:"), self.process.stderr.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=30)


@pytest.mark.slow
def test_sigterm_under_load_finishes_or_fails_each_request(folder):
    with Process(folder / "forewords", "--grace", "3", "--slots", "2") as server:
        codes, ends = [], []

        def ask():
            body = {"model": "lora", "prompt": "good", "temperature": 1.9, "max_tokens": 60}
            codes.append(post(f"{server.url}/v1/completions", json=body, timeout=60).status_code)

        def read():
            body = {"model": "model", "prompt": "good", "temperature": 1.9, "max_tokens": 90, "stream": True}
            with stream("POST", f"{server.url}/v1/completions", json=body, timeout=60) as answer:
                ends.append(answer.read().decode().rstrip())

        assert get(f"{server.url}/v1/models").json()["data"][1]["parent"] == "model"
        threads = [threading.Thread(target=one) for one in (ask, read) * 6]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(60)
        assert len(codes) + len(ends) == 12  # nobody was left without an end
        assert set(codes) <= {200, 503} and all(end.endswith("[DONE]") or "stopping" in end for end in ends)
        assert server.process.wait(30) == 0
        assert server.process.stderr.read() == ""


@pytest.mark.slow
def test_after_a_kill_it_serves_again(folder):
    with Process(folder / "forewords") as server:
        server.process.kill()
    with Process(folder / "forewords") as server:
        assert post(f"{server.url}/v1/completions", json={"model": "lora", "prompt": "good"}).status_code == 200


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["nowhere"], "no such folder"),
        ([], "or --demo"),
        (["x", "--demo"], "or --demo"),
        (["x", "--host", "0.0.0.0"], "there is no key"),
    ],
)
def test_mistakes_are_told(arguments, match, monkeypatch):
    monkeypatch.delenv("FOREWORD_API_KEY", raising=False)
    ran = CliRunner().invoke(app, ["serve", *arguments])
    assert match in str(ran.exception), ran.output


def test_the_backbone_is_that_of_all_forewords(folder, tmp_path):
    assert backbone_for(scan(folder / "forewords"), None).family == "llama"
    save(judge("bert", "v2-random"), tmp_path, "one")
    save(judge("distilbert", "v2-random"), tmp_path, "two")
    with pytest.raises(Exception, match="forewords for bert, distilbert, and a server has one"):
        backbone_for(scan(tmp_path), None)
    with pytest.raises(Exception, match="no foreword"):
        backbone_for(scan(folder / "model"), None)


def test_the_demo_makes_hard_prompts_and_trains_nothing(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("FOREWORD_CACHE", str(tmp_path))
    sizes = {
        name: {**values, "template": {**values["template"], "max_length": 90}}
        for name, values in demo.FOREWORDS.items()
    }
    monkeypatch.setattr(demo, "FOREWORDS", sizes)
    made, backbone = demo.make(str(folder / "model"))
    assert backbone.family == "llama" and sorted(p.name for p in made.iterdir()) == [
        "answer",
        "french",
        "sentiment",
        "summary",
    ]
    assert all((one / "weights.safetensors").stat().st_size < 1000 for one in made.iterdir())
