"""Endpoints: a good one, and every way in which one goes wrong."""

from __future__ import annotations

import json

import pytest

from foreword.config import build
from foreword.errors import ConfigError, ForewordError
from foreword.stories import write
from foreword.stories.writers import Request
from foreword.stories.writers.base import WriterStopped
from foreword.stories.writers.endpoint import KEY, EndpointSettings, EndpointWriter
from support.story_writers import GOOD, SMALL, completion, endpoint

SECRET = "sk-very-secret-123"


@pytest.fixture(autouse=True)
def no_key_and_no_proxy(monkeypatch):
    monkeypatch.delenv(KEY, raising=False)
    monkeypatch.setenv("no_proxy", "*")


def writer(url: str, waits: list[float] | None = None, **more: object) -> EndpointWriter:
    settings = build(EndpointSettings, {"url": url, "model": "big", "timeout": 5, **more})
    return EndpointWriter(settings, wait=(waits if waits is not None else []).append)


def ask(who: EndpointWriter, count: int = 1) -> list:
    found: list = [None] * count
    requests = [Request("Write.", 7, 10, 20) for _ in range(count)]
    who.write(requests, found.__setitem__, lambda tokens: None)
    return found


def test_a_request_says_what_is_wanted_and_the_key_goes_into_its_header_alone(monkeypatch, tmp_path):
    monkeypatch.setenv(KEY, SECRET)
    with endpoint(completion(GOOD)) as (url, seen):
        who = writer(url)
        made = write(SMALL, n=1, writer=who, folder=tmp_path / "run")
    assert made.stories[0].passed and made.stories[0].tokens == 10 and who.tokens == 20
    assert seen[0]["path"] == "/v1/chat/completions"
    assert seen[0]["headers"]["authorization"] == f"Bearer {SECRET}"
    assert seen[0]["body"]["messages"][0]["content"] == made.stories[0].prompt
    assert seen[0]["body"]["model"] == "big" and seen[0]["body"]["max_tokens"] >= 100
    written = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "run").iterdir())
    assert SECRET not in written + repr(vars(who)) + json.dumps(made.to_dict())


def test_a_key_that_comes_back_in_a_story_is_not_kept(monkeypatch):
    monkeypatch.setenv(KEY, SECRET)
    with endpoint(completion(f"The fox said {SECRET}.")) as (url, _):
        assert ask(writer(url))[0].text == "The fox said [key]."


def test_without_a_key_none_is_sent():
    with endpoint(completion(GOOD)) as (url, seen):
        ask(writer(url))
    assert "authorization" not in seen[0]["headers"]


@pytest.mark.parametrize(
    ("answer", "finished"),
    [
        (completion("Half of a", "length"), "length"),
        (completion("Some text.", "content_filter"), "refused"),
        (completion(""), "refused"),
        (completion(None), "refused"),
        (completion("I'm sorry, but I can't help with that."), "refused"),
        (completion("“I'll come,” said the fox."), "end"),
    ],
)
def test_how_an_answer_ended(answer, finished):
    with endpoint(answer) as (url, _):
        assert ask(writer(url))[0].finished == finished


def test_a_cut_off_answer_is_cut_back_to_its_last_sentence():
    with endpoint(completion(GOOD + " And then the", "length")) as (url, _):
        assert write(SMALL, n=1, writer=writer(url)).stories[0].text == GOOD


@pytest.mark.parametrize(
    "garbage",
    [b"", b"<html>hello</html>", b"[]", b"null", b'{"choices": []}', b'{"choices": [{"message": {"content": 3}}]}',
     b'{"choices": [{"message": "x"}]}', b"\xff\xfe", b"[" * 5000],
)  # fmt: skip
def test_garbage_is_told_after_the_retries(garbage):
    waits: list[float] = []
    with endpoint(garbage) as (url, seen):
        [error] = ask(writer(url, waits, retries=1))
    assert isinstance(error, ForewordError) and "no chat completion" in error.what
    assert len(seen) == 2 and waits == [1.0]


def test_usage_that_is_garbage_is_not_counted_on():
    with endpoint(completion("One two three.", usage={"total_tokens": "x", "completion_tokens": -1})) as (url, _):
        who = writer(url)
        assert ask(who)[0].tokens == 3 and who.tokens == 3


def test_an_endpoint_that_hangs_is_left_after_the_time_limit():
    with endpoint(-1) as (url, _):
        [error] = ask(writer(url, timeout=0.2, retries=0))
    assert "no answer within 0.2 s" in error.what


def test_an_endpoint_that_is_not_there():
    [error] = ask(writer("http://127.0.0.1:9/v1", retries=0))
    assert "cannot be reached" in error.what


def test_later_means_later_and_the_wait_is_the_endpoints():
    waits: list[float] = []
    with endpoint((429, {"Retry-After": "7"}, b""), 503, completion(GOOD)) as (url, seen):
        [draft] = ask(writer(url, waits))
    assert draft.text == GOOD and len(seen) == 3 and waits == [7.0, 2.0]
    waits.clear()
    with endpoint((429, {"Retry-After": "100000"}, b""), (429, {"Retry-After": "soon"}, b"")) as (url, _):
        [error] = ask(writer(url, waits, retries=2))
    assert "429" in error.what and waits == [60.0, 2.0]


