"""Law 5: a readout reads the right place under any prompt."""

from __future__ import annotations

import pytest
import torch

from foreword.batch import Item, collate
from foreword.text.rows import Row
from support.backbones import FAMILIES, MASKED, ONE_STACK, kind, shared
from support.forewords import PAIRS, bank_of, close, grid, hidden, items, make, refused, short_words

SOFT_FRONT = "prompt-text"


def markers(batch) -> torch.Tensor:
    """`[B, T, 2]` hidden states that are their own place: (place, 1)."""
    place = torch.arange(batch.ids.shape[1], dtype=torch.float32).expand(batch.ids.shape)
    return torch.stack([place, torch.ones_like(place)], dim=-1)


def reading(assembly):
    """The linear readout with weights that give out the place it reads."""
    with torch.no_grad():
        assembly.readout.weight = torch.nn.Parameter(torch.eye(2))
        assembly.readout.bias.zero_()
    return assembly.readout.eval()


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("family", "method"), grid())
def test_linear_readouts_read_their_place(family, method, side, law):
    for readout in ("cls", "last", "mean"):
        if refused(family, method, readout):
            continue
        assembly = make(family, method, readout, backbone=shared(family))
        rows = items(assembly)
        batch = collate(rows, assembly.backbone.pad_id, side)
        tokenizer = assembly.backbone.tokenizer
        with torch.no_grad():
            read = reading(assembly)(markers(batch), batch, assembly.backbone)[:, 0]
        for row, place in enumerate(read.tolist()):
            text = ((batch.mask[row] == 1) & (batch.soft[row] < 0)).nonzero().flatten()
            if readout == "cls":
                assert batch.ids[row, int(place)] == tokenizer.cls_token_id
                assert batch.soft[row, int(place)] == -1 and batch.mask[row, int(place)] == 1
            elif readout == "last":
                assert int(place) == int(batch.mask[row].nonzero().max())
            else:
                assert place == pytest.approx(float(text.float().mean()), abs=1e-4)
        law(5)


class _Echo:
    """A head whose logit of every word is the place that it is asked about."""

    def logits(self, hidden, words=None):
        return hidden[..., :1].expand(*hidden.shape[:-1], 500 if words is None else len(words))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("family", "method"), grid())
def test_verbalizers_read_the_place_of_the_answer(family, method, side, law):
    for readout in ("words", "long-words"):
        if refused(family, method, readout):
            continue
        assembly = make(family, method, readout, backbone=shared(family))
        backbone, rows = assembly.backbone, items(assembly)
        batch = collate(rows, backbone.pad_id, side)
        if readout == "words":
            with torch.no_grad():
                read = assembly.readout(markers(batch), batch, _Echo())[:, 0].long().tolist()
            assert read == batch.answers[:, 0].tolist()
        for number, owner in enumerate(batch.items):
            variant = assembly.readout.variants[number % len(assembly.readout.variants)]
            places = [place for place in batch.answers[number].tolist() if place >= 0]
            assert [batch.mask[number, place] for place in places] == [1] * len(places)
            assert owner == number // len(assembly.readout.variants)
            ids = batch.ids[number]
            if kind(family) == "masked":
                assert [int(ids[place]) for place in places] == [backbone.tokenizer.mask_token_id] * variant.masks
            else:
                assert tuple(int(ids[place + 1]) for place in places[:-1]) == variant.continuation
                assert places[-1] == int(batch.last[number])
        law(5)


def replaced(row: Row, vectors: list[int]) -> Row:
    """The row with real words where its virtual tokens stand."""
    ids = tuple(vectors[soft] if soft >= 0 else token for token, soft in zip(row.ids, row.soft, strict=True))
    return Row(ids, (-1,) * len(row), row.types, row.cls, row.answers, row.cut, border=row.border)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("template", ['{soft:"it was"} {text}', 'The {text} {soft:"film"} good {soft:"it was"}'])
