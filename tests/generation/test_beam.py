"""Beam search against transformers' own, and against trying everything."""

import itertools

import pytest
import torch

from foreword.errors import ConfigError
from foreword.generation import GenerationOptions, generate
from foreword.generation.session import Session
from support.backbones import bare

PAD = 399


def theirs(model, item, eos, **fields):
    ids = torch.tensor([item.rows[0].ids])
    made = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, early_stopping=False, eos_token_id=eos,
        pad_token_id=PAD, return_dict_in_generate=True, output_scores=True, **fields,
    )  # fmt: skip
    return made.sequences[:, ids.shape[1] :].tolist(), made.sequences_scores.tolist()


@pytest.mark.parametrize("length_penalty", [1.0, 0.0, 2.0, -0.5])
@pytest.mark.parametrize("ends", ["one", "met", "many"])
def test_beams_equal_transformers(world, length_penalty, ends):
    """One end token is hardly met; with others, beams end at different lengths and the search stops early."""
    model = bare(world.backbone.family)
    items = world.bare_items()
    fields = {"num_beams": 4, "num_return_sequences": 3, "length_penalty": length_penalty, "max_new_tokens": 9}
    free = generate(world.bank, items, GenerationOptions(eos_token_ids=(), **fields))
    eos = {
        "one": [world.backbone.tokenizer.eos_token_id],
        "met": sorted({sequences[0].ids[3 + number] for number, sequences in enumerate(free)}),
        "many": list(range(0, 380, 6)),
    }[ends]
    found = generate(world.bank, items, GenerationOptions(eos_token_ids=tuple(eos), **fields))
    for item, ours in zip(items, found, strict=True):
        sequences, scores = theirs(model, item, eos, **fields)
        for one, sequence, score in zip(ours, sequences, scores, strict=True):
            assert list(one.ids) == sequence[: len(one.ids)] and set(sequence[len(one.ids) :]) <= {PAD}
            assert one.log_probability / len(one.ids) ** length_penalty == pytest.approx(score, abs=1e-4)
            assert one.finished == ("eos" if one.ids[-1] in eos else "length")
    if ends == "met" and length_penalty <= 1:
        assert len({len(one.ids) for ours in found for one in ours}) > 1, "the case must meet ends at several lengths"


@torch.no_grad()
def test_enough_beams_find_the_best_of_all(gpt2):
    """With as many beams as tokens may follow, two steps are an exhaustive search."""
    item = gpt2.items["middle"]
    size = gpt2.backbone.geometry.vocabulary // 2
    (found,) = generate(
        gpt2.bank, [item], GenerationOptions(max_new_tokens=2, num_beams=size, num_return_sequences=5, eos_token_ids=())
    )
    session = Session(gpt2.bank, [item])
    first = session.logits.log_softmax(-1)[0]
    best = first.topk(size).indices
    session.select([0] * size)
    session.step(best.tolist())
    totals = first[best][:, None] + session.logits.log_softmax(-1)
    pairs = itertools.islice(sorted(totals.flatten().tolist(), reverse=True), 5)
    assert [one.log_probability for one in found] == pytest.approx(list(pairs), abs=1e-4)


def test_beams_are_no_worse_than_greedy_here(world):
    items = [world.items[owner] for owner in world.items]
    fields = {"max_new_tokens": 6, "eos_token_ids": ()}
    greedy = generate(world.bank, items, GenerationOptions(**fields))
    beams = generate(world.bank, items, GenerationOptions(num_beams=6, **fields))
    gained = [b.log_probability - g.log_probability for (b,), (g,) in zip(beams, greedy, strict=True)]
    assert sum(gained) > 0.1
    assert [len(sequences) for sequences in beams] == [1] * len(items)


def test_stop_strings_end_beams(gpt2):
    items = gpt2.bare_items(2)
    free = generate(gpt2.bank, items, GenerationOptions(max_new_tokens=6, num_beams=3, eos_token_ids=()))
    letters = [c for (one,) in free for c in one.text if c.isascii() and c.isalpha()]
    stop = max(sorted(set(letters)), key=letters.count)
    options = GenerationOptions(
        max_new_tokens=6, num_beams=3, num_return_sequences=3, eos_token_ids=(), stop_strings=(stop,)
    )
    found = generate(gpt2.bank, items, options)
    assert all(stop not in one.text for sequences in found for one in sequences)
    assert any(one.finished == "stop" for sequences in found for one in sequences)
    assert all(len(sequences) == 3 for sequences in found)
    for sequences in found:
        scores = [one.log_probability / len(one.ids) for one in sequences]
        assert scores == sorted(scores, reverse=True)


def test_beams_that_all_stop_leave_nothing_to_run(gpt2):
    """Nearly every token's text has one of these letters, so that fewer beams than asked for go on."""
    stops = (*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJ", " ", "\ufffd")
    options = GenerationOptions(max_new_tokens=4, num_beams=4, num_return_sequences=4, stop_strings=stops)
    for sequences in generate(gpt2.bank, gpt2.bare_items(), options):
        assert len({one.ids for one in sequences}) == 4
        assert all(one.log_probability > -1000 for one in sequences)


def test_more_candidates_than_tokens_are_refused(gpt2):
    with pytest.raises(ConfigError, match="num_beams=300 needs 600 candidates of 400 tokens"):
        generate(gpt2.bank, gpt2.bare_items(1), GenerationOptions(num_beams=300))
