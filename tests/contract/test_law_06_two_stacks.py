"""Law 6 for encoder-decoders: as transformers writes, with and without caches, alone and in mixed batches."""

from __future__ import annotations

import pytest
import torch

from foreword.bank import Bank
from foreword.batch import Item
from foreword.errors import ConfigError
from foreword.generation import GenerationOptions, generate
from foreword.generation.session import Session
from support.backbones import POSITIONS, TWO_STACKS, bare, shared
from support.forewords import ROWS, bank_of, items, make

METHODS = (
    "prompt-middle", "v2-random", "v2-encoder", "v2-decoder", "v2-cross", "lora-all", "adapter-houlsby", "full",
    "combined",
)  # fmt: skip
SETTINGS = {
    "greedy": GenerationOptions(max_new_tokens=8),
    "beam": GenerationOptions(max_new_tokens=6, num_beams=3, num_return_sequences=2, length_penalty=0.7),
    "sampled": GenerationOptions(max_new_tokens=6, do_sample=True, top_k=20, num_return_sequences=2, seed=5),
}


def plain(family):
    """Rows of the bare model, and how the decoder begins."""
    assembly = make(family, "linear-probe", "last", backbone=shared(family))
    return items(assembly, owner=None), assembly.reader.encoder.begun


@pytest.mark.parametrize("ends", ["one", "met"])
@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("family", TWO_STACKS)
def test_the_bare_model_writes_what_transformers_writes(family, beams, ends, law):
    rows, begun = plain(family)
    backbone, model = shared(family), bare(family)
    bank = Bank(backbone)
    eos = [backbone.tokenizer.eos_token_id]
    if ends == "met":
        free = GenerationOptions(max_new_tokens=8, eos_token_ids=())
        eos.append(generate(bank, rows, free)[0][0].ids[3])
    options = GenerationOptions(max_new_tokens=8, num_beams=beams, num_return_sequences=beams, eos_token_ids=tuple(eos))
    different = set()
    for item, ours in zip(rows, generate(bank, rows, options), strict=True):
        row = item.rows[0]
        ids = torch.tensor([row.ids[: row.border]])
        made = model.generate(
            ids, attention_mask=torch.ones_like(ids), decoder_input_ids=torch.tensor([begun]), do_sample=False,
            max_new_tokens=8, num_beams=beams, num_return_sequences=beams, early_stopping=False, eos_token_id=eos,
            pad_token_id=backbone.pad_id, forced_bos_token_id=None, forced_eos_token_id=None,
            return_dict_in_generate=True, output_scores=True,
        )  # fmt: skip
        for one, theirs in zip(ours, made.sequences[:, len(begun) :].tolist(), strict=True):
            assert list(one.ids) == theirs[: len(one.ids)]
            assert set(theirs[len(one.ids) :]) <= {backbone.pad_id}
            different.update(one.ids)
    assert len(different) > 6
    law(6)


def mixed(family):
    backbone = shared(family)
    assemblies = {method: make(family, method, "last", backbone=backbone, seed=n) for n, method in enumerate(METHODS)}
    rows = [items(one, ROWS[n % 8 :][:1], name)[0] for n, (name, one) in enumerate(assemblies.items())]
    return bank_of(assemblies), [*rows, plain(family)[0][1]]


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("family", TWO_STACKS)
def test_caches_and_neighbours_change_nothing(family, setting, law):
    options = SETTINGS[setting]
    bank, rows = mixed(family)
    found = [[[one.ids for one in row] for row in generate(bank, rows, options, cache)] for cache in (True, False)]
    assert found[0] == found[1]
    assert found[0] == [[one.ids for one in generate(bank, [row], options)[0]] for row in rows]
    assert len({tuple(row) for row in found[0]}) > 3
    law(6, times=len(METHODS))


@pytest.mark.parametrize("family", TWO_STACKS)
def test_each_step_is_that_of_one_pass_over_the_whole_answer(family, law):
    from dataclasses import replace

    from foreword.batch import collate

    bank, rows = mixed(family)
    options = GenerationOptions(max_new_tokens=5, eos_token_ids=())
    for item, [made] in zip(rows, generate(bank, rows, options), strict=True):
        row, size = item.rows[0], len(item.rows[0])
        more = len(made.ids)
        whole = replace(row, ids=row.ids + made.ids, soft=row.soft + (-1,) * more, types=row.types + (0,) * more)
        with torch.no_grad():
            batch = collate([Item((whole,), item.owner)], bank.backbone.pad_id)
            logits = bank.logits(batch, torch.arange(size - 1, size - 1 + more)[None])[0].log_softmax(-1)
        assert logits.argmax(-1).tolist() == list(made.ids)
        total = logits.gather(1, torch.tensor(made.ids)[:, None]).sum()
        assert made.log_probability == pytest.approx(float(total), abs=2e-4)
    law(6)


@pytest.mark.parametrize("family", TWO_STACKS)
def test_the_encoder_runs_once_and_the_decoder_a_token_at_a_time(family):
    backbone, runs = shared(family), []
    stacks = {"encoder": backbone.model.get_encoder(), "decoder": backbone.model.get_decoder()}
    hooks = [
        stack.register_forward_pre_hook(
            lambda _, args, kwargs, name=name: runs.append((name, kwargs["inputs_embeds"].shape[1])), with_kwargs=True
        )
        for name, stack in stacks.items()
    ]
    rows, begun = plain(family)
    generate(Bank(backbone), rows[:2], GenerationOptions(max_new_tokens=3, eos_token_ids=()))
    for hook in hooks:
        hook.remove()
    width = max(row.rows[0].border for row in rows[:2])
    assert runs == [("encoder", width), ("decoder", len(begun)), ("decoder", 1), ("decoder", 1)]


@pytest.mark.parametrize("family", TWO_STACKS)
@torch.no_grad()
def test_rows_can_be_dropped_repeated_and_reordered(family, law):
    bank, rows = mixed(family)
    for use_cache in (True, False):
        session = Session(bank, rows[:4], use_cache)
        session.step([11, 12, 13, 14])
        session.select([2, 0, 0, 3])
        session.step([21, 22, 23, 24])
        for place, (row, tokens) in enumerate([(2, (13, 21)), (0, (11, 22)), (0, (11, 23)), (3, (14, 24))]):
            alone = Session(bank, [rows[row]], use_cache)
            for token in tokens:
                alone.step([token])
            torch.testing.assert_close(session.logits[place], alone.logits[0], rtol=1e-4, atol=1e-4)
    law(6)


def test_positions_are_the_decoders_own():
    rows, begun = plain("bart")
    most = POSITIONS - len(begun)
    bank, options = Bank(shared("bart")), GenerationOptions(max_new_tokens=most, eos_token_ids=())
    assert len(generate(bank, rows[:1], options)[0][0].ids) == most
    with pytest.raises(ConfigError, match=f"need {POSITIONS + 1} positions"):
        generate(bank, rows[:1], options.model_copy(update={"max_new_tokens": most + 1}))


def test_answers_begun_to_different_lengths_are_refused():
    rows, _ = plain("bart")
    from dataclasses import replace

    row = rows[0].rows[0]
    longer = replace(row, ids=(*row.ids, 9), soft=(*row.soft, -1), types=(*row.types, 0))
    with pytest.raises(ConfigError, match="equally long"):
        generate(Bank(shared("bart")), [rows[1], Item((longer,))])