@pytest.mark.parametrize("status", [401, 403, 404, 400, 302])
def test_what_will_not_change_stops_the_writer_at_once_and_names_no_key(monkeypatch, status):
    monkeypatch.setenv(KEY, SECRET)
    body = json.dumps({"error": {"message": f"key {SECRET} is wrong"}}).encode()
    with endpoint((status, {"Location": "http://127.0.0.1:9/elsewhere"}, body)) as (url, seen):
        with pytest.raises(WriterStopped) as caught:
            ask(writer(url), 3)
    assert len(seen) == 1
    assert SECRET not in str(caught.value) and str(status) in str(caught.value) and "[key]" in str(caught.value)


def test_one_failure_does_not_lose_the_others():
    with endpoint(completion(GOOD), b"garbage", completion(GOOD)) as (url, _):
        made = write(SMALL, n=3, writer=writer(url, retries=0))
    assert len(made.candidates) == 2 and "story 2" in made.failures[0]


@pytest.mark.parametrize(("budget", "told"), [({"max_requests": 2}, "2 requests"), ({"max_tokens": 30}, "30 tokens")])
def test_a_spent_budget_ends_the_run_and_keeps_what_is_there(budget, told):
    with endpoint(completion(GOOD)) as (url, seen):
        made = write(SMALL, n=5, writer=writer(url, **budget))
    assert len(made.candidates) == len(seen) == 2 and told in made.stopped


@pytest.mark.parametrize(
    "url", ["ftp://host/v1", "host/v1", "", "https://user:pass@host/v1", "https://host/v1?key=x", "http://[bad/v1",
            "http://host:99999999/v1", "https://a..b/v1", "https://host/\udcff/v1"],
)  # fmt: skip
def test_addresses_that_are_none(url):
    with pytest.raises(ConfigError, match="address"):
        writer(url)


def test_a_key_does_not_go_over_plain_http_to_another_machine(monkeypatch):
    monkeypatch.setenv(KEY, SECRET)
    with pytest.raises(ConfigError, match="plain http") as caught:
        writer("http://example.test/v1")
    assert SECRET not in str(caught.value)
    assert writer("https://example.test/v1").name == "big at example.test"
    assert writer("http://localhost:1/v1")


def test_a_key_with_a_line_break_is_told_and_not_sent(monkeypatch):
    monkeypatch.setenv(KEY, f"{SECRET}\r\nX-Evil: 1")
    with endpoint(completion(GOOD)) as (url, seen):
        with pytest.raises(WriterStopped, match="white space") as caught:
            ask(writer(url))
    assert seen == [] and SECRET not in str(caught.value)


def test_half_characters_and_control_characters_do_not_come_through(tmp_path):
    with endpoint(completion(GOOD.replace("a treasure", "a\x1b[31m trea\ud800sure\x9b\r\nof\tgold"))) as (url, _):
        made = write(SMALL, n=1, writer=writer(url), folder=tmp_path / "run", repair=False)
    assert "a[31m trea\ufffdsure\nof\tgold" in made.candidates[0].text
    assert "\ufffd" in (tmp_path / "run" / "stories.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("key", [SECRET, "sk-'very\\secret\"/1"])
@pytest.mark.parametrize("status", [200, 404, 500])
def test_no_part_of_a_key_comes_through_where_a_message_is_cut(monkeypatch, key, status):
    monkeypatch.setenv(KEY, key)
    told = "x" * (32 if status == 200 else 194) + key
    body = told.encode() if status == 200 else json.dumps({"error": told}).encode()
    with endpoint((status, {}, body)) as (url, _):
        try:
            [error] = ask(writer(url, retries=0))
        except WriterStopped as stopped:
            error = stopped
    assert "[key]" in str(error) and "sk-" not in str(error)


def test_a_key_that_control_characters_part_is_found(monkeypatch):
    monkeypatch.setenv(KEY, SECRET)
    with endpoint(completion(f"The fox said {SECRET[:5]}\x07{SECRET[5:]}.")) as (url, _):
        assert ask(writer(url))[0].text == "The fox said [key]."


@pytest.mark.parametrize("seconds", [1e300, 90_000])
def test_a_time_limit_beyond_a_day_is_refused(seconds):
    with pytest.raises(ConfigError, match="timeout"):
        writer("http://localhost:1/v1", timeout=seconds)


def test_letters_beyond_ascii_in_a_path_are_spelled_as_bytes():
    with endpoint(completion(GOOD)) as (url, seen):
        assert ask(writer(url.replace("/v1", "/gööd/%20/v1/")))[0].text == GOOD
    assert seen[0]["path"] == "/g%C3%B6%C3%B6d/%20/v1/chat/completions"


@pytest.mark.parametrize("digits", [7, 300, 400, 4000])
def test_usage_that_is_absurd_is_not_counted_on(digits):
    count = 2 * 10**digits
    with endpoint(completion("One two three.", usage={"total_tokens": count, "completion_tokens": count})) as (url, _):
        who = writer(url)
        assert ask(who)[0].tokens == 3 and who.tokens == 3


def test_a_spent_budget_tells_the_last_failure():
    with endpoint((503, {}, b'{"error": "out of paper"}')) as (url, _):
        with pytest.raises(WriterStopped, match="3 requests is spent; the last failure: .* 503: out of paper"):
            ask(writer(url, max_requests=3), 2)
    with endpoint(503, completion(GOOD)) as (url, _):
        with pytest.raises(WriterStopped) as caught:
            ask(writer(url, max_requests=2), 2)
    assert caught.value.what == "the budget of 2 requests is spent"
