"""Laws 1 to 5 on the real models, with small inputs."""

from __future__ import annotations

from functools import lru_cache

import pytest
import torch

from foreword import store
from foreword.assembly import assemble
from foreword.backbone.backbone import Backbone, fingerprint
from foreword.backbone.loading import load
from foreword.bank import Bank
from foreword.batch import Item, collate
from foreword.config import RunConfig, build
from foreword.registry import tasks
from foreword.text.rows import Row
from foreword.training.loop import Loop
from support.forewords import LABELS, ROWS, bank_of, hidden, items, loud, scores

MODELS = ("minilm-l6", pytest.param("smollm2-135m-instruct", marks=pytest.mark.slow))
WORDS = {"smollm2-135m-instruct": {"name": "verbalizer"}}
METHODS = {
    "linear-probe": {"name": "linear-probe"},
    "prompt-tuning": {"name": "prompt-tuning", "num_virtual_tokens": 5},
    "p-tuning": {"name": "p-tuning", "num_virtual_tokens": 3, "encoder_hidden_size": 16},
    "p-tuning-v2": {"name": "p-tuning-v2", "num_virtual_tokens": 4, "init_std": 0.3},
    "lora": {"name": "lora"},
    "adapter": {"name": "adapter", "init_std": 0.1, "dropout": 0.1},
    "combined": {"name": "combined", "parts": [{"name": "p-tuning-v2", "num_virtual_tokens": 2}, {"name": "ia3"}]},
    "p-tuning-v2-text": {"name": "p-tuning-v2", "init": "text", "init_text": "Is the film good? yes or no"},
}
FEW = ROWS[:3]

pytestmark = pytest.mark.real


@lru_cache(maxsize=1)
def loaded(name: str) -> Backbone:
    return load(name)


@pytest.fixture(params=MODELS)
def backbone(request):
    if not store.is_pulled(request.param):
        pytest.skip(f"{request.param} is not in the cache; run: foreword models pull {request.param}")
    return loaded(request.param)


def made(backbone, method, seed=0):
    readout = {"name": "linear", "position": "mean"}
    if method == "p-tuning":
        readout = WORDS.get(backbone.name, readout)
    values = {"data": "toy", "backbone": backbone.name, "method": METHODS[method], "readout": readout, "seed": seed}
    values["training"] = {"max_steps": 2, "batch_size": 3, "learning_rate": 1e-3}
    return assemble(build(RunConfig, values), backbone, tasks.get("classification")(), LABELS, [])


def near(found, expected):
    """Equal up to rounding, on the scale of the numbers at hand."""
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=2e-4 * float(other.abs().max()))


def test_law_1_rows_without_a_foreword_are_the_bare_models(backbone, law):
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    auto = AutoModelForCausalLM if backbone.kind == "causal" else AutoModelForMaskedLM
    model = auto.from_pretrained(store.resolve_model(backbone.name), dtype=torch.float32).eval().base_model
    rows = items(made(backbone, "linear-probe"), FEW, None)
    with torch.no_grad():
        expected = [model(input_ids=torch.tensor([row.rows[0].ids])).last_hidden_state[0] for row in rows]
    for side in ("left", "right"):
        near(hidden(Bank(backbone), rows, side), expected)
    near([hidden(Bank(backbone), [row])[0] for row in rows], expected)
    law(1)


@pytest.mark.parametrize("method", METHODS)
def test_law_2_training_leaves_the_backbone_alone(backbone, method, law):
    assembly = made(backbone, method)
    before = fingerprint(backbone.trunk)
    loop = Loop(assembly, items(assembly, FEW), [])
    loop.run()
    loop.optimizer.zero_grad()
    loop.backward(items(assembly, FEW))
    assert fingerprint(backbone.trunk) == before
    assert all(p.grad is None for p in backbone.model.parameters())
    assert all(p.grad.abs().max() > 0 for p in assembly.trained().values())
    law(2)


def test_laws_3_and_4_a_mixed_batch_equals_its_rows_one_by_one(backbone, law):
    assemblies = {method: loud(made(backbone, method, seed)) for seed, method in enumerate(METHODS)}
    bank = bank_of(assemblies)
    rows = [item for name, assembly in assemblies.items() for item in items(assembly, FEW[:2], name)]
    alone = [scores(bank_of({row.owner: assemblies[row.owner]}), [row])[0] for row in rows]
    for side in ("left", "right"):
        near(scores(bank, rows, side), alone)
    plain = items(assemblies["linear-probe"], FEW[:2], None)
    states = [hidden(Bank(backbone), [row])[0] for row in plain]
    near(hidden(bank, [*plain, *rows])[:2], states)
    law(3, times=len(METHODS))
    law(4, times=len(METHODS))


def test_law_5_key_values_of_a_text_in_front_are_that_text(backbone, law):
    assembly = made(backbone, "p-tuning-v2-text")
    own = items(assembly, FEW, "own")
    bank = bank_of({"own": assembly})
    if backbone.kind == "masked":
        batch = collate(own, backbone.pad_id)
        assert (batch.ids.gather(1, batch.cls[:, None]) == backbone.tokenizer.cls_token_id).all()
        law(5)
        return
    ids = tuple(backbone.tokenizer(assembly.config.method.init_text, add_special_tokens=False)["input_ids"])
    whole = []
    for item in own:
        text = ids + item.rows[0].ids
        whole.append(Item((Row(text, (-1,) * len(text), (0,) * len(text), None, ()),)))
    near(hidden(bank, own, "left"), [states[len(ids) :] for states in hidden(bank, whole)])
    law(5)
