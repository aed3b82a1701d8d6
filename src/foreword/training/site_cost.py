"""What operations at sites add to a step, and what their places save of the backward pass."""

from __future__ import annotations

from dataclasses import dataclass

from foreword.assembly import Assembly
from foreword.backbone.anatomy import Organ
from foreword.injections import Bottleneck, LowRank, Sites
from foreword.injections.sites import Operation


@dataclass(frozen=True)
class SiteCost:
    """Floating-point operations of matrix products, per row of T tokens.

    `early`, `late`: of a token in all layers but the last, and in the last one, in front of its attention (which runs
    for all tokens whatever is read) and behind it. `under`: of a token, by what the backward pass leaves out in the
    lowest layer with a site: matrices in front of the attention, and behind it; `scores`: whether it leaves out the
    attention too, at width `hidden`. `lowest_is_last`: whether that layer is the last one.
    """

    early: float = 0.0
    last: tuple[float, float] = (0.0, 0.0)
    under: tuple[float, float] = (0.0, 0.0)
    scores: bool = False
    hidden: int = 0
    lowest_is_last: bool = False

    def forward(self, tokens: float, read: int = 0) -> float:
        """Of the operations in one row; the last layer behind its attention for `read` places, 0 for all."""
        before, after = self.last
        narrow = before * (tokens + read) + after * read if read else (before + after) * tokens
        return self.early * tokens + narrow

    def below(self, tokens: float, ahead: float, read: int = 0) -> float:
        """What no gradient runs through in the lowest layer with a site, of what a whole layer would cost."""
        before, after = self.under
        places = read if read and self.lowest_is_last else tokens
        scores = 4.0 * places * (tokens + ahead) * self.hidden if self.scores else 0.0
        return before * tokens + after * places + scores


def site_cost(assembly: Assembly) -> SiteCost:
    """The cost of what the method compiles to; nothing where it has no sites."""
    injection = assembly.method.at_rest()
    if injection.sites is None:
        return SiteCost()
    anatomy, sites = assembly.backbone.anatomy, injection.sites
    top = (assembly.readout.stop or len(anatomy.layers)) - 1
    behind = {(i, organ.path): organ.after_attention for i, organs in enumerate(anatomy.layers) for organ in organs}
    early, last = 0.0, [0.0, 0.0]
    for (layer, path, _), operation in sites.at.items():
        if layer < top:
            early += flops_of(operation)
        else:
            last[behind.get((layer, path), True)] += flops_of(operation)
    key_values = None if injection.key_values is None else injection.key_values.layers[0]
    if injection.soft is not None or (key_values is not None and key_values < sites.lowest):
        return SiteCost(early, (last[0], last[1]))
    under, scores = _under(anatomy.layers[sites.lowest], sites)
    if key_values == sites.lowest:
        under, scores = (under[0], 0.0), False
    return SiteCost(early, (last[0], last[1]), under, scores, anatomy.width, sites.lowest == top)


def flops_of(operation: Operation) -> float:
    """Operations of its matrix products for one token."""
    if isinstance(operation, LowRank):
        return 2.0 * (operation.a.numel() + operation.b.numel())
    return 2.0 * (operation.down.numel() + operation.up.numel()) if isinstance(operation, Bottleneck) else 0.0


def _under(organs: tuple[Organ, ...], sites: Sites) -> tuple[tuple[float, float], bool]:
    """Operations of the lowest layer's matrices in front of its first site, before and behind attention.

    And whether attention stands in front of it.
    """
    here = sites.by_layer[sites.lowest]
    order = {organ.path: number for number, organ in enumerate(organs)} | {"": len(organs)}
    first = min(order[path] for path in here)
    late = first == len(organs) or organs[first].after_attention
    if not late and organs[first].role == "norm":
        return (0.0, 0.0), False
    found = [0.0, 0.0]
    for number, organ in enumerate(organs):
        above = number > first if late else organ.after_attention
        if organ.role != "norm" and not above and "scale_input" not in here.get(organ.path, {}):
            found[organ.after_attention] += 2.0 * organ.inputs * organ.outputs
    return (found[0], found[1]), late
