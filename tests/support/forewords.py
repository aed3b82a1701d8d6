"""The grid of methods and readouts, and small data to run it on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from foreword.assembly import Assembly, assemble
from foreword.backbone.backbone import Backbone
from foreword.bank import Bank
from foreword.batch import Item, collate
from foreword.config import RunConfig, build
from foreword.registry import tasks
from foreword.text.verbalizer import Verbalizer
from foreword.training.loop import OWNER
from support.backbones import FAMILIES, MASKED, TWO_STACKS, tiny

LABELS = ("bad", "good")
ROWS: tuple[dict[str, Any], ...] = (
    {"text": "The film was great.", "label": 1},
    {"text": "A boring and awful movie, it was not worth the money", "label": 0},
    {"text": "good", "label": 1},
    {"text": "The story was terrible and the acting was bad", "label": 0},
    {"text": "It was a wonderful evening, it was great fun!", "label": 1},
    {"text": "The product broke after two days", "label": 0},
    {"text": "the battery is good and it still works well", "label": 1},
    {"text": "boring", "label": 0},
)
PAIRS: tuple[dict[str, Any], ...] = (
    {"text1": "The film was great.", "text2": "the acting was good", "label": 1},
    {"text1": "A boring movie", "text2": "It was a wonderful evening, it was great fun!", "label": 0},
    {"text1": "yes", "text2": "no", "label": 0},
    {"text1": "The product broke after two days", "text2": "it broke", "label": 1},
)

MIDDLE = 'It was {soft:2} {text} {soft:"it was"}'
_SOFT = {"num_virtual_tokens": 4}
METHODS: dict[str, dict[str, Any]] = {
    "hard": {"method": "hard"},
    "hard-2-shot": {"method": {"name": "hard", "shots": 2}},
    "linear-probe": {"method": "linear-probe"},
    "full": {"method": "full"},
    "prompt-random": {"method": {"name": "prompt-tuning", "init": "random", **_SOFT}},
    "prompt-vocabulary": {"method": {"name": "prompt-tuning", "init": "vocabulary", **_SOFT}},
    "prompt-text": {"method": {"name": "prompt-tuning", "init": "text", "init_text": "Is the film good?", **_SOFT}},
    "prompt-labels": {"method": {"name": "prompt-tuning", "init": "labels", **_SOFT}},
    "prompt-middle": {"method": {"name": "prompt-tuning"}, "template": MIDDLE},
    "prompt-after": {"method": {"name": "prompt-tuning", "placement": "after", **_SOFT}},
    "prompt-both": {"method": {"name": "prompt-tuning", "placement": "both", **_SOFT}},
    "p-tuning-mlp": {"method": {"name": "p-tuning", "encoder_hidden_size": 24, **_SOFT}},
    "p-tuning-lstm": {
        "method": {
            "name": "p-tuning", "encoder_reparameterization_type": "lstm", "encoder_hidden_size": 24,
            "encoder_num_layers": 2, **_SOFT,
        }
    },
    "p-tuning-dropout": {
        "method": {
            "name": "p-tuning", "encoder_reparameterization_type": "lstm", "encoder_hidden_size": 16,
            "encoder_dropout": 0.3, **_SOFT,
        }
    },
    "p-tuning-residual": {"method": {"name": "p-tuning", "residual": True, **_SOFT}},
    "p-tuning-middle": {"method": {"name": "p-tuning"}, "template": MIDDLE},
    "v2-random": {"method": {"name": "p-tuning-v2", "init_std": 0.3, **_SOFT}},
    "v2-zero": {"method": {"name": "p-tuning-v2", "init": "zero", **_SOFT}},
    "v2-text": {"method": {"name": "p-tuning-v2", "init": "text", "init_text": "Is the film good? yes or no"}},
    "v2-projection": {"method": {"name": "p-tuning-v2", "prefix_projection": True, "encoder_hidden_size": 8, **_SOFT}},
    "v2-layers": {"method": {"name": "p-tuning-v2", "layers": [-1, 0], "init_std": 0.3, "num_virtual_tokens": 6}},
    "v2-low": {"method": {"name": "p-tuning-v2", "layers": [0, 1], "init_std": 0.3, "num_virtual_tokens": 3}},
    "v2-top": {"method": {"name": "p-tuning-v2", "layers": "top-half", "init_std": 0.3, "num_virtual_tokens": 3}},
    "v2-encoder": {"method": {"name": "p-tuning-v2", "places": ["encoder"], "init_std": 0.3, **_SOFT}},
    "v2-decoder": {"method": {"name": "p-tuning-v2", "places": ["decoder"], "init_std": 0.3, **_SOFT}},
    "v2-cross": {"method": {"name": "p-tuning-v2", "places": ["cross"], "init_std": 0.3, **_SOFT}},
    "lora": {"method": {"name": "lora", "r": 4, "lora_alpha": 8}},
    "lora-all": {
        "method": {
            "name": "lora", "r": 3, "target_modules": "all-linear", "layers": [0, -1], "use_rslora": True,
            "init_lora_weights": "gaussian", "lora_dropout": 0.2,
        }
    },
    "ia3": {"method": {"name": "ia3"}},
    "bitfit": {"method": {"name": "bitfit"}},
    "adapter-houlsby": {"method": {"name": "adapter", "bottleneck_size": 6, "dropout": 0.2}},
    "adapter-pfeiffer": {
        "method": {
            "name": "adapter", "config": "pfeiffer", "reduction_factor": 4, "layers": "top-half", "where": "layer",
            "layer_norm": "after", "scale": "learned",
        }
    },
    "adapter-parallel": {
        "method": {"name": "adapter", "config": "parallel", "width": "1/3", "multiple_of": 4, "layer_norm": "before"}
    },
    "compacter": {"method": {"name": "adapter", "config": "compacter", "bottleneck_size": 8}},
    "adapter-phm": {
        "method": {
            "name": "adapter", "config": "parallel", "bottleneck_size": 6, "phm": 2, "init": "near-identity",
            "activation": "tanh",
        }
    },
    "combined": {
        "method": {
            "name": "combined",
            "parts": [
                {"name": "p-tuning-v2", "init_std": 0.3, "num_virtual_tokens": 3},
                {"name": "adapter", "config": "pfeiffer", "bottleneck_size": 4},
                {"name": "lora", "r": 2, "target_modules": "all-linear", "layers": [1]},
            ],
        }
    },
    "combined-soft": {
        "method": {"name": "combined", "parts": [{"name": "ia3"}, {"name": "prompt-tuning", **_SOFT}]}
    },
}  # fmt: skip
SITED = tuple(name for name in METHODS if name.startswith(("lora", "ia3", "bitfit", "adapter", "compacter", "comb")))
"""The methods that do something at modules of the layers."""
READOUTS: dict[str, dict[str, Any]] = {
    "cls": {"name": "linear", "position": "cls"},
    "last": {"name": "linear", "position": "last"},
    "mean": {"name": "linear", "position": "mean"},
    "words": {"name": "verbalizer"},
    "long-words": {"name": "verbalizer"},
}
# What differs from another method only in its first values runs on two families in `make test`, on all otherwise.
_ALIKE = (
    *SITED,
    "hard-2-shot",
    "prompt-random",
    "prompt-vocabulary",
    "prompt-labels",
    "prompt-both",
    "p-tuning-middle",
    "p-tuning-dropout",
    "v2-zero",
    "v2-low",
    "v2-top",
)
_ALWAYS = ("bert", "llama")
_PLACES = ("v2-encoder", "v2-decoder", "v2-cross")
_FEW = ("linear-probe", "full", "prompt-text", "v2-random", "v2-cross", "lora")
"""What runs on the encoder-decoders in `make test`; everything does otherwise."""
TRAINED = tuple(name for name in METHODS if not name.startswith("hard"))
_CANDIDATES = ("good", "great", "the", "it", "film", "was", "or", "and", "is", "story", "broke", "evening")
_LONG = {"bad": ["not bad", "boring and awful"], "good": ["very good fun", "was"]}


def grid(methods: Sequence[str] = tuple(METHODS), families: Sequence[str] = FAMILIES) -> list[Any]:
    """Pairs of family and method, as parameters of a test."""
    return [
        pytest.param(
            family, method, id=f"{family}-{method}",
            marks=[pytest.mark.slow] if _slow(family, method) else [],
        )
        for family in families
        for method in methods
        if not impossible(family, method)
    ]  # fmt: skip


def _slow(family: str, method: str) -> bool:
    if family in TWO_STACKS:
        return method not in _FEW
    return method in _ALIKE and family not in _ALWAYS


def impossible(family: str, method: str) -> bool:
    """Whether the family has nothing that the method could train, so that the program has to refuse it."""
    no_biases = family in ("llama", "t5") and method == "bitfit"
    return no_biases or (method in _PLACES and family not in TWO_STACKS)


def methods_of(family: str) -> tuple[str, ...]:
    """The methods that the family takes."""
    return tuple(method for method in METHODS if not impossible(family, method))


def refused(family: str, method: str, readout: str) -> bool:
    """Whether the pair means nothing, so that the program has to refuse it."""
    no_place = (readout == "cls" and family not in MASKED) or (readout == "mean" and family in TWO_STACKS)
    nothing_read = method.startswith("hard") and READOUTS[readout]["name"] == "linear"
    nothing_trained = method == "linear-probe" and READOUTS[readout]["name"] == "verbalizer"
    return no_place or nothing_read or nothing_trained or impossible(family, method)


def before(family: str) -> str:
    """What stands between a text and an answer behind it; a decoder's answer is a text of its own."""
    return "" if family in TWO_STACKS else " "


