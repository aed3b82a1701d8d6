"""What goes wrong while it runs: passes that raise, a thread that ends, artifacts that change, a server that stops."""

import shutil
import threading
import time

import pytest
import torch

from foreword.serving import problems
from foreword.serving.engine import FAULTS, Engine
from foreword.serving.limits import Limits

from .conftest import SOURCES, get, judge, post, running, save, stream
from .hearing import wait_for


def ask(url, **body):
    return post(f"{url}/v1/completions", json={"model": "lora", "prompt": "good", "temperature": 0, **body}, timeout=60)


def fault(answer):
    assert answer.status_code == 500
    assert answer.json()["error"] == {
        "message": "the server failed to compute an answer", "type": "server_error", "param": None,
        "code": "internal_error",
    }  # fmt: skip


def test_a_pass_that_raises_fails_its_requests_and_the_server_goes_on(writers, monkeypatch):
    with running(writers, "llama") as (url, service):
        right = ask(url).json()["choices"][0]["text"]
        bank = type(service.bank)
        for name in ("embeds", "scores"):
            with monkeypatch.context() as broken:
                broken.setattr(bank, name, lambda *a: (_ for _ in ()).throw(RuntimeError("secret")))
                if name == "embeds":
                    fault(ask(url))
                fault(post(f"{url}/v1/classify", json={"model": "judge", "input": "good"}, timeout=60))
        with monkeypatch.context() as broken:
            broken.setattr(service.engine.decoder, "_step", lambda group: (_ for _ in ()).throw(RuntimeError("secret")))
            fault(ask(url))
            with stream(
                "POST", f"{url}/v1/completions", json={"model": "lora", "prompt": "x", "stream": True}
            ) as answer:
                told = answer.read().decode()
            assert "the server failed" in told and "secret" not in told
        assert ask(url).json()["choices"][0]["text"] == right
        wait_for(lambda: get(f"{url}/ready").status_code == 200)  # the answer is told before the round ends
        wait_for(lambda: service.engine.idle)


def test_rounds_that_fail_again_and_again_make_it_not_ready_until_one_succeeds(writers, monkeypatch):
    with running(writers, "llama") as (url, service):
        with monkeypatch.context() as broken:
            broken.setattr(service.engine.decoder, "_step", lambda group: (_ for _ in ()).throw(RuntimeError))
            for _ in range(FAULTS):
                fault(ask(url))
            wait_for(lambda: get(f"{url}/ready").status_code == 503)
            assert get(f"{url}/health").status_code == 200
        assert ask(url).status_code == 200
        wait_for(lambda: get(f"{url}/ready").status_code == 200)


def test_a_thread_that_ends_says_so(writers, monkeypatch):
    with running(writers, "llama") as (url, service):
        monkeypatch.setattr(service.engine, "_round", lambda: (_ for _ in ()).throw(SystemExit))
        fault(ask(url))
        service.engine._thread.join(10)
        assert get(f"{url}/ready").status_code == 503 and get(f"{url}/health").status_code == 503
        answer = ask(url)
        assert answer.status_code == 503 and answer.json()["error"]["code"] == "engine_ended"


def test_an_artifact_replaced_under_load_is_answered_by_one_version_or_the_other(tmp_path):
    save(judge("bert", "v2-random", seed=1), tmp_path, "one")
    save(judge("bert", "v2-random", seed=2), tmp_path, "other")
    with running(tmp_path, "bert") as (url, service):

        def probability(name="one"):
            answer = post(f"{url}/v1/classify", json={"model": name, "input": "good"}, timeout=60)
            assert answer.status_code == 200, answer.text
            return round(answer.json()["data"][0]["probability"], 4)

        before, after = probability(), probability("other")
        assert before != after
        seen, stop = [], threading.Event()

        def load():
            while not stop.is_set():
                seen.append(probability())

        threads = [threading.Thread(target=load) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        shutil.copytree(tmp_path / "other", tmp_path / ".new")
        (tmp_path / "one").rename(tmp_path / ".old")
        (tmp_path / ".new").rename(tmp_path / "one")
        assert probability() == after
        time.sleep(0.2)
        stop.set()
        for thread in threads:
            thread.join()
        assert set(seen) == {before, after} and seen[-1] == after
        wait_for(lambda: len(service.bank.names) == 2)  # the old version is out of memory


def test_stopping_finishes_what_runs_and_refuses_what_comes(writers):
    with running(writers, "llama") as (url, service):
        slow = service.engine.decoder._step
        service.engine.decoder._step = lambda group: (time.sleep(0.02), slow(group))
        answers = []
        body = {"model": "llama", "prompt": "good", "max_tokens": 40, "temperature": 0}
        asking = threading.Thread(target=lambda: answers.append(ask(url, **body)))
        asking.start()
        wait_for(lambda: service.engine.decoder.running)
        service.engine.refuse()
        refused = ask(url)
        assert refused.status_code == 503 and refused.json()["error"]["code"] == "stopping"
        assert get(f"{url}/ready").status_code == 503
        asking.join()
        assert answers[0].status_code == 200


def test_what_does_not_end_in_time_is_told_so(writers, endless):
    with running(writers, "llama") as (url, service):
        slow = service.engine.decoder._step
        service.engine.decoder._step = lambda group: (time.sleep(0.02), slow(group))
        body = {"model": "llama", "prompt": "good", "max_tokens": 80, "temperature": 1.9, "stream": True}
        with stream("POST", f"{url}/v1/completions", json=body, timeout=60) as answer:
            lines = answer.iter_lines()
            next(lines)
            service.engine.stop()
            told = "".join(lines)
        assert '"code": "stopping"' in told and told.endswith("[DONE]")


def test_an_engine_that_stops_tells_what_waits(writers):
    from foreword.bank import Bank
    from foreword.batch import Item
    from foreword.config import GenerationOptions
    from foreword.serving.metrics import Metrics
    from foreword.serving.oneshot import Asking
    from foreword.serving.prompts import row_of_text
    from foreword.serving.writing import Writing
    from support.backbones import tiny

    bank = Bank(tiny("llama"))
    engine, told = Engine(bank, Limits(), Metrics()), []
    row = row_of_text(bank.backbone, SOURCES[0])
    engine.start()
    hold, inside = threading.Event(), threading.Event()
    round_ = engine._round
    engine._round = lambda: (inside.set(), hold.wait(10), round_())
    engine.submit([Asking(Item((row,)), "vector", told.append)])
    engine.submit([Writing(row, None, GenerationOptions(max_new_tokens=50, eos_token_ids=()), told.append)])
    assert inside.wait(10)
    stopping = threading.Thread(target=engine.stop)
    stopping.start()
    wait_for(engine._stop.is_set)
    hold.set()
    stopping.join(10)
    assert not engine.alive and any(isinstance(one, torch.Tensor) for one in told)
    assert isinstance(told[-1], problems.Refusal) and told[-1].status == 503
    with pytest.raises(problems.Refusal, match="stopping"):
        engine.submit([Asking(Item((row,)), "vector", told.append)])
