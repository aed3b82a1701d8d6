"""The laws for answers that are tags, one for each word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from foreword.artifacts import storage
from foreword.batch import collate
from foreword.errors import ConfigError, TemplateError, Unsupported
from foreword.evaluation.spotting import evaluate_tags, tagged
from foreword.training.loop import Loop, Silent
from foreword.training.route import follow, route_of
from support.backbones import MASKED, ONE_STACK, TWO_STACKS, shared
from support.forewords import bank_of, close, gradients, grid, hidden, items, loud, make, near
from support.spots import CHOSEN, SENTENCES, TAGS, tagger

PAIRS = [*grid(CHOSEN, ONE_STACK), *grid(("prompt-after",), MASKED)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREWORD_CACHE", str(tmp_path))


def word_scores(bank, rows, side="right"):
    """`[m, C]` of each item, computed in one batch."""
    found = {}
    with torch.no_grad():
        for numbers, scores in bank.scores(collate(rows, bank.backbone.pad_id, side)):
            sizes = [len(rows[number].rows[0].answers) for number in numbers]
            found |= dict(zip(numbers, scores.split(sizes), strict=True))
    return [found[number] for number in range(len(rows))]


@pytest.mark.parametrize(("family", "method"), PAIRS)
def test_each_word_is_read_at_its_first_token_under_any_prompt(family, method, law):
    assembly = loud(tagger(family, method))
    tokenizer, rows = assembly.backbone.tokenizer, items(assembly, SENTENCES, "own")
    for item, sentence in zip(rows, SENTENCES, strict=True):
        [row] = item.rows
        assert [spot.number for spot in row.spots] == list(range(len(sentence["tokens"])))
        assert item.label == sentence["tags"] and item.references == tuple(TAGS[tag] for tag in sentence["tags"])
        assert all(row.soft[place] == -1 for place in row.answers)
        assert list(row.answers) == sorted(set(row.answers))
        for place, following, word in zip(row.answers, row.answers[1:], sentence["tokens"], strict=False):
            whole = tokenizer.decode(row.ids[place:following]).replace(" ", "")
            if word.isascii():  # other letters are bytes to some tokenizers, and lose their dots in others
                pattern = re.escape(whole).replace(re.escape("[UNK]"), ".")
                assert re.fullmatch(pattern, word, re.IGNORECASE), (whole, word)
    bank = bank_of({"own": assembly})
    weight, bias = assembly.readout.weight, assembly.readout.bias
    for side in ("left", "right"):
        for scores, item, states in zip(word_scores(bank, rows, side), rows, hidden(bank, rows, side), strict=True):
            close([scores], [states[list(item.rows[0].answers)] @ weight.T + bias])
    law(5)


@pytest.mark.parametrize(("family", "method"), PAIRS)
def test_a_batch_equals_single_rows_and_a_mixed_one_separate_runs(family, method, law):
    one, other = loud(tagger(family, method, seed=1)), loud(tagger(family, "v2-random"))
    bank = bank_of({"one": one, "other": other})
    mixed = [*items(one, SENTENCES, "one"), *items(other, SENTENCES, "other")]
    alone = [word_scores(bank, [item])[0] for item in mixed]
    for side in ("left", "right"):
        close(word_scores(bank, mixed, side), alone)
    law(3)
    law(4)


@pytest.mark.parametrize(("family", "method"), PAIRS)
def test_no_route_changes_the_loss_or_the_gradient(family, method, law):
    assembly = loud(tagger(family, method))
    assembly.method.eval()
    rows = items(assembly, SENTENCES)
    whole = Loop(assembly, rows, rows)
    whole.bank.whole = True
    slow, slow_gradients, measured = whole.backward(rows), gradients(assembly), whole.evaluate(rows)
    assert measured.metrics["loss"] == pytest.approx(slow, rel=1e-4)
    assert all(float(gradient.abs().max()) > 0 for gradient in slow_gradients.values())
    route = route_of(assembly, {"train": rows})
    routed = follow(route, assembly, {"train": rows})["train"]
    for parameter in assembly.trained().values():
        parameter.grad = None
    loop = Loop(assembly, routed, routed, route=route)
    assert loop.backward(routed) == pytest.approx(slow, rel=1e-4)
    near(gradients(assembly), slow_gradients)
    assert loop.evaluate(routed).predictions == measured.predictions
    law(8)


@pytest.mark.parametrize("family", ONE_STACK)
def test_what_is_saved_tags_as_before(family, law, tmp_path):
    assembly = loud(tagger(family, "v2-random"))
    bank, rows = bank_of({"own": assembly}), items(assembly, SENTENCES, "own")
    artifact = storage.read(storage.save(assembly, tmp_path / "kept", "own"))
    reader = artifact.attach(shared(family))
    assert reader.labels == TAGS
    again = [reader.item(sentence, "own") for sentence in SENTENCES]
    assert again == rows
    bank.put("own", artifact.injection, reader.readout)
    before = word_scores(bank_of({"own": assembly}), rows)
    assert all(torch.equal(one, other) for one, other in zip(word_scores(bank, again), before, strict=True))
    law(7)


class Enough(Exception):
    pass


class Watcher(Silent):
    def evaluated(self, step, metrics):
        assert list(metrics) == ["span_f1", "span_precision", "span_recall", "accuracy", "loss"]
        if metrics["span_f1"] == 1.0 and metrics["accuracy"] == 1.0:
            raise Enough


@pytest.mark.parametrize("method", ["linear-probe", "full", "prompt-text", "p-tuning-mlp", "v2-random"])
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_eight_sentences_can_be_overfitted(family, method, law):
    settings = {"schedule": "constant", "learning_rate": 0.003 if method == "full" else 0.03, "batch_size": 8}
    assembly = tagger(family, method, max_steps=400, epochs=1000, evaluate_every=8, max_tokens=4000, **settings)
    rows = items(assembly, SENTENCES)
    with pytest.raises(Enough):
        Loop(assembly, rows, rows, reporter=Watcher()).run()
    law(13)


@pytest.mark.parametrize("keep", ["start", "end"])
def test_words_that_are_cut_off_are_told_and_count_as_outside(keep):
    template = {"text": "The {tokens} {soft:2} was", "max_length": 14, "keep": keep}
    assembly = loud(tagger("bert", "prompt-middle", template=template))
    words = ("Tomorrow's", "story", "was", "xyzzy", "on", "Monday", "paraphrased", "evening")
    item = assembly.reader.item({"tokens": words, "tags": (1, 2, 2, 2, 2, 2, 2, 2)}, "own")
    [row] = item.rows
    whole = tagger("bert", "prompt-middle", template=template | {"max_length": 90})
    [full] = whole.reader.item({"tokens": words}).rows
    seen = [spot.number for spot in row.spots]
    assert row.cut == len(full) - 14 > 0 and 0 < len(seen) < 8
    assert seen == (list(range(len(seen))) if keep == "start" else list(range(8 - len(seen), 8)))
    first = {spot.number: full.ids[place] for place, spot in zip(full.answers, full.spots, strict=True)}
    assert [row.ids[place] for place in row.answers] == [first[number] for number in seen]
    assert len(item.label) == len(seen)
    bank = bank_of({"own": assembly})
    [made] = tagged(bank, [item], TAGS, 400)
    assert made.words == words
    assert [sure is None for sure in made.probabilities] == [number not in seen for number in range(8)]
    assert all(made.tags[number] == "O" for number in range(8) if number not in seen)
    scored = evaluate_tags(bank, [item], TAGS, ("accuracy", "span_recall"), 400)
    assert scored.metrics["accuracy"] <= len(seen) / 8
    assert "14 tokens" in assembly.reader.cut([item])


def test_a_sentence_whose_words_are_all_cut_off_teaches_nothing():
    template = {"text": "good film {tokens}", "max_length": 4, "keep": "start"}
    assembly = tagger("bert", "full", template=template)
    item = assembly.reader.item(SENTENCES[0], "run")
    assert item.rows[0].answers == () and item.labelled == 0
    loop = Loop(assembly, [item], [item])
    assert loop.backward([item]) == 0.0
    scored = loop.evaluate([item])
    assert scored.predictions == [["O"] * 5] and scored.metrics["loss"] == 0.0
    near({name: p.grad for name, p in assembly.trained().items() if "weight" == name}, {})


def test_the_last_use_of_the_words_is_read():
    assembly = tagger("llama", "prompt-middle", template="{tokens} {soft:2} {tokens}")
    [row] = assembly.reader.item(SENTENCES[0]).rows
    assert min(row.answers) > max(place for place, soft in enumerate(row.soft) if soft >= 0)


def test_what_does_not_go_together_is_refused():
    with pytest.raises(ConfigError, match="are tags, and the readout linear gives classes"):
        make("bert", "prompt-random", "last", rows=SENTENCES, labels=TAGS, task="tagging", template="{tokens}")
    with pytest.raises(ConfigError, match="are classes, and the readout token gives tags"):
        make("bert", "prompt-random", {"name": "token"})
    with pytest.raises(Unsupported, match="hard trains nothing, and a token readout"):
        tagger("bert", "hard")
    for family in ("gpt2", "llama"):
        with pytest.raises(Unsupported, match="none of the words"):
            tagger(family, "prompt-after")
    for family in TWO_STACKS:
        with pytest.raises(Unsupported, match=rf"{family}.*encoder-decoder.*a word's tag is read in the text"):
            tagger(family, "prompt-text")
    with pytest.raises(ConfigError, match="swap_pairs is for classes"):
        assembly = tagger("bert", "full", swap_pairs=True)
        Loop(assembly, items(assembly, SENTENCES), [])
    with pytest.raises(TemplateError, match="leaves out 'context'"):
        make("bert", "full", {"name": "span"}, rows=(), labels=(), task="extractive-qa", template="{question}")
