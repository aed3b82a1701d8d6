"""What a backbone is and what it can do, found by running a few tokens once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from foreword.backbone.attention import Prefix
from foreword.backbone.geometry import Geometry
from foreword.backbone.lines import Lines
from foreword.backbone.passage import Passages
from foreword.errors import Unsupported

if TYPE_CHECKING:
    from foreword.backbone.backbone import Backbone

LENGTHS = ("max_position_embeddings", "n_positions")
TRAINED_LENGTH = 512
"""How long T5's texts were in training (Raffel et al. 2020, section 3.1.2); its positions have no end of their own."""


class Sample(NamedTuple):
    """A row without padding: `[1, T]` ids, mask and positions; `border` as in `Backbone.forward`."""

    ids: Tensor
    mask: Tensor
    positions: Tensor
    border: int | None


def sample_of(backbone: Backbone) -> Sample:
    """Three tokens; in an encoder-decoder another two for the decoder, so that one tells which stack is attended to.

    RoBERTa's kind numbers no position for padding, so that none of them may be that.
    """
    config = backbone.model.config
    words = [token for token in range(config.vocab_size) if token != getattr(config, "pad_token_id", None)][:3]
    where = [0, 1, 2]
    if backbone.two_stacks:
        words, where = [*words, *words[:2]], [0, 1, 2, 0, 1]
    ids = torch.tensor([words], device=backbone.device)
    positions = torch.tensor([where], device=backbone.device)
    return Sample(ids, torch.ones_like(ids), positions, 3 if backbone.two_stacks else None)


@torch.no_grad()
def probe(backbone: Backbone, head: bool) -> Geometry:
    """Run the sample, see what happens, and note in `refusals` what the family cannot do; set `slots` and the parts.

    `head`: whether the checkpoint has a language-model head. **Raises** `Unsupported` for a family that takes nothing.
    """
    sample, named = sample_of(backbone), f"{backbone.name} ({backbone.family})"
    if backbone.two_stacks and backbone.decoder_start is None:
        raise Unsupported(
            f"{named} names no token for its decoder to begin with", do="set config.decoder_start_token_id"
        )
    backbone.geometry = _sizes(backbone, 0, 0, backbone.model.config.hidden_size)
    recorder = Prefix({}, recorded=[])
    try:
        hidden = _run(backbone, sample, recorder)
    except Exception as error:
        raise Unsupported(f"{named} cannot run on embeddings: {_reason(error)}") from error
    if sample.border is None:
        theirs = backbone.trunk(input_ids=sample.ids, attention_mask=sample.mask).last_hidden_state
    else:
        theirs = backbone.trunk.on_words(sample.ids, sample.border)
    if not _alike(hidden, theirs):
        raise Unsupported(f"{named} does not give the same on embeddings as on words")
    kv_heads, head_size = _probe_attention(backbone, recorder.recorded or [], sample)
    _probe_parts(backbone, sample, hidden)
    _probe_lines(backbone, sample)
    _probe_head(backbone, head, sample, hidden)
    return _sizes(backbone, kv_heads, head_size, hidden.shape[-1])


def _run(backbone: Backbone, sample: Sample, prefix: Prefix | None = None) -> Tensor:
    ids, mask, positions, border = sample
    return backbone.forward(backbone.embed(ids), mask, positions, prefix=prefix, border=border)


def _probe_attention(
    backbone: Backbone, recorded: list[tuple[nn.Module, Tensor, Tensor]], sample: Sample
) -> tuple[int, int]:
    """K and D; 0 where key/values cannot enter."""
    modules = [module for module, _, _ in recorded]
    if not modules or len(set(modules)) != len(modules):
        shared = "its layers share one attention module"
        backbone.refusals["key_values"] = (
            shared if modules else "its attention is not routed by transformers' interface"
        )
        return 0, 0
    backbone.slots = _slots(backbone, recorded, sample)
    shapes = {(key.shape[1], key.shape[3]) for _, key, _ in recorded}
    if len(shapes) > 1:
        backbone.refusals["key_values"] = "its layers have key/values of different shapes"
    return min(shapes)


def _slots(
    backbone: Backbone, recorded: list[tuple[nn.Module, Tensor, Tensor]], sample: Sample
) -> dict[nn.Module, int]:
    """Layers by number, through both stacks; a decoder's attention to its encoder follows that to itself.

    The one is told from the other by how many keys it has: the sample's two parts are not equally long.
    """
    inside = set(backbone.trunk.decoder.modules()) if backbone.two_stacks else set()
    crossing = [module in inside and key.shape[2] == sample.border for module, key, _ in recorded]
    layers = len(recorded) - sum(crossing)
    slots, layer = {}, -1
    for (module, _, _), crosses in zip(recorded, crossing, strict=True):
        layer += not crosses
        slots[module] = layer + layers * crosses
    return slots


