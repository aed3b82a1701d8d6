"""The playground: the same answers as over the interface, side by side, whole or as they come."""

import json
import time

import pytest

from .conftest import SOURCES, post, stream
from .paging import Page, browse, send


def completion(url, **body):
    answer = post(f"{url}/v1/completions", json={"temperature": 0, **body}, timeout=60)
    return answer.json()["choices"][0]["text"]


def events(url, fields):
    with stream("POST", f"{url}/pages/playground/stream", data=fields, headers={"origin": url}, timeout=60) as answer:
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_answers_are_those_of_the_interface(writing):
    url, service = writing
    text = SOURCES[1]
    fields = {"input": text, "instruction": "Say it", "hard": "1", "who": ["lora", "v2-random", "judge"]}
    page = Page(send(url, "/playground", {**fields, "max_tokens": "6"}).text)
    chat = {"model": "llama", "messages": [{"role": "user", "content": f"Say it\n\n{text}"}], "temperature": 0}
    hard = post(f"{url}/v1/chat/completions", json={**chat, "max_tokens": 6}, timeout=60).json()
    assert hard["choices"][0]["message"]["content"] in page.words
    for name in ("lora", "v2-random"):
        assert completion(url, model=name, prompt=text, max_tokens=6) in page.words
    judged = post(f"{url}/v1/classify", json={"model": "judge", "input": text}, timeout=60).json()["data"][0]
    assert f"{judged['label']}" in page.words and f"{100 * judged['probability']:.1f} %" in page.words
    assert [own["data-side"] for own in page.all("article")] == ["", "lora", "v2-random", "judge"]
    assert page.words.count("tokens in") == 4 and "6 out" in page.words
    assert page.all("svg", role="img")


def test_a_stream_says_the_same_in_pieces(writing):
    url, _ = writing
    fields = {"input": SOURCES[0], "who": ["prompt-both"], "max_tokens": "12", "side": "prompt-both"}
    found = events(url, fields)
    text = "".join(one.get("text", "") for one in found)
    assert text == completion(url, model="prompt-both", prompt=SOURCES[0], max_tokens=12)
    assert len(found) > 4 and "12 out" in found[-1]["html"] and [*found[-1]] == ["html"]
    label = events(url, {"input": "good", "who": "judge", "side": "judge"})
    assert len(label) == 1 and "tokens in" in label[0]["html"]


def test_a_side_that_fails_says_why_and_the_others_answer(writing):
    url, _ = writing
    page = Page(send(url, "/playground", {"input": "good " * 100, "who": ["lora", "nobody", "judge"]}).text)
    assert "is not served here" in page.words and page.words.count("tokens in") >= 1
    assert "at most" not in page.words
    told = events(url, {"input": "good", "who": ["nobody"], "side": "nobody"})
    assert "is not served here" in told[-1]["html"]


def test_whoever_goes_frees_the_slot(writing):
    url, service = writing
    fields = {"input": "good", "hard": "1", "max_tokens": "70", "temperature": "1.9", "side": ""}
    for _ in range(3):
        with stream("POST", f"{url}/pages/playground/stream", data=fields, headers={"origin": url}) as answer:
            next(answer.iter_lines())
    for _ in range(200):
        if service.engine.idle:
            break
        time.sleep(0.02)
    assert service.engine.idle


def test_forewords_are_chosen_by_words_and_stay(writing):
    url, service = writing
    fields = {"input": "x", "who": "judge", "find": "prompt"}
    page = Page(send(url, "/playground/choose", fields).text)
    boxes = page.all("input", type="checkbox")
    assert [own["value"] for own in boxes if "checked" in own] == ["judge"]
    assert {own["value"] for own in boxes} == {"judge", "prompt-text", "prompt-both"}
    assert "No foreword is called so" in send(url, "/playground/choose", {"find": "nobody"}).text
    whole = Page(send(url, "/playground", {**fields, "look": "1", "input": "kept"}).text)
    assert "kept" in whole.words and not whole.all("article")
    shown = Page(browse(url, "/playground?with=lora&with=judge").text)
    assert [own["value"] for own in shown.all("input", name="who") if "checked" in own] == ["lora", "judge"]
    many = "&".join(f"with={name}" for name in service.store.cards)
    assert sum("checked" in own for own in Page(browse(url, f"/playground?{many}").text).all("input", name="who")) == 5


def test_tasks_of_several_fields_get_them_all(judging):
    url, _ = judging
    fields = {"input": "the film was good", "who": "spans/lora"}
    page = Page(send(url, "/playground/choose", fields).text)
    assert page.all("textarea", name="field.question")
    assert "needs a question" in send(url, "/playground", fields).text
    told = Page(send(url, "/playground", {**fields, "field.question": "what was good"}).text)
    body = {"context": fields["input"], "question": "what was good"}
    right = post(f"{url}/v1/classify", json={"model": "spans/lora", "input": body}, timeout=60).json()["data"][0]
    assert f"{100 * right['probability']:.1f} % sure" in told.words and right["text"] in told.words


def test_tags_stand_beside_their_words(judging):
    url, _ = judging
    text = "the good film was in the rain"
    page = Page(send(url, "/playground", {"input": text, "who": "tags/v2-random"}).text)
    right = post(f"{url}/v1/classify", json={"model": "tags/v2-random", "input": text}, timeout=60).json()["data"][0]
    assert len(page.all("span", **{"class": "word"}) + page.all("span", **{"class": "word tagged"})) == 7
    assert len(page.all("span", **{"class": "word tagged"})) == sum(tag != "O" for tag in right["tags"])


def test_a_model_that_writes_nothing_has_no_hard_prompt(judging):
    url, _ = judging
    page = Page(browse(url, "/playground").text)
    assert not page.all("input", id="hard") and "masked model" in page.words
    assert "masked model" in send(url, "/playground", {"input": "good", "hard": "1"}).text
    assert "masked model" in browse(url, "/stories").text
    assert send(url, "/stories", {"topic": "the sea"}).status_code == 400


@pytest.mark.parametrize("labels", [2, 40])
def test_many_labels_are_drawn_as_far_as_it_helps(labels):
    from foreword.serving.pages.asking import LABELS, Answer

    named = {f"label {i}": 1 / labels for i in range(labels)}
    answer = Answer(kind="class", judged={"label": "label 0", "probability": 1 / labels, "probabilities": named})
    assert str(answer.drawing).count('class="bar') == min(labels, LABELS) + 1  # and the figure around them
    assert answer.more == max(0, labels - LABELS)
