"""The HTTP interface: shapes, limits, errors, keys, and clients that go."""

import base64
import json
import shutil
import socket
import threading
import time

import httpx
import numpy as np
import pytest

from foreword import api
from foreword.config import GenerationOptions
from foreword.errors import ConfigError
from foreword.serving.guard import Guard
from foreword.serving.limits import Limits
from foreword.serving.metrics import Metrics
from foreword.serving.run import check_host
from support.backbones import tiny
from support.forewords import ROWS
from support.spots import QUESTIONS, SENTENCES

from . import conftest
from .conftest import SOURCES, get, running

CHAT, TEXT, LABELS = "/v1/chat/completions", "/v1/completions", "/v1/classify"


def post(url, path, /, **body):
    return conftest.post(url + path, json=body, timeout=60)


def error(answer, status, match=""):
    assert answer.status_code == status, answer.text
    told = answer.json()["error"]
    assert set(told) == {"message", "type", "param", "code"} and match in told["message"], told
    return told


def events(url, path, **body):
    """What a stream says, up to its end."""
    with conftest.stream("POST", url + path, json={"stream": True, **body}, timeout=60) as answer:
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_models_have_their_parents(writing):
    url, service = writing
    found = get(url + "/v1/models").json()["data"]
    base, *others = found
    assert base["id"] == base["root"] == "llama" and base["parent"] is None
    assert {one["id"] for one in others} == set(service.store.cards) and len(others) == len(conftest.WRITERS) + 1
    assert all(one["parent"] == "llama" and one["created"] > 1.7e9 and one["object"] == "model" for one in others)
    assert get(url + "/v1/models/judge").json()["answer"] == "class"
    assert get(url + "/v1/models/llama").json() == base
    assert error(get(url + "/v1/models/nobody"), 404)["code"] == "model_not_found"


def test_states_and_versions(writing):
    url, _ = writing
    assert get(url + "/health").json() == {"alive": True}
    assert get(url + "/ready").json() == {"ready": True}
    assert set(get(url + "/version").json()) == {"version", "torch"}
    paths = get(url + "/openapi.json").json()["paths"]
    assert {CHAT, TEXT, LABELS, "/v1/embeddings", "/v1/models", "/metrics", "/ready"} <= set(paths)


def test_an_answer_is_what_the_foreword_writes(writing, writers):
    url, _ = writing
    for name in ("lora", "v2-random"):
        expected = api.load(writers / name, tiny("llama")).write(list(SOURCES))
        for text, right in zip(SOURCES, expected, strict=True):
            whole = post(url, TEXT, model=name, prompt=text).json()
            assert whole["object"] == "text_completion" and whole["choices"][0]["text"].strip() == right
            chat = post(url, CHAT, model=name, messages=[{"role": "user", "content": text}]).json()
            assert chat["choices"][0]["message"]["content"].strip() == right
        several = post(url, TEXT, model=name, prompt=list(SOURCES)).json()["choices"]
        assert [one["text"].strip() for one in several] == expected
        assert [one["index"] for one in several] == [0, 1, 2, 3]
        fields = post(url, TEXT, model=name, inputs={"source": SOURCES[0]}).json()
        assert fields["choices"][0]["text"].strip() == expected[0]


def test_a_stream_says_what_the_whole_answer_says(writing):
    url, _ = writing
    body = {
        "model": "v2-random",
        "prompt": SOURCES[0],
        "n": 3,
        "temperature": 1.2,
        "seed": 4,
        "max_tokens": 9,
        "logprobs": 2,
    }
    whole = post(url, TEXT, **body).json()
    chunks = events(url, TEXT, stream_options={"include_usage": True}, **body)
    assert chunks[-1]["usage"] == whole["usage"] and whole["usage"]["completion_tokens"] > 3
    assert len({choice["text"] for choice in whole["choices"]}) > 1
    for choice in whole["choices"]:
        own = [one for chunk in chunks for one in chunk["choices"] if one["index"] == choice["index"]]
        assert "".join(one["text"] for one in own) == choice["text"]
        assert own[-1]["finish_reason"] == choice["finish_reason"] in ("stop", "length")
        told = [token for one in own for token in one["logprobs"]["tokens"]]
        assert told == choice["logprobs"]["tokens"]
        assert all(1 <= len(top) <= 2 for top in choice["logprobs"]["top_logprobs"])
        assert all(value <= 0 for value in choice["logprobs"]["token_logprobs"])