def _probe_parts(backbone: Backbone, sample: Sample, hidden: Tensor) -> None:
    """Whether the trunk runs in parts with the same result: from a layer on, its last layer for one place alone."""
    refusals = backbone.refusals
    if "key_values" in refusals:
        refusals["parts"] = refusals["passage"] = refusals["key_values"]
        return
    ids, mask, where, border = sample
    embeds = backbone.embed(ids)
    try:
        sizes = _stack_sizes(backbone)
        backbone._passages = Passages(backbone.trunk, backbone.slots, sizes)
        if border is not None:
            backbone.state_width = hidden.shape[-1]
            refusals["passage"] = "a row runs through two stacks"
            return
        backbone._passages.learn(lambda: backbone.forward(embeds, mask, where))
        half = -(-len(backbone.slots) // 2)
        below = backbone.states(embeds, mask, where, stop=half)
        backbone.state_width = below.shape[-1]
        again = backbone.forward(embeds, mask, where, start=half, states=below, read=where[:, 1:2])
    except Exception as error:
        refusals["parts"] = refusals["passage"] = _reason(error)
        return
    if not _alike(again[:, 1], hidden[:, 1]):
        refusals["parts"] = refusals["passage"] = "a run in parts does not give the same as a whole one"


def _probe_lines(backbone: Backbone, sample: Sample) -> None:
    """Whether rows that lie end to end give the same as rows with padding: a row of three tokens, one of one."""
    refusals = backbone.refusals
    if "passage" in refusals:
        refusals["lines"] = refusals["passage"]
        return
    if not backbone._positions or backbone.windowed:
        what = "its layers count distances by themselves" if backbone.windowed else "it takes no positions"
        refusals["lines"] = what
        return
    ids, positions = sample.ids.expand(2, -1), sample.positions.expand(2, -1)
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]], device=ids.device)
    embeds, lines = backbone.embed(ids), Lines.of(mask)
    try:
        found, expected = (backbone.forward(embeds, mask, positions, lines=own) for own in (lines, None))
    except Exception as error:
        refusals["lines"] = _reason(error)
        return
    if not _alike(found[mask == 1], expected[mask == 1]):
        refusals["lines"] = "rows that lie end to end do not give the same as rows with padding"


def _stack_sizes(backbone: Backbone) -> tuple[int, ...]:
    """How many layers each stack has."""
    if not backbone.two_stacks:
        return (len(backbone.slots),)
    inside = set(backbone.trunk.decoder.modules())
    crossing = sum(module in inside for module in backbone.slots) // 2
    return len(backbone.slots) - 2 * crossing, crossing


def _probe_head(backbone: Backbone, head: bool, sample: Sample, hidden: Tensor) -> None:
    ids, mask, where, border = sample
    if not head:
        backbone.refusals["head"] = "this checkpoint has no language-model head, and an untrained one says nothing"
    elif backbone._features is None or backbone._matrix is None:
        backbone.refusals["head"] = "the head of this family is not known here"
    else:
        if border is None:
            theirs = backbone.model(**backbone._inputs(backbone.embed(ids), mask, where)).logits
        else:
            theirs = backbone.model(input_ids=ids[:, :border], decoder_input_ids=ids[:, border:]).logits
        if not _alike(backbone.logits(hidden[:, border:]), theirs):
            backbone.refusals["head"] = "its head does more than one matrix product, and that is not known here"


def _alike(found: Tensor, expected: Tensor) -> bool:
    return torch.allclose(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _parameters(backbone: Backbone) -> int:
    """Of the trunk without its pooler, and of the head where the checkpoint has one; tied ones count once."""
    whole = backbone.model if "head" not in backbone.refusals else backbone.trunk
    return sum(p.numel() for name, p in whole.named_parameters() if "pooler." not in name)


def _sizes(backbone: Backbone, kv_heads: int, head_size: int, hidden: int) -> Geometry:
    config = backbone.model.config
    embeddings = getattr(backbone.trunk, "embeddings", None)
    # RoBERTa's kind counts from the padding's number on, and keeps that row of its position table empty.
    unused = getattr(getattr(embeddings, "position_embeddings", None), "padding_idx", None)
    base = 0 if unused is None else unused + 1
    vocabulary, width = backbone.embedding.weight.shape
    sizes = _stack_sizes(backbone)
    return Geometry(
        hidden=hidden,
        embedding=width,
        layers=sum(sizes) or config.num_hidden_layers,
        heads=config.num_attention_heads,
        kv_heads=kv_heads,
        head_size=head_size,
        vocabulary=vocabulary,
        positions=next((size for one in LENGTHS if (size := getattr(config, one, None))), TRAINED_LENGTH) - base,
        position_base=base,
        parameters=_parameters(backbone),
        encoder_layers=sizes[0] if backbone.two_stacks else 0,
    )
