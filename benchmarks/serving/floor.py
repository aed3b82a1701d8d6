"""The floor of a case: operations of the matrix products that it needs ÷ the rate that this machine does them at.

Nothing that is computed for padding, twice, or beside the products counts as needed, so no program is faster at that
precision. A step of texts reads all weights besides, and memory is then the tighter bound: its bytes are told too.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from foreword.backbone.backbone import Backbone
from foreword.training.cost import matrix_rate


def layer_entries(backbone: Backbone) -> int:
    """Matrix entries of one layer that every token passes through."""
    embeddings = {id(module.weight) for module in backbone.trunk.modules() if isinstance(module, nn.Embedding)}
    named = backbone.trunk.named_parameters()
    matrices = [p for name, p in named if p.ndim == 2 and "pooler" not in name and id(p) not in embeddings]
    return sum(p.numel() for p in matrices) // backbone.geometry.layers


def row_operations(backbone: Backbone, tokens: int, ahead: int, read: int) -> float:
    """A row of `tokens` that see `ahead` more, of which `read` are read behind the last layer, where that is enough."""
    shape = backbone.geometry
    width, kv = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    layer, scores = layer_entries(backbone), 4.0 * (tokens + ahead) * width
    whole = tokens * (2.0 * layer + scores)
    last = 2.0 * tokens * 2 * shape.hidden * kv + read * (2.0 * (layer - 2 * shape.hidden * kv) + scores)
    return (shape.layers - 1) * whole + last


def step_operations(backbone: Backbone, texts: int, seen: float) -> float:
    """A token more of each of `texts`, which see so many places on average; the head included."""
    shape = backbone.geometry
    layer = 2.0 * layer_entries(backbone) + 4.0 * seen * shape.heads * shape.head_size
    return texts * (shape.layers * layer + 2.0 * shape.hidden * len(backbone.words))


def step_bytes(backbone: Backbone) -> float:
    """What one step reads of the weights, however many texts there are."""
    shape = backbone.geometry
    entries = shape.layers * layer_entries(backbone) + shape.hidden * len(backbone.words)
    return float(entries * backbone.embedding.weight.itemsize)


def rate_and(operations: float, unit: str) -> dict[str, Any]:
    """The needed operations, the rate (the best of six trials), and the seconds that follow."""
    rate = max(matrix_rate() for _ in range(6))
    return {"unit": unit, "gflop": operations / 1e9, "gflops": rate / 1e9, "seconds": operations / rate}
