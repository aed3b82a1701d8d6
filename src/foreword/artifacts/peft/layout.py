"""Where PEFT puts things: its matrix of key/values, its virtual tokens' places, its text's positions.

PEFT's prefix is a matrix `[P, 2 L K D]`: per virtual token the layers' keys and values in turn, keys as attention sees
them. Its virtual tokens stand in front of the whole row, the tokenizer's own first token included, where ours stand
right behind that one. Both move the text by P positions.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from foreword.backbone.attention import LayerPrefix
from foreword.backbone.backbone import Backbone
from foreword.backbone.geometry import Geometry
from foreword.errors import Unsupported
from foreword.injections import Injection, KeyValues, SoftTokens
from foreword.text.encoder import Encoder
from foreword.text.rows import Row
from foreword.text.template import Sep


def key_values_of(matrix: Tensor, geometry: Geometry) -> Tensor:
    """`[L, 2, K, P, D]` of PEFT's `[P, 2 L K D]`."""
    shape = (len(matrix), geometry.layers, 2, geometry.kv_heads, geometry.head_size)
    return matrix.view(shape).permute(1, 2, 3, 0, 4).contiguous()


def matrix_of(key_values: Tensor) -> Tensor:
    """PEFT's `[P, 2 L K D]` of `[L, 2, K, P, D]`."""
    return key_values.permute(3, 0, 1, 2, 4).flatten(1).contiguous()


def in_front(row: Row, count: int) -> Row:
    """A row with `count` virtual tokens in front of everything, as PEFT places them; [CLS] and the answers move."""
    if any(place >= 0 for place in row.soft):
        raise Unsupported("the row has virtual tokens already", do="encode it with a template without soft slots")
    return replace(
        row,
        ids=(row.ids[0],) * count + row.ids,
        soft=(*range(count), *row.soft),
        types=(0,) * count + row.types,
        cls=None if row.cls is None else row.cls + count,
        answers=tuple(place + count for place in row.answers),
        border=None if row.border is None else row.border + count,
    )


def check_segments(injection: Injection, encoder: Encoder, backbone: Backbone) -> None:
    """**Raises** `Unsupported` where segment ids matter, which PEFT's prompt methods drop outside of classifiers."""
    two = any(isinstance(part, Sep) for part in encoder.template.parts)
    if injection.sites is None and backbone.kind == "masked" and backbone.segments and two:
        raise Unsupported(
            "the template has two segments, and PEFT's feature extraction drops their numbers",
            where=str(encoder.template),
            do="write the two texts into one segment, without {sep}",
        )


@torch.no_grad()
def compiled(soft: SoftTokens, backbone: Backbone) -> Injection:
    """Virtual tokens in front of everything as key/values: the same for a causal model, where nothing changes them.

    **Raises** `Unsupported` for a masked model, where the text does.
    """
    if backbone.kind != "causal":
        raise Unsupported(f"{backbone.name} is a masked model, whose virtual tokens see the text and change with it")
    table = backbone.key_values(soft.vectors.to(backbone.embedding.weight))
    layers = tuple(range(backbone.geometry.layers))
    return Injection(key_values=KeyValues(layers, table.float()), position_offset=len(soft.vectors))


def moved(injection: Injection, backbone: Backbone, offset: int) -> Injection | None:
    """Key/values that do at another position offset what these do at theirs; None where there are no such ones.

    With rotary positions a score depends on the distance alone, so that turning the keys by the difference undoes the
    move. Learned positions are in the text itself, and no key undoes that. What is found is tried, not assumed.
    """
    table, by = injection.key_values, offset - injection.position_offset
    assert table is not None
    if by == 0:
        return injection
    turned = _turned(table.tensor[:, 0], backbone, by)
    if turned is None:
        return None
    tensor = torch.stack([turned, table.tensor[:, 1]], dim=1)
    found = Injection(key_values=KeyValues(table.layers, tensor), position_offset=offset)
    if offset + 8 > backbone.geometry.positions:
        return None
    before, after = _tried(injection, backbone), _tried(found, backbone)
    return found if torch.allclose(before, after, rtol=1e-3, atol=1e-4 * float(before.abs().max())) else None


@torch.no_grad()
def _turned(keys: Tensor, backbone: Backbone, by: int) -> Tensor | None:
    """Keys `[..., D]` turned by `by` positions (Su et al. 2021, eq. 34), the rotary part of them."""
    rotary = next((part for name, part in backbone.trunk.named_modules() if name.endswith("rotary_emb")), None)
    if rotary is None:
        return None
    try:
        cos, sin = rotary(keys, torch.tensor([[by]], device=keys.device))
    except (TypeError, ValueError, RuntimeError):  # another kind of rotary module, whose way is not known here
        return None
    if not isinstance(cos, Tensor) or cos.shape[-1] > keys.shape[-1]:
        return None
    cos, sin = cos.reshape(-1).to(keys), sin.reshape(-1).to(keys)
    rotating, still = keys[..., : len(cos)], keys[..., len(cos) :]
    first, second = rotating.chunk(2, dim=-1)
    return torch.cat([rotating * cos + torch.cat([-second, first], dim=-1) * sin, still], dim=-1)


@torch.no_grad()
def _tried(injection: Injection, backbone: Backbone) -> Tensor:
    """`[1, 8, H]`, what a few words become under key/values."""
    table = injection.key_values
    assert table is not None
    words = [token for token in range(backbone.geometry.vocabulary) if token != backbone.pad_id][:8]
    ids = torch.tensor([words], device=backbone.device)
    where = torch.arange(len(words), device=backbone.device)[None] + injection.position_offset
    layers = {layer: LayerPrefix(*table.tensor[i, :, None]) for i, layer in enumerate(table.layers)}
    return backbone.forward(backbone.embed(ids), torch.ones_like(ids), where, None, backbone.prefix(layers))