def anywhere(family: str) -> str:
    """A linear readout that the family has, of as many places as can be."""
    return "last" if family in TWO_STACKS else "mean"


def idle(assembly: Assembly, name: str) -> bool:
    """Whether a parameter can change nothing, by mathematics.

    A key's bias adds the same to all scores of a query; and where T5's decoder holds nothing but its start token, its
    attention to itself is of one place, whatever the queries and keys. (Real key/values beside it are other places.)
    """
    number = name.removeprefix("method.copies.")
    if number != name:
        name = assembly.method.names[int(number)]
    if name.endswith(("key.bias", "k_lin.bias", "k_proj.bias")):
        return True
    one_place = assembly.reader.item(ROWS[0]).rows[0].ids[-1:] == (assembly.backbone.decoder_start,)
    own = re.search(r"2/layer/0/SelfAttention/[qk]|decoder.*SelfAttention\.([qk]|relative_attention_bias)\.", name)
    return one_place and own is not None and assembly.method.at_rest().key_values is None


@cache
def short_words(family: str) -> dict[str, str]:
    """Two words that are one token in this family, for the two labels."""
    backbone = tiny(family)

    def alone(word: str) -> bool:
        return Verbalizer.build({"x": [word]}, ("x",), backbone.tokenizer, before(family)).single

    found = [word for word in (*_CANDIDATES, "A", "I") if alone(word)]
    return dict(zip(LABELS, found[:2], strict=True))


