"""Continuous batching: under random load, every answer equals its own, in any company."""

import random
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword import api
from foreword.backbone.attention import Prefix
from foreword.batch import Item
from foreword.config import GenerationOptions
from foreword.errors import ConfigError, Unsupported
from foreword.generation import generate
from foreword.serving.attention import Front, Shared, StepPass, attend_step
from foreword.serving.decoding import Decoder, check_writes
from foreword.serving.limits import Limits
from foreword.serving.metrics import Metrics
from foreword.serving.prompts import row_of_text
from foreword.serving.residents import Resident
from foreword.serving.slots import Slots, behind
from foreword.serving.writing import Writing
from generation.conftest import World
from support.backbones import tiny

from .conftest import SOURCES, WRITERS
from .hearing import Answer, asks, started


@pytest.mark.parametrize("front_places", [64, 9, 0], ids=["copied", "some copied", "shared"])
def test_every_answer_under_random_load_equals_its_own(served, front_places):
    bank, known = served
    everything = list(asks(bank, known, 120, 1))
    expected = [
        generate(bank, [Item((row,), None if r is None else r.key)], options.model_copy(
            update={"num_return_sequences": choices}))[0]
        for row, r, options, choices in everything
    ]  # fmt: skip
    engine, chance = started(bank, slots=7, batch_tokens=128, front_places=front_places), random.Random(2)
    try:
        answers = []
        for row, resident, options, choices in everything:
            answers.append(Answer())
            answers[-1].left = choices
            engine.submit([Writing(row, resident, options, answers[-1].tell, choices)])
            if chance.random() < 0.3:
                threading.Event().wait(chance.random() * 0.01)
        for answer, sequences in zip(answers, expected, strict=True):
            answer.wait()
            for choice, one in enumerate(sequences):
                assert answer.ids(choice) == one.ids
                assert answer.text(choice) == one.text
                assert [p.finished for p in answer.pieces if p.choice == choice][-1] == one.finished
                total = sum(t.log_probability for p in answer.pieces if p.choice == choice for t in p.tokens)
                assert total == pytest.approx(one.log_probability, abs=1e-3)
    finally:
        engine.stop()
    assert len({r.card.name for _, r, _, _ in everything if r is not None}) == len(WRITERS)
    metrics = engine.metrics.text().decode()
    sizes = float(
        next(line for line in metrics.splitlines() if line.startswith("foreword:batch_forewords_sum")).split()[1]
    )
    steps = float(
        next(line for line in metrics.splitlines() if line.startswith("foreword:batch_forewords_count")).split()[1]
    )
    assert sizes / steps > 1.5  # they really did share steps


@pytest.mark.parametrize("family", ["gpt2", "opt", "opt-projected"])
def test_other_families_and_kinds_of_injection(family):
    world = World(family)
    options = GenerationOptions(max_new_tokens=12)
    expected = {key: generate(world.bank, [item], options)[0][0] for key, item in world.items.items()}
    engine, answers = started(world.bank), {}
    try:
        for key, item in world.items.items():
            injection = None if key is None else world.bank.entry(key).injection
            resident = None if key is None else Resident(key, None, (), None, injection, None, 0)
            answers[key] = Answer()
            engine.submit([Writing(item.rows[0], resident, options, answers[key].tell)])
        for key, answer in answers.items():
            assert answer.wait().ids() == expected[key].ids
    finally:
        engine.stop()


def test_a_front_is_computed_once_for_all_requests(served, monkeypatch):
    bank, known = served
    resident = known["prompt-text"]
    assert resident.front is not None and max(resident.front.soft) >= 0  # the virtual tokens are in it
    assert known["hard"].front is not None and known["v2-random"].front is not None
    resident.fronts.clear()
    runs = []
    record = type(bank.backbone).record
    monkeypatch.setattr(type(bank.backbone), "record", lambda *a: runs.append(1) or record(*a))
    engine = started(bank, slots=4)
    try:
        answers = []
        for text in SOURCES * 3:
            row = resident.foreword.reader.item(resident.foreword.example(text), resident.key).rows[0]
            answers.append(Answer())
            job = Writing(row, resident, GenerationOptions(max_new_tokens=4), answers[-1].tell)
            assert job.behind and len(job.rest) == len(row) - len(resident.front)
            engine.submit([job])
        for answer in answers:
            answer.wait()
    finally:
        engine.stop()
    assert len(runs) == 1 and list(resident.fronts) == [True]


@pytest.mark.parametrize("front_places", [64, 0])
def test_short_fronts_are_copied_to_their_texts_and_long_ones_shared(served, front_places, monkeypatch):
    bank, known = served
    resident = known["prompt-text"]
    seen = []
    monkeypatch.setattr(
        Shared, "of", classmethod(lambda cls, fronts, real=Shared.of: seen.append(fronts) or real(fronts))
    )
    row = resident.foreword.reader.item(resident.foreword.example(SOURCES[0]), resident.key).rows[0]
    engine, answer = started(bank, front_places=front_places), Answer()
    try:
        engine.submit([Writing(row, resident, GenerationOptions(max_new_tokens=5, eos_token_ids=()), answer.tell)])
        answer.wait()
    finally:
        engine.stop()
    beginning, *steps = seen  # the beginning runs behind the front in any case
    assert beginning[0] is not None and len(steps) == 1
    assert (steps[0][0] is None) == bool(front_places)


