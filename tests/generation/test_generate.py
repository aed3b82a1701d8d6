"""Laws 1, 3, 4 and 6 for generation: bare rows as transformers, cache as none, batches as single rows."""

import pytest
import torch

from foreword.bank import Bank
from foreword.batch import Item
from foreword.errors import ConfigError, Unsupported
from foreword.generation import GenerationOptions, generate
from foreword.generation.session import Session
from foreword.text.rows import Row
from support.backbones import POSITIONS, bare, tiny

GREEDY = GenerationOptions(max_new_tokens=12)
OWNERS = (None, "front", "middle", "deep", "subset", "full")
SETTINGS = {
    "greedy": GREEDY,
    "beam": GenerationOptions(max_new_tokens=8, num_beams=3, num_return_sequences=2, length_penalty=0.7),
    "sampled": GenerationOptions(max_new_tokens=8, do_sample=True, top_k=30, num_return_sequences=2, seed=5),
}


def same(found, expected):
    """Equal tokens, texts and reasons; log-probabilities up to rounding."""
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert [(g.ids, g.text, g.finished) for g in ours] == [(g.ids, g.text, g.finished) for g in theirs]
        assert [g.log_probability for g in ours] == pytest.approx([g.log_probability for g in theirs], abs=2e-4)


def test_greedy_equals_transformers(world):
    model = bare(world.backbone.family)
    eos = world.backbone.tokenizer.eos_token_id
    different = set()
    for item, (ours,) in zip(world.bare_items(), generate(world.bank, world.bare_items(), GREEDY), strict=True):
        ids = torch.tensor([item.rows[0].ids])
        theirs = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12, eos_token_id=eos,
            pad_token_id=eos, output_logits=True, return_dict_in_generate=True,
        )  # fmt: skip
        new = theirs.sequences[0, ids.shape[1] :].tolist()
        steps = zip(theirs.logits, new, strict=True)
        total = sum(float(logits[0].log_softmax(-1)[token]) for logits, token in steps)
        assert list(ours.ids) == new
        assert ours.log_probability == pytest.approx(total, abs=2e-4)
        assert ours.finished == ("eos" if new[-1] == eos else "length")
        different.update(new)
    assert len(different) > 6, "the tiny model must not repeat one token, or the comparison says little"


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_mixed_batch_equals_single_rows(world, setting):
    options = SETTINGS[setting]
    items = [world.items[owner] for owner in OWNERS]
    together = generate(world.bank, items, options)
    same(together, [generate(world.bank, [item], options)[0] for item in items])
    same(list(reversed(together)), generate(world.bank, list(reversed(items)), options))


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_cache_changes_nothing(world, setting):
    options = SETTINGS[setting]
    items = [world.items[owner] for owner in OWNERS]
    same(generate(world.bank, items, options, use_cache=False), generate(world.bank, items, options))


@pytest.mark.parametrize("owner", OWNERS)
def test_a_batch_of_one_foreword_with_and_without_a_cache(world, owner):
    first = world.items[owner]
    # The same foreword over texts of other lengths: its key/values are then shared by the batch.
    texts = [first.rows[0], longer(first.rows[0], 4), longer(first.rows[0], 7)]
    items = [Item((text,), owner) for text in texts]
    with_cache = generate(world.bank, items, GREEDY)
    same(generate(world.bank, items, GREEDY, use_cache=False), with_cache)
    same([generate(world.bank, [item], GREEDY)[0] for item in items], with_cache)


@pytest.mark.parametrize("owner", [owner for owner in OWNERS if owner])
def test_every_foreword_is_seen_at_every_step(world, owner):
    """The logits of each step are those of one pass over the whole text, by the bank's own forward."""
    from foreword.batch import collate

    injection = world.bank.injection(owner)
    first = world.items[owner]
    (made,) = generate(world.bank, [first], GenerationOptions(max_new_tokens=6, eos_token_ids=()))[0]
    whole = longer(first.rows[0], made.ids)
    batch = collate([Item((whole,), owner)], world.backbone.pad_id)
    start = len(first.rows[0]) - 1
    with torch.no_grad():
        logits = world.bank.logits(batch, torch.arange(start, start + 6)[None])[0]
    assert logits.argmax(-1).tolist() == list(made.ids)
    total = logits.log_softmax(-1).gather(1, torch.tensor(made.ids)[:, None]).sum()
    assert made.log_probability == pytest.approx(float(total), abs=2e-4)
    bare_row = Item((without_soft(first.rows[0]),))
    (other,) = generate(world.bank, [bare_row], GenerationOptions(max_new_tokens=6, eos_token_ids=()))[0]
    assert other.log_probability != pytest.approx(made.log_probability, abs=1e-2), injection


def longer(row, more):
    ids = range(100, 100 + more) if isinstance(more, int) else more
    ids = (*row.ids, *ids)
    return Row(ids, row.soft + (-1,) * (len(ids) - len(row)), (0,) * len(ids), None, (len(ids) - 1,))