def config_of(
    family: str, method: str | Mapping[str, Any], readout: str | Mapping[str, Any] | None, **changes: Any
) -> RunConfig:
    """The run's settings; `changes` replace `training`'s settings, or `seed`, `template`, `task`."""
    top = {key: changes.pop(key) for key in ("seed", "template", "task") if key in changes}
    named = METHODS[method] if isinstance(method, str) else {"method": dict(method)}
    values: dict[str, Any] = {"data": "toy", "backbone": family, **named, "training": changes}
    if isinstance(readout, Mapping):
        values["readout"] = readout
    elif readout is not None:
        values["readout"] = dict(READOUTS[readout])
        if readout == "words":
            values["readout"]["words"] = short_words(family)
        elif readout == "long-words":
            values["readout"]["words"] = _LONG
        if "words" in readout:
            # A space, so that the answer is a word of its own, and the template of the method where it has one.
            values["template"] = values.get("template", "{text}") + " It was {mask}"
    return build(RunConfig, {**values, **top})


def make(
    family: str,
    method: str | Mapping[str, Any],
    readout: str | Mapping[str, Any] | None = None,
    *,
    backbone: Backbone | None = None,
    rows: Sequence[Mapping[str, Any]] = ROWS,
    labels: Sequence[str] = LABELS,
    stirred: bool = True,
    **changes: Any,
) -> Assembly:
    """The parts of one run on a fresh tiny backbone, or on the one given; see `stir`."""
    config = config_of(family, method, readout, **changes)
    task = tasks.get(config.task or "classification")()
    assembly = assemble(config, backbone or tiny(family), task, labels, rows)
    if isinstance(method, str) and method in SITED and stirred:
        stir(assembly)
    return assembly


