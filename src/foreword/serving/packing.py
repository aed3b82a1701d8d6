"""Weights laid out for products with few rows, which is what a step of texts is made of.

A product of a few rows with a large matrix is bound by reading the matrix. The library rearranges it at every call from
two rows on, which takes as long again; arranged once, it is read at the speed of memory. What comes out is equal up to
rounding. It takes the weights' memory a second time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from foreword.backbone.backbone import Backbone

LEAST, ROWS = 3, 16
"""From how many rows on it pays, and for how many the weights are laid out; fewer are filled up with zeros."""
ENTRIES = 2**16
"""Smaller matrices stay in the processor's own memory, and nothing is won."""


class Packed:
    """Matrices that are laid out anew, by identity."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[Tensor, Tensor]] = {}

    def __len__(self) -> int:
        return len(self._found)

    def add(self, weight: Tensor) -> None:
        """Lay out `[N, K]`."""
        made = torch.ops.mkl._mkl_reorder_linear_weight(weight.detach(), ROWS)
        self._found[id(weight)] = (weight, made)

    def product(self, given: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """`linear`: `[..., K]` to `[..., N]`."""
        found, rows = self._found.get(id(weight)), given.numel() // given.shape[-1]
        if found is None or not LEAST <= rows <= ROWS:
            return linear(given, weight, bias)
        flat = given.reshape(rows, given.shape[-1])
        whole = flat if rows == ROWS else pad(flat, (0, 0, 0, ROWS - rows))
        out: Tensor = torch.ops.mkl._mkl_linear(whole, found[1], weight, bias, ROWS)
        return out[:rows].view(*given.shape[:-1], -1)


@contextmanager
def packed(backbone: Backbone, entries: int = ENTRIES) -> Iterator[int]:
    """The backbone's products with few rows go through laid-out weights in the block; how many matrices those are.

    None where the build of torch, the device or the precision has no such products. Weights that are replaced, as by a
    fine-tuned copy, are multiplied as they are.
    """
    made, modules = Packed(), []
    if available() and backbone.device.type == "cpu":
        modules = [one for one in backbone.model.modules() if type(one) is nn.Linear and _large(one.weight, entries)]
        weights = {id(one.weight): one.weight for one in modules}
        for weight in weights.values():
            made.add(weight)
    before = backbone.product
    try:
        for module in modules:
            module.forward = partial(_forward, module, made)  # type: ignore[method-assign]
        backbone.product = made.product
        yield len(made)
    finally:
        backbone.product = before
        for module in modules:
            del module.forward


def available() -> bool:
    """Whether this build of torch has these products, and they give what `linear` gives."""
    if not torch.backends.mkl.is_available() or not torch.backends.mkldnn.is_available():
        return False
    given, weight = torch.randn(LEAST, 8), torch.randn(5, 8)
    made = Packed()
    try:
        made.add(weight)
        return torch.allclose(made.product(given, weight, None), linear(given, weight), atol=1e-5)
    except (AttributeError, RuntimeError):  # they are no part of torch's public interface
        return False


def _forward(module: nn.Linear, made: Packed, given: Tensor) -> Tensor:
    return made.product(given, module.weight, module.bias)


def _large(weight: Tensor, entries: int) -> bool:
    return weight.dtype == torch.float32 and weight.numel() >= entries
