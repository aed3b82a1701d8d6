"""Scores of the readouts, against a direct computation with the bare model."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import log_softmax

from foreword.batch import Item, collate
from foreword.errors import ConfigError, TemplateError, Unsupported
from foreword.training.loop import OWNER, Loop
from support.backbones import CAUSAL, FAMILIES, HIDDEN, MASKED, TWO_STACKS, bare, shared, states_of
from support.forewords import LABELS, PAIRS, ROWS, bank_of, close, hidden, items, loud, make, scores


def words_of(assembly):
    return [(placed.label, placed.ids) for placed in assembly.readout.placement]


def by_label(words, logs) -> torch.Tensor:
    """The scores of the labels: the log of the summed probability of their words."""
    columns = []
    for label in range(len(LABELS)):
        columns.append(torch.stack([log for (owner, _), log in zip(words, logs, strict=True) if owner == label]))
    return torch.stack([column.logsumexp(0) for column in columns])


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("readout", ["words", "long-words"])
@pytest.mark.parametrize("family", CAUSAL)
def test_causal_label_words_are_scored_by_the_chain_rule(family, readout, side):
    assembly = make(family, "hard", readout, backbone=shared(family))
    model, encoder = bare(family), assembly.reader.encoder
    expected = []
    for row in ROWS:
        context = list(encoder.encode({"text": row["text"]}).ids)
        logs = []
        for _, ids in words_of(assembly):
            total = torch.zeros(())
            for number, token in enumerate(ids):
                with torch.no_grad():
                    logits = model(input_ids=torch.tensor([context + list(ids[:number])])).logits[0, -1]
                total = total + log_softmax(logits, -1)[token]
            logs.append(total)
        expected.append(by_label(words_of(assembly), logs).log_softmax(-1))
    found = scores(bank_of({"own": assembly}), items(assembly, owner="own"), side)
    close([one.log_softmax(-1) for one in found], expected)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("readout", ["words", "long-words"])
@pytest.mark.parametrize("family", MASKED)
def test_masked_label_words_are_scored_at_as_many_masks(family, readout, side):
    assembly = make(family, "hard", readout, backbone=shared(family))
    model, encoder, mask = bare(family), assembly.reader.encoder, shared(family).tokenizer.mask_token_id
    expected = []
    for row in ROWS:
        logs = []
        for _, ids in words_of(assembly):
            encoded = encoder.encode({"text": row["text"]}, masks=len(ids))
            at = [place for place, token in enumerate(encoded.ids) if token == mask]
            assert len(at) == len(ids)
            with torch.no_grad():
                logits = log_softmax(model(input_ids=torch.tensor([encoded.ids])).logits[0], -1)
            logs.append(sum(logits[place, token] for place, token in zip(at, ids, strict=True)))
        expected.append(by_label(words_of(assembly), logs).log_softmax(-1))
    found = scores(bank_of({"own": assembly}), items(assembly, owner="own"), side)
    close([one.log_softmax(-1) for one in found], expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_joint_scores_are_log_probabilities(family):
    assembly = make(family, "hard", "long-words", backbone=shared(family))
    assert all(float(one.max()) < 0 for one in scores(bank_of({"own": assembly}), items(assembly, owner="own")))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("position", ["last", "mean", "cls", "auto"])
def test_the_linear_readout_is_a_matrix_on_one_state(family, position):
    if position in ("cls", "mean") and family in TWO_STACKS:
        with pytest.raises(Unsupported, match=f"{family}.*position {position} is read in the text"):
            make(family, "linear-probe", {"name": "linear", "position": position}, backbone=shared(family))
        return
    if position == "cls" and family in CAUSAL:
        with pytest.raises(Unsupported, match=r"no \[CLS\]"):
            make(family, "linear-probe", {"name": "linear", "position": "cls"}, backbone=shared(family))
        return
    assembly = make(family, "linear-probe", {"name": "linear", "position": position}, backbone=shared(family))
    model, found = bare(family), scores(bank_of({"own": assembly}), items(assembly, owner="own"))
    for row, score in zip(ROWS, found, strict=True):
        encoded = assembly.reader.encoder.encode({"text": row["text"]})
        with torch.no_grad():
            states = states_of(model, collate([Item((encoded,))], 0))[0]
        read = {"last": states[-1], "cls": states[0], "mean": states.mean(0)}
        read["auto"] = read["cls" if family in MASKED else "last"]
        close([score], [assembly.readout.weight.detach() @ read[position] + assembly.readout.bias.detach()])


def test_dropout_acts_in_training_only():
    assembly = make("bert", "linear-probe", {"name": "linear", "dropout": 0.5}, backbone=shared("bert"))
    batch = collate(items(assembly), 0)
    states = torch.randn(*batch.ids.shape, 32)
    assembly.readout.eval()
    assert torch.equal(*(assembly.readout(states, batch, assembly.backbone) for _ in range(2)))
    assembly.readout.train()
    assert not torch.equal(*(assembly.readout(states, batch, assembly.backbone) for _ in range(2)))


def test_label_words_that_say_nothing_are_refused():
    for words in ({"bad": "good", "good": "good"}, {"bad": "good"}, {"nonsense": "good", "bad": "a", "good": "b"}):
        with pytest.raises(TemplateError):
            make("bert", "hard", {"name": "verbalizer", "words": words}, backbone=shared("bert"))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_label_with_several_words_sums_their_probabilities(family):
    one = make(family, "hard", "words", backbone=shared(family))
    first, second = one.config.readout.words.values()
    both = {"name": "verbalizer", "words": {"bad": [first, second], "good": ["was"]}}
    joint = make(family, "hard", both, backbone=shared(family), template="{text} It was {mask}")
    single = {"name": "verbalizer", "words": {"bad": [first], "good": [second]}}
    apart = make(family, "hard", single, backbone=shared(family), template="{text} It was {mask}")
    found = scores(bank_of({"own": joint}), items(joint, owner="own")[:3])
    parts = scores(bank_of({"own": apart}), items(apart, owner="own")[:3])
    if joint.readout.words.single:
        close([score[0] for score in found], [part.logsumexp(0) for part in parts])


PAIR = {"name": "linear", "position": "pair"}
SLOTS = {"prompt-middle": "{soft:2}{text1}{soft:1}{sep}{text2}{soft:3}", "v2-random": "{text1}{sep}{text2}"}


@pytest.mark.parametrize("lexical", [False, True])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("method", SLOTS)
def test_the_pair_readout_compares_the_segments_and_skips_virtual_tokens(method, side, lexical):
    assembly = loud(
        make(
            "bert", method, PAIR | {"lexical": lexical}, rows=PAIRS, task="pair-classification", template=SLOTS[method]
        )
    )
    bank = bank_of({OWNER: assembly})
    rows = items(assembly, PAIRS)
    together = scores(bank, rows, side)
    tokenizer = assembly.backbone.tokenizer
    for row, example, found in zip(rows, PAIRS, together, strict=True):
        [alone] = hidden(bank, [row])
        first = [i for i, soft in enumerate(row.rows[0].soft) if soft < 0 and row.rows[0].types[i] == 0]
        second = [i for i, soft in enumerate(row.rows[0].soft) if soft < 0 and row.rows[0].types[i] == 1]
        plain = tokenizer(example["text1"], example["text2"])
        assert len(first) + len(second) == len(plain["input_ids"])
        assert len(second) == sum(plain["token_type_ids"])
        special = set(tokenizer.all_special_ids)
        first, second = ([i for i in places if row.rows[0].ids[i] not in special] for places in (first, second))
        read = _by_hand(alone, first, second)
        if lexical:
            words = assembly.backbone.embed(torch.tensor(row.rows[0].ids)).detach()
            sizes = [math.log(len(places)) for places in (first, second)]
            read += [*_by_hand(words, first, second), abs(sizes[0] - sizes[1]) * HIDDEN**0.5, *sizes]
        close([found], [assembly.readout.weight.detach() @ torch.tensor(read) + assembly.readout.bias.detach()])


def _by_hand(vectors, first, second):
    """The seven distances of two segments, one token at a time."""
    read = []
    for own, other in ((first, second), (second, first)):
        nearest = [1 - max(float(torch.cosine_similarity(vectors[i], vectors[j], dim=0)) for j in other) for i in own]
        read += [sum(nearest) / len(own), math.sqrt(sum(n * n for n in nearest) / len(own) + 1e-6), max(nearest)]
    read.append(1 - float(torch.cosine_similarity(vectors[first].mean(0), vectors[second].mean(0), dim=0)))
    return [value * HIDDEN**0.5 for value in read]


def test_the_pair_readout_of_an_empty_text_is_finite():
    assembly = loud(make("bert", "linear-probe", PAIR, rows=PAIRS, task="pair-classification"))
    rows = items(assembly, [{"text1": "", "text2": "it broke", "label": 0}, PAIRS[0]])
    loop = Loop(assembly, rows, [])
    assert math.isfinite(loop.backward(rows))
    assert all(torch.isfinite(parameter.grad).all() for parameter in assembly.trained().values())


def test_lexical_distances_are_for_pairs():
    with pytest.raises(ConfigError, match="lexical"):
        make("bert", "linear-probe", {"name": "linear", "position": "cls", "lexical": True})


def test_the_pair_readout_of_one_segment_is_refused():
    with pytest.raises(Unsupported, match="two of them"):
        make("bert", "linear-probe", PAIR)


@pytest.mark.parametrize("family", ["roberta", "distilbert", "gpt2", "llama", "opt"])
def test_the_pair_readout_needs_segments(family):
    with pytest.raises(Unsupported, match="segment"):
        make(family, "linear-probe", PAIR)