@torch.no_grad()
def stir(assembly: Assembly) -> None:
    """Move what is trained from where it starts: operations at sites start at doing nothing, or nearly nothing."""
    generator = torch.Generator().manual_seed(3)
    for parameter in assembly.method.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.15)


def items(assembly: Assembly, rows: Sequence[Mapping[str, Any]] = ROWS, owner: str | None = OWNER) -> list[Item]:
    """The rows as the assembly's items, of the foreword that the loop trains unless another is named."""
    return [assembly.reader.item(row, owner) for row in rows]


def loud(assembly: Assembly) -> Assembly:
    """The assembly with readout weights at which scores differ between rows by more than rounding."""
    with torch.no_grad():
        generator = torch.Generator().manual_seed(7)
        for parameter in assembly.readout.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return assembly


@torch.no_grad()
def bank_of(assemblies: Mapping[str, Assembly]) -> Bank:
    """A bank with the compiled injection and the readout of each; all share the first one's backbone."""
    bank = Bank(next(iter(assemblies.values())).backbone)
    for name, assembly in assemblies.items():
        assembly.method.eval()
        assembly.readout.eval()
        bank.put(name, assembly.method.compiled().detached(), assembly.readout)
    return bank


@torch.no_grad()
def scores(bank: Bank, rows: Sequence[Item], side: str = "right") -> list[Tensor]:
    """Each item's `[C]` scores, computed in one batch."""
    found: dict[int, Tensor] = {}
    for numbers, part in bank.scores(collate(rows, bank.backbone.pad_id, side)):
        found |= dict(zip(numbers, part, strict=True))
    return [found[number] for number in range(len(rows))]


@torch.no_grad()
def hidden(bank: Bank, rows: Sequence[Item], side: str = "right") -> list[Tensor]:
    """Each row's `[T, H]` hidden states without the padding, computed in one batch."""
    batch = collate(rows, bank.backbone.pad_id, side)
    return [states[mask.bool()] for states, mask in zip(bank.hidden(batch), batch.mask, strict=True)]


def close(found: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float = 5e-5) -> None:
    """Equal up to rounding, one by one."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=tolerance, rtol=1e-4)


def same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Equal to the last bit, name by name."""
    assert found.keys() == expected.keys()
    for name in found:
        assert torch.equal(found[name], expected[name]), name


def gradients(assembly: Assembly) -> dict[str, Tensor]:
    """Those of all declared parameters, by name."""
    return {name: p.grad.detach().clone() for name, p in assembly.trained().items()}


def near(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Assert that gradients are equal up to rounding, each on its own scale."""
    for name, value in expected.items():
        scale = float(value.abs().max())
        torch.testing.assert_close(
            found[name], value, atol=1e-4 * scale + 1e-6, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}"
        )