def test_virtual_tokens_that_are_words_are_those_words(family, template, law):
    assembly = make(family, "prompt-middle", "last", backbone=shared(family), template=template)
    words = assembly.reader.encoder.template.initial_ids(assembly.backbone.tokenizer)
    own = items(assembly, owner="own")
    plain = [Item(tuple(replaced(row, words) for row in item.rows)) for item in own]
    for side in ("left", "right"):
        both = hidden(bank_of({"own": assembly}), [*own, *plain], side)
        close(both[: len(own)], both[len(own) :], 1e-5)
    law(5)


@pytest.mark.parametrize("family", [family for family in FAMILIES if kind(family) == "causal"])
def test_key_values_of_a_text_in_front_are_that_text(family, law):
    """Exactly: with the positions moved, for text after it, padded or not, and beside rows that have no prefix."""
    backbone = shared(family)
    assembly = make(family, "v2-text", "last", backbone=backbone)
    text = assembly.config.method.init_text
    ids = tuple(backbone.tokenizer(text, add_special_tokens=False)["input_ids"])
    injection = assembly.method.compiled()
    assert injection.position_offset == len(ids) == injection.key_values.length
    bank, own = bank_of({"own": assembly}), items(assembly, owner="own")
    whole = []
    for item in own:
        [row] = item.rows
        whole.append(Item((Row(ids + row.ids, (-1,) * (len(ids) + len(row)), (0,) * (len(ids) + len(row)), None, ()),)))
    expected = [states[len(ids) :] for states in hidden(bank, whole)]
    for side in ("left", "right"):
        close(hidden(bank, own, side), expected, 1e-5)
        close(hidden(bank, [*own, *whole], side)[: len(own)], expected, 1e-5)
    close([hidden(bank, [one])[0] for one in own], expected, 1e-5)
    law(5)


@pytest.mark.parametrize("family", ONE_STACK)
def test_key_values_of_a_text_are_those_that_the_plain_model_makes(family, law):
    """Against the projections of the layers themselves, for encoders between their special tokens."""
    from support.backbones import bare

    backbone = shared(family)
    assembly = make(family, "v2-text", "last", backbone=backbone)
    tokenizer, length = backbone.tokenizer, assembly.method.table.shape[3]
    text = assembly.config.method.init_text
    ids = tokenizer(text, add_special_tokens=kind(family) == "masked")["input_ids"]
    assert length == len(tokenizer(text, add_special_tokens=False)["input_ids"])
    names = ("value", "v_lin", "v_proj", "c_attn")
    seen = []
    model = bare(family)
    for name, module in model.named_modules():
        if name.rpartition(".")[2] in names:
            module.register_forward_hook(lambda module, args, output: seen.append(output))
    with torch.no_grad():
        model(input_ids=torch.tensor([ids]))
    start = 1 if kind(family) == "masked" else 0
    geometry = backbone.geometry
    width = geometry.kv_heads * geometry.head_size
    assert len(seen) == geometry.layers
    for layer, output in enumerate(seen):
        values = output[0, start : start + length, -width:].view(length, geometry.kv_heads, geometry.head_size)
        close([assembly.method.table[layer, 1].detach()], [values.transpose(0, 1)], 1e-5)
    law(5)


@pytest.mark.parametrize("family", MASKED)
def test_pairs_keep_their_cls_and_segments_under_a_prompt(family, law):
    assembly = make(family, SOFT_FRONT, "cls", rows=PAIRS, task="pair-classification", backbone=shared(family))
    plain = make(family, "linear-probe", "cls", rows=PAIRS, task="pair-classification", backbone=shared(family))
    for prompted, bare_item in zip(items(assembly, PAIRS), items(plain, PAIRS), strict=True):
        [row], [without] = prompted.rows, bare_item.rows
        text = [i for i, soft in enumerate(row.soft) if soft < 0]
        assert tuple(row.ids[i] for i in text) == without.ids
        assert tuple(row.types[i] for i in text) == without.types
        assert row.ids[row.cls] == assembly.backbone.tokenizer.cls_token_id
    law(5)


def test_short_words_are_what_the_grid_takes_them_for():
    for family in FAMILIES:
        assembly = make(family, "hard", "words", backbone=shared(family))
        assert assembly.readout.words.single and len(short_words(family)) == 2
        assert not make(family, "hard", "long-words", backbone=shared(family)).readout.words.single
