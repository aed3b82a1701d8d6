"""The writer of this machine, on a tiny random model."""

from __future__ import annotations

import pytest

from foreword.bank import Bank
from foreword.errors import ConfigError, Unsupported
from foreword.stories.writers import Draft, Request
from foreword.stories.writers.drawing import Drawing
from foreword.stories.writers.local import LocalWriter
from support.backbones import shared


def writer(**more: object) -> LocalWriter:
    return LocalWriter(Bank(shared("gpt2")), **more)


def ask(who: LocalWriter, *requests: Request) -> list[Draft]:
    found: dict[int, Draft] = {}
    tokens: list[int] = []
    who.write(requests, found.__setitem__, tokens.append)
    assert sum(tokens) == sum(draft.tokens for draft in found.values())
    return [found[number] for number in range(len(requests))]


def request(seed: int, **more: object) -> Request:
    return Request(**{"prompt": "the story was good", "seed": seed, "least": 4, "most": 9, **more})


def test_a_text_depends_on_its_seed_and_not_on_its_neighbours():
    one, two, three = ask(writer(), request(1), request(2), request(1, lead=" it was"))
    assert [one.text] == [ask(writer(batch=1), request(1))[0].text]
    assert [d.text for d in ask(writer(batch=2), request(2), request(1))] == [two.text, one.text]
    assert len({one.text, two.text, three.text}) == 3


def test_a_text_has_at_least_and_at_most_so_many_tokens():
    per_word = writer()._per_word("the story was good")
    drafts = ask(writer(), *(request(seed, least=6, most=9) for seed in range(8)))
    assert all(int(6 * per_word) <= draft.tokens <= int(9 * per_word * 1.15) for draft in drafts)
    assert {draft.finished for draft in ask(writer(), request(1, least=9, most=9))} <= {"length", "end"}


def drawn(monkeypatch) -> list[Drawing]:
    """All texts that are begun from now on."""
    made: list[Drawing] = []
    begin = Drawing.__init__

    def begun(text, *args, **kwargs):
        begin(text, *args, **kwargs)
        made.append(text)

    monkeypatch.setattr(Drawing, "__init__", begun)
    return made


def test_no_run_of_tokens_comes_twice(monkeypatch):
    made = drawn(monkeypatch)

    def again(ngram: int) -> int:
        made.clear()
        ask(
            writer(no_repeat_ngram_size=ngram, temperature=0.05, repetition_penalty=1.0),
            *(request(seed, least=15, most=20) for seed in range(4)),
        )
        return sum(len(row) - 1 - len(set(zip(row, row[1:], strict=False))) for row in (text.ids for text in made))

    assert again(0) > 0
    assert again(2) == 0


def test_a_request_beyond_the_context_is_told():
    who = writer()
    room = who.capacity("the story was good")
    assert 0 < room < 96
    assert ask(who, request(1, least=0, most=room))
    with pytest.raises(ConfigError, match="planned parts"):
        ask(who, request(1, least=0, most=room * 3))
    assert who.capacity("the story was good " * 90) == 0


def test_control_tokens_in_a_prompt_and_masked_models_are_refused():
    with pytest.raises(ConfigError, match="control token"):
        ask(writer(), request(1, prompt=f"a story {shared('gpt2').tokenizer.eos_token}"))
    with pytest.raises(Unsupported, match="masked"):
        LocalWriter(Bank(shared("bert")))


def test_an_interrupt_gives_what_is_there(monkeypatch):
    who, found = writer(), {}
    calls = []

    def advance(tokens: int) -> None:
        calls.append(tokens)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        who.write([request(1), request(2)], found.__setitem__, advance)
    assert [draft.finished for draft in found.values()] == ["interrupted", "interrupted"]
    assert all(draft.tokens == 3 for draft in found.values())


def test_the_lead_counts_as_text(monkeypatch):
    made = drawn(monkeypatch)
    ask(writer(no_repeat_ngram_size=1, temperature=0.05), request(1, lead=" it was the story", least=15, most=20))
    lead = shared("gpt2").tokenizer(" it was the story", add_special_tokens=False)["input_ids"]
    [taken] = [text.ids for text in made]
    assert len(taken) == len(set(taken)) and not set(taken) & set(lead)
    monkeypatch.setattr(LocalWriter, "_text_ids", lambda who, text: [5, 6, 7])
    made.clear()
    ask(writer(no_repeat_ngram_size=1, temperature=0.05), request(1, lead=" it was the story", least=3, most=4))
    assert made[0].ids and not {5, 6, 7} & set(made[0].ids)


def test_a_penalty_makes_tokens_rarer_that_are_there():
    def distinct(penalty: float) -> int:
        who = writer(repetition_penalty=penalty, no_repeat_ngram_size=0, temperature=0.05)
        drafts = ask(who, *(request(seed, least=15, most=20) for seed in range(4)))
        return sum(len(set(draft.text.split())) for draft in drafts)

    assert distinct(3.0) > distinct(1.0)
