"""OpenAI's own Python client against the server."""

import pytest

from foreword import api
from support.backbones import tiny

from .conftest import SOURCES

openai = pytest.importorskip("openai", reason="needs OpenAI's client: pip install openai")


@pytest.fixture(scope="module")
def client(writing):
    with openai.OpenAI(base_url=writing[0] + "/v1", api_key="none", max_retries=0, timeout=60) as made:
        yield made


def test_models(client):
    assert "llama" in [model.id for model in client.models.list()]
    assert client.models.retrieve("lora").id == "lora"
    with pytest.raises(openai.NotFoundError) as error:
        client.models.retrieve("nobody")
    assert error.value.code == "model_not_found"


def test_chats_whole_and_streamed(client, writers):
    right = api.load(writers / "lora", tiny("llama")).write([SOURCES[0]])[0]
    messages = [{"role": "user", "content": SOURCES[0]}]
    whole = client.chat.completions.create(model="lora", messages=messages, logprobs=True, top_logprobs=2)
    assert whole.choices[0].message.content.strip() == right
    assert whole.usage.completion_tokens == len(whole.choices[0].logprobs.content)
    with client.chat.completions.create(
        model="lora", messages=messages, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    assert "".join(one.choices[0].delta.content for one in chunks if one.choices).strip() == right
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens


def test_completions(client):
    made = client.completions.create(model="llama", prompt=["good", "bad"], max_tokens=5, seed=1, n=2, logprobs=1)
    assert [one.index for one in made.choices] == [0, 1, 2, 3]
    assert all(len(one.logprobs.tokens) <= 5 for one in made.choices)
    again = client.completions.create(model="llama", prompt=["good", "bad"], max_tokens=5, seed=1, n=2, logprobs=1)
    assert [one.text for one in again.choices] == [one.text for one in made.choices]


def test_embeddings(client):
    made = client.embeddings.create(model="llama", input=["good", "a bad film"])
    assert [len(one.embedding) for one in made.data] == [32, 32]
    assert sum(x * x for x in made.data[0].embedding) == pytest.approx(1, abs=1e-4)


def test_errors_are_the_clients_own(client):
    messages = [{"role": "user", "content": "good"}]
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="nobody", messages=messages)
    with pytest.raises(openai.BadRequestError, match="tools is not served"):
        client.chat.completions.create(model="lora", messages=messages, tools=[{"type": "function"}])
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.chat.completions.create(model="lora", messages=messages, temperature=9)