def test_fronts_stand_before_their_texts_without_a_gap():
    heads, size = 2, 3
    texts = torch.randn(3, heads, 4, size), torch.randn(3, heads, 4, size)
    fronts = [None, *(((torch.randn(heads, n, size),), (torch.randn(heads, n, size),)) for n in (2, 5))]
    [(keys, values)] = behind([texts], fronts)
    for which, whole in enumerate((keys, values)):
        assert torch.equal(whole[0, :, :4], texts[which][0])
        for row, places in ((1, 2), (2, 5)):
            assert torch.equal(whole[row, :, :places], fronts[row][which][0])
            assert torch.equal(whole[row, :, places : places + 4], texts[which][row])
    assert behind([texts], [None, None, None]) == [texts]


def test_a_row_that_begins_otherwise_is_run_whole(served):
    bank, known = served
    resident = known["v2-random"]
    row = row_of_text(bank.backbone, "another beginning")
    expected = generate(bank, [Item((row,), resident.key)], GenerationOptions(max_new_tokens=6))[0][0]
    engine, answer = started(bank), Answer()
    try:
        job = Writing(row, resident, GenerationOptions(max_new_tokens=6), answer.tell)
        assert not job.behind and job.rest is row
        engine.submit([job])
        assert answer.wait().ids() == expected.ids
    finally:
        engine.stop()


def test_a_cancelled_request_frees_its_slot(served):
    bank, _ = served
    engine = started(bank, slots=1)
    try:
        long, short = Answer(), Answer()
        row = row_of_text(bank.backbone, SOURCES[0])
        first = Writing(row, None, GenerationOptions(max_new_tokens=70, eos_token_ids=()), long.tell)
        engine.submit([first, Writing(row, None, GenerationOptions(max_new_tokens=2), short.tell)])
        while not long.pieces:
            threading.Event().wait(0.001)
        first.cancelled = True
        assert len(short.wait().ids()) == 2
        assert len(long.ids()) < 70 and not long.done.is_set()
    finally:
        engine.stop()


def test_what_could_never_run_is_refused_at_once(served):
    bank, _ = served
    engine = started(bank)
    row = row_of_text(bank.backbone, SOURCES[0])
    try:
        with pytest.raises(ConfigError, match="places, and llama has 96"):
            engine.submit([Writing(row, None, GenerationOptions(max_new_tokens=96), print)])
    finally:
        engine.stop()
    small = Decoder(bank, Limits(cache_bytes=10), Metrics())
    with pytest.raises(ConfigError, match="more memory"):
        small.check(Writing(row, None, GenerationOptions(max_new_tokens=2), print))


def test_models_that_cannot_write_side_by_side_are_refused_by_name(monkeypatch):
    for family, reason in (("bert", "a masked model"), ("t5", "an encoder-decoder")):
        with pytest.raises(Unsupported, match=reason):
            check_writes(tiny(family))
    windowed = tiny("llama")
    monkeypatch.setattr(windowed.model.config, "layer_types", ["sliding_attention"] * 3, raising=False)
    with pytest.raises(Unsupported, match="within a window"):
        check_writes(windowed)


@torch.no_grad()
@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=6),
    st.lists(st.integers(0, 5), min_size=4, max_size=4),
    st.integers(1, 3),
)
def test_attention_over_shared_fronts_equals_attention_over_copies(choice, lengths, group):
    """`choice`: which front each row has (0 for none); `lengths`: of the fronts."""
    generator = torch.Generator().manual_seed(len(choice) + sum(lengths))

    def some(*shape):
        return torch.randn(*shape, generator=generator)

    heads, size, own = 2, 4, 5
    module = torch.nn.Linear(1, 1)
    fronts = [None, *(Front((some(heads, n, size),), (some(heads, n, size),)) for n in lengths[1:])]
    rows = [fronts[i] for i in choice]
    query = some(len(rows), heads * group, 1, size)
    keys, values = some(len(rows), heads, own, size), some(len(rows), heads, own, size)
    seen = torch.arange(own) < torch.randint(1, own + 1, (len(rows), 1), generator=generator)
    bias = torch.zeros(seen.shape).masked_fill(~seen, float("-inf"))[:, None, None]
    carrier = StepPass({module: 0}, bias=bias, shared=Shared.of(rows))
    found, _ = attend_step(module, query, keys, values, None, foreword=carrier, scaling=0.7)
    for row, front in enumerate(rows):
        k, v = keys[row][:, seen[row]], values[row][:, seen[row]]
        if front is not None:
            k, v = torch.cat([front.keys[0], k], 1), torch.cat([front.values[0], v], 1)
        k, v = k.repeat_interleave(group, 0), v.repeat_interleave(group, 0)
        expected = (query[row] @ k.transpose(1, 2) * 0.7).softmax(-1) @ v
        torch.testing.assert_close(found[row, 0], expected[:, 0], atol=1e-5, rtol=1e-4)