def test_a_chat_stream_begins_with_its_role(writing):
    url, _ = writing
    body = {"model": "hard", "messages": [{"role": "user", "content": [{"type": "text", "text": "good"}]}]}
    chunks = events(url, CHAT, max_tokens=4, logprobs=True, top_logprobs=1, **body)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0]["role"] == "assistant" and all("role" not in delta for delta in deltas[1:])
    assert chunks[0]["object"] == "chat.completion.chunk"
    whole = post(url, CHAT, max_tokens=4, logprobs=True, top_logprobs=1, **body).json()["choices"][0]
    assert "".join(delta["content"] for delta in deltas) == whole["message"]["content"]
    assert all(one["top_logprobs"][0]["logprob"] >= one["logprob"] for one in whole["logprobs"]["content"])


def test_stop_strings_are_cut_off(writing):
    url, _ = writing
    whole = post(url, TEXT, model="llama", prompt="good", max_tokens=20, temperature=0).json()["choices"][0]["text"]
    stop = whole[4:6]
    cut = post(url, TEXT, model="llama", prompt="good", max_tokens=20, temperature=0, stop=stop).json()["choices"][0]
    assert cut["text"] == whole[: whole.index(stop)] and cut["finish_reason"] == "stop"
    streamed = events(url, TEXT, model="llama", prompt="good", max_tokens=20, temperature=0, stop=[stop])
    assert "".join(one["choices"][0]["text"] for one in streamed) == cut["text"]


def test_labels_tags_and_parts_are_those_of_the_foreword(judging, judges):
    url, _ = judging
    texts = [row["text"] for row in ROWS]
    for name in ("labels/v2-random", "labels/lora", "labels/words"):
        folder = judges / name
        right = api.load(folder / "artifact" if name.endswith("words") else folder, tiny("bert")).predict(texts)
        found = post(url, LABELS, model=name, input=texts).json()["data"]
        assert [one["label"] for one in found] == [one.label for one in right]
        for one, other in zip(found, right, strict=True):
            assert one["probabilities"] == pytest.approx(other.probabilities, abs=1e-5)
    tagger = api.load(judges / "tags/lora", tiny("bert"))
    words = [list(row["tokens"]) for row in SENTENCES]
    for one, other in zip(
        post(url, LABELS, model="tags/lora", input=words).json()["data"], tagger.tag(words), strict=True
    ):
        assert one["words"] == list(other.words) and one["tags"] == list(other.tags)
        assert [(span["type"], span["text"]) for span in one["spans"]] == other.spans
    finder = api.load(judges / "spans/lora", tiny("bert"))
    asked = [{key: row[key] for key in ("context", "question")} for row in QUESTIONS]
    for one, other in zip(
        post(url, LABELS, model="spans/lora", input=asked).json()["data"], finder.find(asked), strict=True
    ):
        assert (one["text"], one["start"], one["end"]) == (other.text, other.start, other.end)
        assert one["probability"] == pytest.approx(other.probability, abs=1e-5)
    single = post(url, LABELS, model="labels/lora", input="good").json()
    assert len(single["data"]) == 1 and single["usage"]["prompt_tokens"] > 2


def test_embeddings_are_of_unit_length_in_both_encodings(judging):
    url, _ = judging
    plain = post(url, "/v1/embeddings", model="bert", input=["good", "a bad film"]).json()
    coded = post(url, "/v1/embeddings", model="bert", input=["good", "a bad film"], encoding_format="base64").json()
    for one, other in zip(plain["data"], coded["data"], strict=True):
        vector = np.frombuffer(base64.b64decode(other["embedding"]), "<f4")
        assert one["embedding"] == vector.tolist() and np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    under = post(url, "/v1/embeddings", model="labels/v2-random", input="good").json()["data"][0]["embedding"]
    assert under != plain["data"][0]["embedding"]