def without_soft(row):
    ids = tuple(token for token, soft in zip(row.ids, row.soft, strict=True) if soft < 0)
    return Row(ids, (-1,) * len(ids), (0,) * len(ids), None, (len(ids) - 1,))


def test_the_backbone_is_as_before(world):
    before = world.backbone.fingerprint
    generate(world.bank, list(world.items.values()), GREEDY)
    del world.backbone.fingerprint
    assert world.backbone.fingerprint == before


def test_only_new_tokens_are_run_and_only_the_last_place_reaches_the_head(gpt2, monkeypatch):
    runs, heads = [], []
    forward, logits = gpt2.backbone.forward, gpt2.backbone.logits

    def counted_forward(embeds, *rest, **more):
        runs.append(embeds.shape[1])
        return forward(embeds, *rest, **more)

    def counted_logits(hidden):
        heads.append(tuple(hidden.shape[:-1]))
        return logits(hidden)

    monkeypatch.setattr(gpt2.backbone, "forward", counted_forward)
    monkeypatch.setattr(gpt2.backbone, "logits", counted_logits)
    items = gpt2.bare_items(2)
    generate(gpt2.bank, items, GenerationOptions(max_new_tokens=4, eos_token_ids=()))
    assert runs == [9, 1, 1, 1] and heads == [(2,)] * 4


def test_ended_rows_leave_the_batch(gpt2, monkeypatch):
    items = gpt2.bare_items(3)
    free = generate(gpt2.bank, items, GenerationOptions(max_new_tokens=8, eos_token_ids=()))
    end = free[0][0].ids[2]
    sizes, step = [], Session.step

    def counted(self, tokens):
        sizes.append(len(tokens))
        step(self, tokens)

    monkeypatch.setattr(Session, "step", counted)
    ended = generate(gpt2.bank, items, GenerationOptions(max_new_tokens=8, eos_token_ids=(end,)))
    for (one,), (whole,) in zip(ended, free, strict=True):
        cut = whole.ids.index(end) + 1 if end in whole.ids else 8
        assert one.ids == whole.ids[:cut]
        assert one.finished == ("eos" if end in whole.ids else "length")
    assert sizes == [
        sum(len(one.ids) > step for (one,) in ended) for step in range(1, max(len(o.ids) for (o,) in ended))
    ]
    assert sizes[-1] < 3


def test_nothing_to_do(gpt2):
    assert generate(gpt2.bank, []) == []


def test_masked_models_are_refused():
    bank = Bank(tiny("bert"))
    with pytest.raises(Unsupported, match="masked model and cannot generate"):
        generate(bank, [])


def test_a_model_without_a_head_is_refused(gpt2):
    backbone = tiny("gpt2")
    backbone.refusals["head"] = "this checkpoint comes without one"
    with pytest.raises(Unsupported, match="head"):
        generate(Bank(backbone), gpt2.bare_items(1))


def test_too_many_positions_are_refused_with_the_numbers(gpt2):
    item = gpt2.items["subset"]
    most = POSITIONS - item.tokens - 2
    options = GenerationOptions(max_new_tokens=most, eos_token_ids=())
    assert len(generate(gpt2.bank, [item], options)[0][0].ids) == most
    with pytest.raises(ConfigError) as error:
        generate(gpt2.bank, [gpt2.items[None], item], options.model_copy(update={"max_new_tokens": most + 1}))
    assert f"max_new_tokens={most + 1} need {POSITIONS + 1} positions, and gpt2 has {POSITIONS}" in str(error.value)
    assert "item 1" in str(error.value)


def test_a_neighbours_padding_and_offset_take_no_positions(gpt2):
    """One row fills the positions, the other's begin later: together they still fit, as each does alone."""
    whole = Item((longer(gpt2.items[None].rows[0], POSITIONS - 1 - gpt2.items[None].tokens),))
    items, options = [whole, gpt2.items["subset"]], GenerationOptions(max_new_tokens=1)
    same(generate(gpt2.bank, items, options), [generate(gpt2.bank, [item], options)[0] for item in items])


def test_wrong_items_are_refused(gpt2):
    row = gpt2.items[None].rows[0]
    with pytest.raises(ConfigError, match="2 rows"):
        generate(gpt2.bank, [Item((row, row))])
    with pytest.raises(ConfigError, match="no foreword 'lost'"):
        generate(gpt2.bank, [Item((row,), "lost")])
    with pytest.raises(ConfigError, match="at least one token"):
        generate(gpt2.bank, [Item((Row((), (), (), None, ()),))])


def test_a_failure_leaves_the_backbones_own_weights(gpt2, monkeypatch):
    before = {name: id(tensor) for name, tensor in gpt2.backbone.model.named_parameters()}

    def broken(self, tokens):
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "step", broken)
    with pytest.raises(KeyboardInterrupt):
        generate(gpt2.bank, [gpt2.items["full"]], GenerationOptions(eos_token_ids=()))
    assert {name: id(tensor) for name, tensor in gpt2.backbone.model.named_parameters()} == before