def test_capped_attention_is_refused():
    module = torch.nn.Linear(1, 1)
    bias = torch.zeros(1, 1, 1, 1)
    one = torch.zeros(1, 1, 1, 2)
    with pytest.raises(Unsupported, match="capped"):
        attend_step(module, one, one, one, None, foreword=StepPass({module: 0}, bias=bias), softcap=3.0)
    assert not isinstance(Prefix({}), StepPass)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 90), st.integers(0, 99)), min_size=1, max_size=25))
def test_slots_hold_what_a_list_of_texts_would(steps):
    """Adding, stepping and removing against a plain list, by the keys that each text should have."""
    geometry = tiny_geometry()
    slots, texts, number = Slots(geometry), [], 0
    for add, length, pick in steps:
        if add or not texts:
            number += 1
            made = torch.full((1, geometry.kv_heads, length, geometry.head_size), float(number))
            slots.add([(made, -made)] * geometry.layers, [length], [length + 30])
            texts.append([float(number)] * length)
        else:
            row = pick % len(texts)
            slots.remove(row)
            last = texts.pop()
            if row < len(texts):
                texts[row] = last
        if texts and all(len(text) < 110 for text in texts):
            bias = slots.begin()
            number += 1
            new = torch.full((len(texts), geometry.kv_heads, 1, geometry.head_size), float(number))
            for layer in range(geometry.layers):
                keys, values = slots.update(new, -new, layer)
            for row, text in enumerate(texts):
                text.append(float(number))
                seen = bias[row, 0, 0] == 0
                assert int(seen.sum()) == len(text)
                assert keys[row, 0, seen, 0].tolist() == text and values[row, 0, seen, 0].tolist() == [-x for x in text]
    assert len(slots) == len(texts)
    assert slots.bytes_with([]) % slots.place_bytes == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=6))
def test_rows_behind_fronts_of_several_lengths_have_their_own_places(texts):
    """Fronts of 0 to 50 places before rows of 1 to 40, padded together: more padding than any text needs."""
    geometry = tiny_geometry()
    width = max(rest for _, rest, _ in texts)
    shape = (len(texts), geometry.kv_heads, width, geometry.head_size)
    table = torch.arange(len(texts), dtype=torch.float)[:, None, None, None].expand(shape) + 1
    fronts = [
        None if not ahead else ([torch.full((geometry.kv_heads, ahead, geometry.head_size), -row - 1.0)] * 2,) * 2
        for row, (ahead, _, _) in enumerate(texts)
    ]
    slots = Slots(geometry)
    lengths = [ahead + rest for ahead, rest, _ in texts]
    needs = [length + new for length, (_, _, new) in zip(lengths, texts, strict=True)]
    slots.add(behind([(table, table)] * geometry.layers, fronts), lengths, needs)
    assert len(slots) == len(texts) and slots.lengths.tolist() == lengths
    for row, (ahead, rest, _) in enumerate(texts):
        assert slots.keys[1][row, 0, : ahead + rest, 0].tolist() == [-row - 1.0] * ahead + [row + 1.0] * rest


def test_room_that_was_made_is_counted_until_it_is_given_back():
    geometry = tiny_geometry()
    slots = Slots(geometry)
    made = torch.zeros(8, geometry.kv_heads, 10, geometry.head_size)
    slots.add([(made, made)] * geometry.layers, [10] * 8, [500] * 8)
    whole = slots.bytes_with([])
    for _ in range(7):
        slots.remove(0)
    assert slots.bytes_with([]) == whole == sum(t.numel() * t.itemsize for t in (*slots.keys, *slots.values))
    slots.remove(0)
    assert slots.bytes_with([]) == 0


def tiny_geometry():
    from foreword.backbone.geometry import Geometry

    return Geometry(8, 8, 2, 2, 1, 4, 10, 200, 0, 1)


def test_the_real_interface_gives_the_same_words(writers, served):
    """What `Foreword.write` says of an artifact, the engine says."""
    bank, known = served
    loaded = api.load(writers / "lora", tiny("llama"))
    resident = known["lora"]
    engine = started(bank)
    try:
        for text in SOURCES[:2]:
            answer = Answer()
            row = resident.foreword.reader.item(resident.foreword.example(text), resident.key).rows[0]
            engine.submit([Writing(row, resident, resident.foreword.reader.readout.options, answer.tell)])
            assert answer.wait().text().strip() == loaded.write([text])[0]
    finally:
        engine.stop()
