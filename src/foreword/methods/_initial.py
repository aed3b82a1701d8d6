"""Where virtual tokens start: `[P, E]` vectors of the backbone's own embedding space.

Initialisation moves prompt tuning by tens of points (Lester et al. 2021, section 3.2), so random is not the default.
"""

from __future__ import annotations

import re
from typing import Literal

import torch
from torch import Tensor

from foreword.backbone.backbone import Backbone
from foreword.errors import ConfigError
from foreword.methods.base import MethodSetup
from foreword.text.pieces import adds_space

Init = Literal["random", "vocabulary", "text", "labels"]


@torch.no_grad()
def initial_vectors(init: Init, init_text: str | None, setup: MethodSetup) -> Tensor:
    """`[P, E]` for the P soft tokens of the template; a slot's own initial text goes before `init`."""
    count = setup.template.soft_count
    generator = setup.generator()
    table = setup.backbone.words.detach()
    if init == "random":
        vectors = torch.randn(count, table.shape[1], generator=generator) * float(table.float().std())
    elif init == "text":
        ids = text_ids(init_text, setup.backbone)
        vectors = table[[ids[i % len(ids)] for i in range(count)]]
    else:
        vectors = table[_sample(count, setup.backbone, generator)]
    if init == "labels":
        if not setup.labels:
            raise ConfigError("init: labels begins with the labels' names: there are none", do="set init: vocabulary")
        named = _label_vectors(setup, table)[:count]
        vectors = torch.cat([named, vectors[len(named) :]])
    vectors = vectors.to(torch.float32).clone()
    for place, token in enumerate(setup.template.initial_ids(setup.backbone.tokenizer)):
        if token is not None:
            vectors[place] = table[token]
    return vectors


def text_ids(text: str | None, backbone: Backbone) -> list[int]:
    """The token ids of an initial text. **Raises** `ConfigError` where there is none."""
    if not text or not text.strip():
        raise ConfigError("init: text needs init_text", do="give method.init_text, a sentence that describes the task")
    ids: list[int] = backbone.tokenizer(text, add_special_tokens=False)["input_ids"]
    if not ids:
        raise ConfigError(f"the tokenizer makes no token of the initial text {text!r}", do="write it in words")
    return ids


def _sample(count: int, backbone: Backbone, generator: torch.Generator) -> list[int]:
    """Ids of real words."""
    real = real_ids(backbone)
    picks = torch.randint(len(real), (count,), generator=generator)
    return [real[int(pick)] for pick in picks]


def real_ids(backbone: Backbone) -> list[int]:
    """The vocabulary's ids but those of special, added or unused entries."""
    tokenizer = backbone.tokenizer
    special = set(tokenizer.all_special_ids) | set(tokenizer.get_added_vocab().values())
    size = min(len(tokenizer), backbone.geometry.vocabulary)
    names = tokenizer.convert_ids_to_tokens(list(range(size)))
    return [i for i, name in enumerate(names) if i not in special and not re.fullmatch(r"[\[<].*[\]>]", name or "[]")]


def _label_vectors(setup: MethodSetup, table: Tensor) -> Tensor:
    tokenizer = setup.backbone.tokenizer
    space = "" if adds_space(tokenizer) else " "
    rows = []
    for label in setup.labels:
        ids = text_ids(space + label.replace("_", " "), setup.backbone)
        rows.append(table[ids].mean(0))
    return torch.stack(rows)
