"""Matrix products in 8 bits, for use and not for training: an option whose loss of quality is measured, not assumed.

Weights are rounded once, a scale for each output; inputs are rounded as they come, a scale for each token (dynamic
quantisation, as in Dettmers et al. 2022, section 3.1, without its outlier columns). The sums are exact integers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Int8Linear(nn.Module):
    """A linear layer `[..., I] -> [..., O]` in int8. No gradient runs through it."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """`weight`: `[O, I]`."""
        super().__init__()
        scale = weight.abs().amax(1).clamp(min=1e-12) / 127
        self.register_buffer("rounded", (weight / scale[:, None]).round().to(torch.int8).t().contiguous())
        self.register_buffer("scale", scale.float())
        self.register_buffer("bias", None if bias is None else bias.detach().clone())
        self.rounded: Tensor
        self.scale: Tensor
        self.bias: Tensor | None

    @property
    def weight(self) -> Tensor:
        """The rounded weights; T5 looks at their type before it uses a layer."""
        return self.rounded

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Tensor:
        """`[..., O]` in the type of the inputs."""
        flat = inputs.reshape(-1, inputs.shape[-1])
        own = flat.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
        sums = torch._int_mm((flat / own).round().to(torch.int8), self.rounded)
        out = sums.to(flat.dtype) * (own * self.scale)
        if self.bias is not None:
            out = out + self.bias
        return out.reshape(*inputs.shape[:-1], -1)


def round_layers(layers: nn.Module) -> int:
    """Replace every linear layer inside, in place; how many there were."""
    found = 0
    for module in list(layers.modules()):
        for name, child in list(module.named_children()):
            weight = _weight(child)
            if weight is not None:
                setattr(module, name, Int8Linear(weight, getattr(child, "bias", None)))
                found += 1
    return found


def _weight(module: nn.Module) -> Tensor | None:
    """`[O, I]` of a linear layer; GPT-2's Conv1D keeps it turned."""
    if isinstance(module, nn.Linear):
        return module.weight.detach()
    if type(module).__name__ == "Conv1D" and isinstance(weight := getattr(module, "weight", None), Tensor):
        return weight.detach().t()
    return None
