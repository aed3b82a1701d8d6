"""Backbones, rows and forewords for generation."""

import pytest
import torch

from foreword.bank import Bank
from foreword.batch import Item
from foreword.injections import Injection, KeyValues, SoftTokens, Weights
from foreword.text.rows import Row
from support.backbones import LAYERS, tiny

FAMILIES = ("gpt2", "llama", "opt")
# Lengths differ, so that a batch is padded; ids stay clear of the families' special tokens.
LENGTHS = (5, 9, 3, 7, 6, 4)


def row(ids, soft=None):
    return Row(tuple(ids), tuple(soft or [-1] * len(ids)), (0,) * len(ids), None, (len(ids) - 1,))


def text(length, seed):
    return torch.randint(10, 380, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def injections(backbone):
    """One of each kind: (where its soft tokens stand in a text, the injection)."""
    chance = torch.Generator().manual_seed(3)
    geometry = backbone.geometry
    shape = (2, geometry.kv_heads, 4, geometry.head_size)

    def some(*size):
        return torch.randn(*size, generator=chance)

    copied = {
        name: tensor + 0.05 * some(*tensor.shape)
        for name, tensor in backbone.model.named_parameters()
        if tensor.ndim > 1
    }
    return {
        "front": (0, Injection(soft=SoftTokens(some(3, geometry.embedding)))),
        "middle": (2, Injection(soft=SoftTokens(some(5, geometry.embedding)))),
        "deep": (None, Injection(key_values=KeyValues(tuple(range(LAYERS)), some(LAYERS, *shape)))),
        "subset": (
            None,
            Injection(key_values=KeyValues((1, 2), some(2, *shape)[:, :, :, :2]), position_offset=2),
        ),
        "full": (None, Injection(weights=Weights(copied))),
    }


def item_for(owner, place, virtual, length, seed):
    ids = text(length, seed)
    if place is None:
        return Item((row(ids),), owner)
    slots = list(range(virtual))
    soft = [*[-1] * place, *slots, *[-1] * (length - place)]
    return Item((row([*ids[:place], *[0] * virtual, *ids[place:]], soft),), owner)


class World:
    """A bank with one foreword of each kind, and an item for each of them and for none."""

    def __init__(self, family):
        self.backbone = tiny(family)
        self.bank = Bank(self.backbone)
        self.items = {None: item_for(None, None, 0, LENGTHS[0], 0)}
        for number, (name, (place, injection)) in enumerate(injections(self.backbone).items(), 1):
            self.bank.put(name, injection)
            virtual = 0 if injection.soft is None else len(injection.soft.vectors)
            self.items[name] = item_for(name, place, virtual, LENGTHS[number], number)

    def bare_items(self, count=4):
        return [Item((row(text(length, 50 + length)),)) for length in LENGTHS[:count]]


_worlds: dict[str, World] = {}


@pytest.fixture(params=FAMILIES)
def world(request):
    return _worlds.setdefault(request.param, World(request.param))


@pytest.fixture
def gpt2():
    return _worlds.setdefault("gpt2", World("gpt2"))
