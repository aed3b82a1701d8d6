from __future__ import annotations

import pytest
import torch

from foreword.backbone.attention import NAME
from foreword.batch import collate
from foreword.errors import Unsupported
from foreword.inspection import Subject
from foreword.inspection.attention import attention_shares
from foreword.inspection.watching import watch
from support.backbones import bare
from support.inspected import TOKENS, subject


@pytest.mark.parametrize(("family", "readout"), [("bert", None), ("llama", "last")])
def test_shares_of_soft_tokens_are_those_of_transformers_own_attention(family, readout):
    one = subject(family, "prompt-middle", readout=readout)
    found = attention_shares(one)
    model = bare(family)
    model.set_attn_implementation("eager")
    sums, count = 0, 0
    for item in one.items:
        batch = collate([item], one.backbone.pad_id)
        with torch.no_grad():
            out = model(
                inputs_embeds=one.bank().embeds(batch), attention_mask=batch.mask, position_ids=batch.positions,
                output_attentions=True,
            )  # fmt: skip
        weights = torch.stack(out.attentions)[:, 0]  # [L, heads, T, T]
        text = batch.soft[0] < 0
        order = batch.soft[0][~text].argsort()
        sums = sums + weights[:, :, text][..., ~text][..., order].sum(2)
        count += int(text.sum())
    torch.testing.assert_close(found.by_head, sums / count, atol=1e-5, rtol=1e-4)
    assert found.queries == count


@pytest.mark.parametrize(("family", "method"), [("bert", "v2-low"), ("gpt2", "v2-random"), ("llama", "combined")])
def test_the_pass_that_is_watched_is_the_pass(family, method):
    one = subject(family, method, readout=None if family == "bert" else "last")
    bank, batch = one.bank(), collate(one.items, one.backbone.pad_id)
    seen = {}
    with torch.no_grad():
        hidden = watch(bank, batch, lambda layer, weights: seen.setdefault(layer, weights))
        kept = batch.mask == 1  # what stands at padding has no meaning
    torch.testing.assert_close(hidden[kept], bank.hidden(batch)[kept], atol=1e-5, rtol=1e-5)
    assert sorted(seen) == [0, 1, 2]
    for layer, weights in seen.items():
        table = one.injection.key_values
        ahead = table.length if layer in table.layers else 0
        assert weights.shape[-1] == batch.ids.shape[1] + ahead
        read = weights.sum(-1).transpose(1, 2)[batch.mask == 1]
        torch.testing.assert_close(read, torch.ones_like(read))
    assert one.backbone.model.config._attn_implementation == NAME


@pytest.mark.parametrize(("family", "readout"), [("bert", None), ("gpt2", "last")])
def test_tokens_among_the_words_and_in_front_of_the_layers_are_all_counted(family, readout):
    one = subject(family, TOKENS, readout=readout)
    found, soft = attention_shares(one), one.soft
    assert 0 < soft < one.length and found.by_head.shape[-1] == one.length
    seen = {}
    batch = collate([one.items[0]], one.backbone.pad_id)
    with torch.no_grad():
        watch(one.bank(), batch, lambda layer, weights: seen.setdefault(layer, weights))
    alone = attention_shares(Subject(one.foreword, one.rows[:1]))
    weights = seen[1][0][:, batch.soft[0] < 0]  # [heads, text, 3 + T]
    front, places = weights[..., : one.length - soft], batch.soft[0].argsort()[-soft:] + one.length - soft
    expected = torch.cat([weights[..., places], front], dim=-1).mean(1)
    torch.testing.assert_close(alone.by_head[1], expected, atol=1e-6, rtol=1e-5)


def test_even_attention_is_the_share_of_what_can_be_seen():
    one = subject("bert", "v2-random", rows=[{"text": "good", "label": 1}])
    assert attention_shares(one).uniform == pytest.approx([4 / (4 + 3)] * 3), "[CLS] good [SEP] and four"
    one = subject("gpt2", "v2-random", readout="last", rows=[{"text": "good", "label": 1}])
    text = len(one.items[0].rows[0])
    expected = sum(4 / (4 + i) for i in range(1, text + 1)) / text
    assert attention_shares(one).uniform == pytest.approx([expected] * 3)


def test_rows_of_other_lengths_change_nothing():
    one = subject("bert", "v2-random")
    whole = attention_shares(one)
    single = [attention_shares(subject("bert", "v2-random", rows=[row])) for row in one.rows]
    mean = sum(s.by_head * s.queries for s in single) / sum(s.queries for s in single)
    torch.testing.assert_close(whole.by_head, mean, atol=1e-5, rtol=1e-4)


def test_a_family_whose_attention_goes_another_way_is_refused():
    one = subject("albert", "prompt-vocabulary")
    with pytest.raises(Unsupported):
        attention_shares(one)
