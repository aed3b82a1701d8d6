"""Matrices as sums of Kronecker products: PHM (Zhang et al. 2021), with Compacter's factors (Mahabadi et al. 2021).

`W = sum over i of kron(A_i, B_i)`, with a rule A `[n, n, n]` and B `[n, in / n, out / n]`, which may be a product of
two of rank k (Compacter). The backbone is given W.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def new_rule(n: int, generator: torch.Generator) -> nn.Parameter:
    """A rule whose sums keep the variance of B's entries."""
    return nn.Parameter(torch.randn(n, n, n, generator=generator) / n**0.5)


class Kronecker(nn.Module):
    """A matrix `[in, out]` from a rule, its own or one that is shared, and factors.

    `std` is that of W's entries at the start; 0 makes W zero and lets a gradient through.
    """

    def __init__(
        self, shape: tuple[int, int], n: int, rank: int | None, std: float, own_rule: bool, generator: torch.Generator
    ) -> None:
        super().__init__()
        inputs, outputs = shape
        self.rule = new_rule(n, generator) if own_rule else None
        self.full: nn.Parameter | None = None
        if rank is None:
            self.full = nn.Parameter(torch.randn(n, inputs // n, outputs // n, generator=generator) * std)
            return
        each = (std**2 / rank) ** 0.25
        self.left = nn.Parameter(torch.randn(n, inputs // n, rank, generator=generator) * (each or 1.0))
        self.right = nn.Parameter(torch.randn(n, rank, outputs // n, generator=generator) * each)

    def forward(self, shared: Tensor | None) -> Tensor:
        """W, `[in, out]`."""
        rule = shared if self.rule is None else self.rule
        assert rule is not None
        factor = self.left @ self.right if self.full is None else self.full
        n, inputs, outputs = factor.shape
        return torch.einsum("iab,icd->acbd", rule, factor).reshape(n * inputs, n * outputs)