@pytest.mark.parametrize(
    ("path", "body", "status", "match"),
    [
        (CHAT, {"model": "nobody", "messages": [{"role": "user", "content": "x"}]}, 404, "not served"),
        (CHAT, {"model": "judge", "messages": [{"role": "user", "content": "x"}]}, 400, "use /v1/classify"),
        (CHAT, {"model": "lora", "messages": []}, 400, "messages"),
        (CHAT, {"model": "lora", "messages": [{"role": "system", "content": "x"}]}, 400, "one message"),
        (CHAT, {"model": "lora", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "messages"),
        (TEXT, {"model": "llama", "prompt": "x", "tools": [{}]}, 400, "tools is not served"),
        (TEXT, {"model": "llama", "prompt": "x", "echo": True}, 400, "echo is not served"),
        (TEXT, {"model": "llama", "prompt": "x", "max_tokens": 0}, 400, "max_tokens"),
        (TEXT, {"model": "llama", "prompt": "x", "max_tokens": 500}, 400, "llama has 96"),
        (TEXT, {"model": "llama", "prompt": "good " * 500}, 400, "the prompt has"),
        (TEXT, {"model": "llama", "prompt": "x", "temperatur": 1}, 400, "temperatur"),
        (TEXT, {"model": "llama", "prompt": "x", "n": 99}, 413, "n is at most"),
        (TEXT, {"model": "llama", "prompt": ["x"] * 129}, 413, "129 inputs"),
        (TEXT, {"model": "llama", "prompt": "\ud800"}, 400, "unicode"),
        (TEXT, {"model": "llama", "prompt": "x", "stop": ""}, 400, "empty stop"),
        (TEXT, {"model": "llama"}, 400, "there is no prompt"),
        (TEXT, {"model": "lora", "inputs": {"other": "x"}}, 400, "lacks the text field 'source'"),
        (TEXT, {"model": "lora", "inputs": {"source": "x", "tone": "y"}}, 400, "reads no field 'tone'"),
        (TEXT, {"model": "lora", "prompt": "x", "inputs": {"source": "x"}}, 400, "not both"),
        (TEXT, {"model": "llama", "prompt": "x", "stop": "x" * 257}, 400, "stop"),
        (LABELS, {"model": "judge", "input": [{"text": "x", "more": "y"}]}, 400, "reads no field 'more'"),
        (TEXT, {"model": 3, "prompt": "x"}, 400, "model"),
        (LABELS, {"model": "judge", "input": []}, 400, "no input"),
        (LABELS, {"model": "judge", "input": ["x"] * 129}, 413, "129 inputs"),
        (LABELS, {"model": "judge", "input": [["a", "b"]]}, 400, "1 text(s)"),
        (LABELS, {"model": "judge", "input": "\udcff"}, 400, "unicode"),
        (LABELS, {"model": "lora", "input": "x"}, 400, "writes texts"),
        (LABELS, {"model": "llama", "input": "x"}, 400, "no labels"),
        ("/v1/embeddings", {"model": "llama", "input": "x", "dimensions": 3}, 400, "dimensions"),
        ("/v1/load_foreword", {"path": "../x"}, 400, "leads out"),
        ("/v1/unload_foreword", {"model": "nobody"}, 404, "not served"),
        ("/v1/nowhere", {}, 404, ""),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(writing, path, body, status, match):
    url, _ = writing
    answer = conftest.post(
        url + path, content=json.dumps(body), headers={"content-type": "application/json"}, timeout=60
    )
    error(answer, status, match)


@pytest.mark.parametrize("content", ["{", "[]", '"x"', "null", "", "[" * 50_000, '{"model": NaN}', "\xff"])
def test_a_body_that_is_no_request_is_a_400(writing, content):
    url, _ = writing
    for path in (CHAT, LABELS, "/v1/embeddings"):
        body = content.encode("latin-1")
        error(conftest.post(url + path, content=body, headers={"content-type": "application/json"}, timeout=60), 400)


def test_another_verb_is_a_405(writing):
    error(get(writing[0] + CHAT), 405)


def test_a_host_of_another_name_is_refused(writing):
    url, _ = writing
    error(get(url + "/v1/models", headers={"host": "evil.example"}), 403, "this machine")
    assert get(url + "/v1/models", headers={"host": "localhost:1"}).status_code == 200


def test_a_key_is_demanded_where_there_is_one(judges):
    with running(judges, "bert", keys=("right", "other")) as (url, _):
        for given in (
            {},
            {"authorization": "Bearer wrong"},
            {"authorization": "right"},
            {"authorization": "Basic right"},
        ):
            assert error(get(url + "/v1/models", headers=given), 401)["type"] == "authentication_error"
        for key in ("right", "other"):
            assert get(url + "/v1/models", headers={"authorization": f"Bearer {key}"}).status_code == 200
        assert get(url + "/health").status_code == 200
        error(post(url, "/v1/load_foreword", path="x"), 401)
        right = {"authorization": "Bearer right"}
        answer = conftest.post(url + "/v1/load_foreword", json={"path": "x"}, headers=right)
        error(answer, 403, "--runtime-loading")


def test_keys_are_compared_in_constant_time(monkeypatch):
    seen = []
    monkeypatch.setattr("foreword.serving.guard.hmac.compare_digest", lambda a, b: seen.append((a, b)) or a == b)
    guard = Guard(None, Limits(), Metrics(), ["one", "two"], True)
    guard._check("/v1/models", {b"authorization": b"Bearer one"})
    assert seen == [(b"one", b"one"), (b"one", b"two")]


def test_beyond_this_machine_a_key_or_a_word_is_needed():
    for host in ("127.0.0.1", "localhost", "::1"):
        check_host(host, [], False)
    check_host("0.0.0.0", ["key"], False)
    check_host("0.0.0.0", [], True)
    with pytest.raises(ConfigError, match="no key"):
        check_host("0.0.0.0", [], False)


def test_limits_of_bodies_and_of_the_queue(judges):
    limits = Limits(body_bytes=2000, queue=3, body_seconds=0.3)
    with running(judges, "bert", limits=limits) as (url, service):
        error(post(url, LABELS, model="labels/lora", input="x" * 3000), 413, "larger than 2,000")
        chunks = iter([b"x" * 1500, b"x" * 1500])
        assert conftest.post(url + LABELS, content=chunks).status_code == 413
        answer = post(url, LABELS, model="labels/lora", input=["good"] * 4)
        assert error(answer, 429, "waiting already")["type"] == "rate_limit_error" and answer.headers["retry-after"]
        assert post(url, LABELS, model="labels/lora", input=["good"] * 3).status_code == 200
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as slow:
            slow.sendall(f"POST {LABELS} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 100\r\n\r\n{{".encode())
            assert b"408" in slow.recv(1000)
        with socket.create_connection((host, int(port)), timeout=10) as silent:
            silent.sendall(b"POST /v1/cl")  # and no more
            assert silent.recv(1000) == b""
        with socket.create_connection((host, int(port)), timeout=10) as again:
            again.sendall(f"GET /health HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
            assert b"200 OK" in again.recv(1000)
            again.sendall(b"GET /hea")  # and no more of a second one
            while again.recv(1000):
                pass
        assert service.engine.ready


def test_a_passage_that_would_make_a_pass_of_any_size_is_refused(judges):
    with running(judges, "bert", limits=Limits(passage_characters=64)) as (url, _):
        short = {"question": "what was good?", "context": "The film was good."}
        assert post(url, LABELS, model="spans/lora", input=[short]).status_code == 200
        long = {**short, "context": "The film was good. " * 5}
        error(post(url, LABELS, model="spans/lora", input=[long]), 413, "read in windows")


def test_what_is_loaded_at_run_time(writing, writers):
    url, service = writing
    shutil.copytree(writers / "lora", writers / "later")
    shutil.copytree(writers / "lora", writers / service.base)
    try:
        assert error(post(url, "/v1/load_foreword", path=service.base), 400, "the model itself")
        assert error(post(url, TEXT, model="later", prompt="x"), 404)
        assert post(url, "/v1/load_foreword", path="later").json()["id"] == "later"
        assert post(url, TEXT, model="later", prompt="good").status_code == 200
        assert post(url, "/v1/unload_foreword", model="later").json()["deleted"]
        assert error(post(url, TEXT, model="later", prompt="x"), 404)
    finally:
        shutil.rmtree(writers / "later")
        shutil.rmtree(writers / service.base)


def test_a_client_that_goes_frees_its_slot(writers, endless):
    """Streaming or not: what nobody reads any more is not written on."""
    with running(writers, "llama", limits=Limits(slots=1)) as (url, service):
        slow = service.engine.decoder._step
        service.engine.decoder._step = lambda group: (time.sleep(0.05), slow(group))
        body = {"model": "llama", "prompt": "good", "max_tokens": 80, "temperature": 1.9, "n": 1}
        with conftest.stream("POST", url + TEXT, json={**body, "stream": True}, timeout=60) as answer:
            next(answer.iter_lines())
        wait_idle(service)
        with pytest.raises(httpx.ReadTimeout):
            conftest.post(url + TEXT, json=body, timeout=0.3)
        wait_idle(service)
        assert service.metrics.generation_tokens._value.get() < 100
        assert post(url, TEXT, **{**body, "max_tokens": 2}).status_code == 200


def wait_idle(service):
    deadline = time.monotonic() + 10
    while not service.engine.idle:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_reader_that_sleeps_holds_nobody(writers):
    with running(writers, "llama") as (url, service):
        host, port = url.removeprefix("http://").split(":")
        sleepers = []
        for _ in range(8):
            body = json.dumps({"model": "llama", "prompt": "good", "max_tokens": 80, "stream": True}).encode()
            one = socket.create_connection((host, int(port)), timeout=10)
            head = f"POST {TEXT} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
            one.sendall(head.encode() + f"content-length: {len(body)}\r\n\r\n".encode() + body)
            sleepers.append(one)
        assert post(url, TEXT, model="lora", prompt="good").status_code == 200
        wait_idle(service)
        for one in sleepers:
            one.close()


def test_no_text_of_a_request_is_logged(writing, caplog, capfd):
    url, service = writing
    secret = "wonderful-evening-secret"
    with caplog.at_level("DEBUG"):
        post(url, TEXT, model="lora", prompt=secret)
        post(url, TEXT, model=secret, prompt=secret)
        post(url, CHAT, model="lora", messages=secret)
        get(f"{url}/{secret}")
    ours = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert secret not in "".join(record.getMessage() for record in ours) + "".join(capfd.readouterr())
    assert secret not in service.metrics.text().decode()


def test_figures_are_told_to_prometheus(writing):
    url, _ = writing
    post(url, TEXT, model="lora", prompt="good")
    answer = get(url + "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    for name in (
        "num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "prompt_tokens_total",
        "batch_size_bucket",
        "generation_tokens_total", "time_to_first_token_seconds_bucket", "inter_token_latency_seconds_bucket",
        "e2e_request_latency_seconds_bucket", "request_queue_time_seconds_bucket", "batch_forewords_bucket",
        "batch_padding_ratio_bucket", "foreword_loads_total", "foreword_evictions_total", "forewords_resident_bytes",
    ):  # fmt: skip
        assert f"foreword:{name}" in answer.text
    assert "model=" not in answer.text


def test_many_clients_at_once_get_their_own_answers(writing, writers):
    url, _ = writing
    names = ("lora", "v2-random", "prompt-text", "adapter-houlsby", "full")
    right = {name: api.load(writers / name, tiny("llama")).write(list(SOURCES)) for name in names}
    wrong, client = [], httpx.Client(base_url=url, timeout=60, verify=False)

    def ask(number):
        name, text = names[number % len(names)], number % len(SOURCES)
        found = client.post(TEXT, json={"model": name, "prompt": SOURCES[text]}).json()["choices"][0]["text"].strip()
        if found != right[name][text]:
            wrong.append((name, text, found))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.close()
    assert wrong == []


def test_a_model_that_writes_nothing_says_so(judging):
    error(post(judging[0], TEXT, model="bert", prompt="x"), 400, "a masked model")


def test_beam_search_is_refused_by_name():
    from foreword.serving.problems import Refusal
    from foreword.serving.prompts import options_of
    from foreword.serving.schema import CompletionRequest

    own = GenerationOptions(num_beams=3, max_new_tokens=5)
    with pytest.raises(Refusal, match="beam search"):
        options_of(CompletionRequest(model="m", prompt="x"), own, 9)
    chosen = options_of(CompletionRequest(model="m", prompt="x", temperature=0, top_p=0.5), own, 9)
    assert chosen == GenerationOptions(max_new_tokens=5)
    drawn = options_of(CompletionRequest(model="m", prompt="x", seed=3), None, 9)
    assert drawn == GenerationOptions(max_new_tokens=9, do_sample=True, temperature=1.0, seed=3)


def test_a_chat_is_the_models_own_template_and_a_message_is_only_text():
    from foreword.serving.problems import Refusal
    from foreword.serving.prompts import row_of_chat
    from foreword.serving.schema import Message

    backbone = tiny("llama")
    turns = [("user", "The film was great."), ("assistant", "good"), ("user", "Is it good?")]
    messages = [Message(role=role, content=text) for role, text in turns]
    own = backbone.tokenizer.apply_chat_template(
        [{"role": role, "content": text} for role, text in turns], add_generation_prompt=True, tokenize=False
    )
    row = row_of_chat(backbone, messages)
    assert list(row.ids) == backbone.tokenizer(own, add_special_tokens=False)["input_ids"]
    end = backbone.tokenizer.eos_token
    sly = row_of_chat(backbone, [Message(role="user", content=f"good{end}bad")])
    plain = row_of_chat(backbone, [Message(role="user", content="good")])
    assert sly.ids.count(backbone.tokenizer.eos_token_id) == plain.ids.count(backbone.tokenizer.eos_token_id)
    with pytest.raises(Refusal, match="no chat template"):
        row_of_chat(tiny("gpt2"), messages)
