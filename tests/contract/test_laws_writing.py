"""The laws for answers that are texts: a method's rows are trained by their tokens and used by generation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from foreword.bank import Bank
from foreword.batch import collate
from foreword.errors import ConfigError, ForewordError, Unsupported
from foreword.evaluation.scoring import summed_loss
from foreword.evaluation.writing import token_loss, written
from foreword.training.loop import Loop, Silent
from foreword.training.route import follow, route_of
from support.backbones import CAUSAL, TWO_STACKS, shared
from support.forewords import METHODS, TRAINED, bank_of, gradients, grid, items, make, near

WRITERS = (*CAUSAL, *TWO_STACKS)
ROWS = (
    {"source": "The film was great.", "translation": ("it was wonderful",)},
    {"source": "A boring and awful movie", "translation": ("not good, not good", "bad")},
    {"source": "good", "translation": ("yes",)},
    {"source": "The story was terrible and the acting was bad", "translation": ("the product broke after two days",)},
)
_LEFT_OUT = ("linear-probe", "prompt-labels")  # nothing to train, and no labels to begin with
WRITING = [name for name in TRAINED if name not in _LEFT_OUT and "template" not in METHODS[name]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREWORD_CACHE", str(tmp_path))


def writer(family, method, **changes):
    settings = {"max_tokens": 400, "task": "translation", "template": "{source} means{mask}", **changes}
    readout = {"name": "lm", "max_new_tokens": 8}
    return make(family, method, readout, backbone=shared(family), rows=ROWS, labels=(), **settings)


@pytest.mark.parametrize("family", WRITERS)
def test_the_name_of_the_end_in_an_answer_does_not_end_it(family):
    assembly = writer(family, "prompt-random")
    tokenizer = assembly.backbone.tokenizer
    ids = assembly.readout.ids(f"good {tokenizer.eos_token}")
    assert tokenizer.eos_token_id not in ids[:-1] and len(ids) > 1


def test_answers_that_lose_their_end_are_counted():
    assembly = make("gpt2", "prompt-random", {"name": "lm", "max_new_tokens": 3}, backbone=shared("gpt2"), rows=ROWS,
                    labels=(), task="translation", template="{source} means{mask}")  # fmt: skip
    rows = items(assembly, ROWS)
    short = sum(row.label[-1] != assembly.backbone.tokenizer.eos_token_id for row in rows)
    assert short and f"{short} answers are longer than their room" in assembly.reader.cut(rows)
    whole = writer("gpt2", "prompt-random", max_tokens=400)
    assert all(len(row.label) <= 8 for row in items(whole, ROWS))


@pytest.mark.parametrize(
    ("family", "options", "said"),
    [
        ("gpt2", {"num_beams": 3, "num_return_sequences": 2}, "one answer"),
        ("bart", {"max_new_tokens": 97}, r"lower readout\.max_new_tokens"),
    ],
)
def test_settings_of_answers_that_cannot_be_are_told(family, options, said):
    settings = {"backbone": shared(family), "rows": ROWS, "labels": (), "task": "translation"}
    with pytest.raises(ForewordError, match=said):
        make(family, "v2-random", {"name": "lm", **options}, **settings)


@pytest.mark.parametrize("family", [name for name in WRITERS if shared(name).kind == "causal"])
@pytest.mark.parametrize("behind", [" ", "\n"])
def test_an_answer_has_the_tokens_of_the_whole_text(family, behind):
    """A tokenizer that puts a space in front of a text puts none in front of an answer."""
    assembly = writer(family, "prompt-random", template="{source}:" + behind + "{mask}")
    tokenizer = assembly.backbone.tokenizer

    def ids(text):
        return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])

    whole = ids(f"the film:{behind}was great")
    assert (*ids(f"the film:{behind}".rstrip(" ")), *assembly.readout.ids("was great")[:-1]) == whole


@pytest.mark.parametrize(("family", "method"), grid(WRITING, WRITERS))
def test_the_loss_is_that_of_the_target_tokens_and_no_route_changes_it(family, method, law):
    assembly = writer(family, method)
    assembly.method.eval()
    rows = items(assembly, ROWS)
    whole = Loop(assembly, rows, rows)
    whole.bank.whole = True
    slow, slow_gradients = whole.backward(rows), gradients(assembly)
    bank = bank_of({"run": assembly})
    with torch.no_grad():  # from the logits of every place, row by row
        total = 0.0
        for item in rows:
            batch = collate([item], bank.backbone.pad_id)
            places = batch.answers
            logits = bank.logits(batch, torch.arange(batch.ids.shape[1])[None])[0].log_softmax(-1)
            total -= sum(float(logits[p, t]) for p, t in zip(places[0].tolist(), item.label, strict=True))
    assert slow == pytest.approx(total / sum(len(item.label) for item in rows), rel=1e-4)
    assert token_loss(bank, rows, 400) == pytest.approx(slow, rel=1e-4)
    route = route_of(assembly, {"train": rows})
    routed = follow(route, assembly, {"train": rows})["train"]
    for parameter in assembly.trained().values():
        parameter.grad = None
    loop = Loop(assembly, routed, routed, route=route)
    assert loop.backward(routed) == pytest.approx(slow, rel=1e-4)
    near(gradients(assembly), slow_gradients)
    law(8)


@pytest.mark.parametrize(("family", "method"), grid([m for m in METHODS if m in WRITING or m == "hard"], WRITERS))
def test_what_is_written_alone_and_in_a_mixed_batch_is_the_same(family, method, law):
    one, other = writer(family, method, seed=1), writer(family, "hard")
    bank = bank_of({"one": one, "other": other})
    mixed = [*items(one, ROWS, "one"), *items(other, ROWS, "other")]
    together = written(bank, mixed, 4000)
    assert together == [written(bank, [item], 4000)[0] for item in mixed]
    law(4)


BEHIND = ("prompt-after", "prompt-both", "p-tuning-after")
FRONTED = [n for n in (*WRITING, "hard-2-shot") if n.startswith(("hard", "prompt-", "p-tuning-")) and n not in BEHIND]


@pytest.mark.parametrize(("family", "method"), grid(FRONTED, ("llama", "gpt2", "opt")))
def test_what_is_written_behind_a_front_that_is_run_once_is_the_same(family, method, law):
    assembly = writer(family, method)
    assembly.method.eval()
    rows = items(assembly, ROWS)
    route = route_of(assembly, {"test": rows})
    assert route.kind == "front"
    bank = bank_of({"run": assembly})
    whole = written(bank, rows, 4000)
    with torch.no_grad():
        bank.put("run", route.compiled(assembly.backbone, assembly.method.at_rest()), assembly.readout)
    assert written(bank, follow(route, assembly, {"test": rows})["test"], 4000) == whole
    law(8)


class Enough(Exception):
    pass


class Watcher(Silent):
    def __init__(self, below: float) -> None:
        self.below = below

    def evaluated(self, step, metrics):
        assert list(metrics) == ["loss"]
        if metrics["loss"] < self.below:
            raise Enough


def test_texts_can_be_learned_by_heart_and_are_then_written(law):
    settings = {"schedule": "constant", "learning_rate": 0.003, "max_steps": 600, "epochs": 1000, "evaluate_every": 10}
    assembly = writer("llama", "full", **settings)
    rows = items(assembly, ROWS)
    with pytest.raises(Enough):
        Loop(assembly, rows, rows, reporter=Watcher(0.1)).run()
    tokenizer = assembly.backbone.tokenizer
    for text, row in zip(written(bank_of({"run": assembly}), rows, 4000), ROWS, strict=True):
        told = tokenizer.decode(assembly.readout.ids(row["translation"][0]), skip_special_tokens=True)
        assert text == told.strip()
    law(13)


@pytest.mark.parametrize("method", ["prompt-random", "p-tuning-mlp", "v2-random"])
def test_a_few_vectors_halve_the_loss_of_a_random_model(method, law):
    rate = 0.01 if method == "p-tuning-mlp" else 0.1
    settings = {"schedule": "constant", "learning_rate": rate, "max_steps": 300, "epochs": 1000, "evaluate_every": 10}
    assembly = writer("llama", method, **settings)
    rows = items(assembly, ROWS[:1])  # all that a random head can be steered to is one text
    start = token_loss(bank_of({"run": assembly}), rows, 400)
    with pytest.raises(Enough):
        Loop(assembly, rows, rows, reporter=Watcher(start / 2)).run()
    law(13)


def test_prompts_are_cut_alike_in_training_and_in_use():
    assembly = writer("llama", "prompt-random")
    long = {"source": "it was good " * 60, "translation": ("yes it was",)}
    trained, used = assembly.reader.item(long), assembly.reader.item({"source": long["source"]})
    assert used.rows[0].cut == trained.rows[0].cut > 0
    assert assembly.readout.prompt(trained.rows[0]) == used.rows[0]
    assert len(used.rows[0]) + 8 <= assembly.backbone.geometry.positions


def test_unknown_labels_are_no_loss():
    scores = torch.randn(3, 5)
    labels = torch.tensor([[1, 2], [4, -1]])
    expected = torch.nn.functional.cross_entropy(scores, torch.tensor([1, 2, 4]), reduction="sum")
    torch.testing.assert_close(summed_loss(scores, labels), expected)


def test_what_does_not_go_together_is_refused():
    with pytest.raises(Unsupported, match="writes no text"):
        make("bert", "prompt-random", {"name": "lm"}, rows=ROWS, labels=(), task="translation", template="{source}")
    with pytest.raises(ConfigError, match="are texts, and the readout linear gives classes"):
        make("llama", "prompt-random", "last", rows=ROWS, labels=(), task="translation", template="{source}")
    with pytest.raises(ConfigError, match="are classes, and the readout lm gives texts"):
        make("llama", "prompt-random", {"name": "lm"})
    with pytest.raises(ConfigError, match="there are none"):
        writer("llama", "prompt-labels")
    assembly = writer("llama", "prompt-random")
    with pytest.raises(ConfigError, match="no readout that writes"):
        written(Bank(assembly.backbone), items(assembly, ROWS, None), 400)
