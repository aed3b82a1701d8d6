"""Many forewords over one backbone: what is refused, and that no row sees another's."""

from __future__ import annotations

import pytest
import torch

from foreword.bank import Bank
from foreword.batch import Item, collate
from foreword.errors import BackboneError, ConfigError, Unsupported
from foreword.injections import Injection, KeyValues, SoftTokens, Weights
from foreword.text.rows import Row
from support.backbones import POSITIONS, shared
from support.forewords import ROWS, bank_of, close, hidden, items, loud, make, scores


def row(length: int, soft: tuple[int, ...] = ()) -> Row:
    return Row((7,) * length, soft + (-1,) * (length - len(soft)), (0,) * length, 0, ())


def key_values(backbone, layers=(0, 1, 2), length=4, **changes) -> KeyValues:
    geometry = backbone.geometry
    heads, size = changes.get("heads", geometry.kv_heads), changes.get("size", geometry.head_size)
    return KeyValues(layers, torch.randn(len(layers), 2, heads, length, size))


def test_names_come_and_go():
    bank = Bank(shared("bert"))
    bank.put("a", Injection())
    bank.put("b", Injection())
    bank.put("a", Injection())
    assert bank.names == ("a", "b")
    bank.remove("a")
    assert bank.names == ("b",)
    for call in (bank.entry, bank.remove):
        with pytest.raises(ConfigError, match="no foreword 'a'") as caught:
            call("a")
        assert "b" in str(caught.value)
    with pytest.raises(ConfigError, match="no foreword 'zz'"):
        bank.hidden(collate([Item((row(3),), "zz")], 0))


@pytest.mark.parametrize("family", ["bert", "llama", "opt-projected"])
def test_what_does_not_fit_the_backbone_is_refused(family):
    backbone = shared(family)
    bank = Bank(backbone)
    wide = backbone.geometry.embedding + 1
    wrong = [
        Injection(soft=SoftTokens(torch.zeros(2, wide))),
        Injection(soft=SoftTokens(torch.zeros(POSITIONS, wide - 1))),
        Injection(key_values=key_values(backbone), position_offset=POSITIONS),
        Injection(key_values=key_values(backbone, heads=backbone.geometry.kv_heads + 1)),
        Injection(key_values=key_values(backbone, size=backbone.geometry.head_size * 2)),
        Injection(key_values=key_values(backbone, layers=(0, 3))),
    ]
    for injection in wrong:
        with pytest.raises(ConfigError, match="own"):
            bank.put("own", injection)
    assert not bank.names
    with pytest.raises(Unsupported):
        Bank(shared("albert")).put("own", Injection(key_values=key_values(backbone)))


def test_rows_without_a_readout_have_no_scores():
    bank = Bank(shared("bert"))
    bank.put("own", Injection())
    for owner in ("own", None):
        with pytest.raises(ConfigError, match="readout"):
            bank.scores(collate([Item((row(3),), owner)], 0))


def test_unknown_weights_are_refused():
    bank = Bank(shared("bert"))
    bank.put("own", Injection(weights=Weights({"nonsense": torch.zeros(1)})))
    with pytest.raises(BackboneError, match="nonsense"):
        bank.hidden(collate([Item((row(3),), "own")], 0))


def test_virtual_places_of_a_row_whose_foreword_has_none_are_refused():
    """Otherwise it would silently be given another foreword's vectors, or those of the padding."""
    backbone = shared("bert")
    bank = Bank(backbone)
    bank.put("soft", Injection(soft=SoftTokens(torch.randn(2, 32))))
    bank.put("deep", Injection(key_values=key_values(backbone)))
    good = Item((row(5, (0, 1)),), "soft")
    for owner in (None, "deep"):
        stray = Item((row(5, (0, 1)),), owner)
        for rows in ([stray], [good, stray]):
            with pytest.raises(ConfigError, match="virtual"):
                bank.hidden(collate(rows, 0))


def test_a_virtual_place_beyond_the_forewords_own_is_refused():
    bank = Bank(shared("bert"))
    bank.put("short", Injection(soft=SoftTokens(torch.randn(2, 32))))
    bank.put("other", Injection(soft=SoftTokens(torch.randn(4, 32))))
    with pytest.raises(ConfigError, match="virtual"):
        bank.hidden(collate([Item((row(6, (0, 1, 2)),), "short"), Item((row(6, (0, 1, 2, 3)),), "other")], 0))


def test_what_fits_alone_fits_beside_others():
    """A long row of one foreword and a short row of another that moves its positions."""
    backbone = shared("gpt2")
    bank = Bank(backbone)
    bank.put("moved", Injection(key_values=key_values(backbone), position_offset=30))
    short, long = Item((row(10),), "moved"), Item((row(POSITIONS),), None)
    for side in ("left", "right"):
        close(hidden(bank, [short, long], side), [hidden(bank, [one])[0] for one in (short, long)])
    with pytest.raises(ConfigError, match="positions"):
        hidden(bank, [Item((row(POSITIONS - 29),), "moved")])


def test_a_text_of_any_length_runs_under_any_method():
    """The encoder leaves the positions that the method takes."""
    long = ({"text": "the film was great " * 100, "label": 1}, {"text": "good", "label": 0})
    for family in ("bert", "roberta", "gpt2", "llama"):
        for method in ("linear-probe", "prompt-text", "prompt-middle", "v2-random", "v2-text"):
            assembly = make(family, method, "last", backbone=shared(family))
            found = scores(bank_of({"own": assembly}), items(assembly, long, "own"))
            assert all(torch.isfinite(one).all() for one in found), (family, method)


def test_an_offset_alone_moves_the_text():
    backbone = shared("gpt2")
    bank = Bank(backbone)
    bank.put("moved", Injection(position_offset=3))
    bank.put("still", Injection())
    states = hidden(bank, [Item((row(5),), "moved"), Item((row(5),), "still")])
    assert (states[0] - states[1]).abs().max() > 1e-3


def test_logits_stand_in_the_order_of_the_rows_whatever_the_weights():
    backbone = shared("gpt2")
    full = make("gpt2", "full", "words", backbone=backbone, seed=1)
    with torch.no_grad():
        for parameter in full.method.parameters():
            parameter.mul_(1.1)
    bank = bank_of({"full": full, "soft": make("gpt2", "prompt-text", "words", backbone=backbone)})
    plain = make("gpt2", "hard", "words", backbone=backbone)
    rows = [
        items(full, ROWS[:1], "full")[0],
        items(plain, ROWS[1:2], None)[0],
        items(full, ROWS[2:3], "full")[0],
        items(bank_rows(backbone), ROWS[:1], "soft")[0],
    ]
    batch = collate(rows, backbone.pad_id)
    with torch.no_grad():
        together = bank.logits(batch, batch.answers)
        alone = [bank.logits(one, one.answers)[0] for one in (collate([r], backbone.pad_id) for r in rows)]
    close(list(together), alone)
    assert (together[0] - together[3]).abs().max() > 1e-3


def bank_rows(backbone):
    return make("gpt2", "prompt-text", "words", backbone=backbone)


def test_a_replaced_foreword_is_the_new_one():
    backbone = shared("bert")
    first, second = (loud(make("bert", "v2-random", "mean", backbone=backbone, seed=seed)) for seed in (1, 2))
    bank = bank_of({"own": first})
    rows = items(first, owner="own")
    before = scores(bank, rows)
    bank.put("own", second.method.compiled().detached(), second.readout)
    close(scores(bank, rows), scores(bank_of({"own": second}), rows))
    assert (scores(bank, rows)[0] - before[0]).abs().max() > 1e-4


V2 = {"name": "p-tuning-v2", "num_virtual_tokens": 3}


def differing(family: str, position: str, seed: int):
    made = loud(make(family, V2, {"name": "linear", "position": position}, seed=seed))
    with torch.no_grad():
        made.readout.weight.mul_(seed + 1).add_(0.1 * seed)
    return made


@pytest.mark.parametrize(("family", "position"), [("bert", "cls"), ("llama", "last")])
def test_rows_of_many_forewords_are_read_side_by_side_as_each_alone(family, position, monkeypatch):
    made = {str(seed): differing(family, position, seed) for seed in range(4)}
    bank = bank_of(made)
    # an owner with two rows that do not stand together, and its own order of rows
    chosen = [items(made[owner], ROWS, owner)[place] for owner, place in (("2", 0), ("0", 1), ("2", 1), ("3", 0))]
    calls = []
    plain = type(made["0"].readout).forward
    monkeypatch.setattr(type(made["0"].readout), "forward", lambda *given: calls.append(1) or plain(*given))
    with torch.no_grad():
        beside = scores(bank, chosen)
        assert not calls
        alone = [scores(bank, [one])[0] for one in chosen]
        bank.whole = True
        whole = scores(bank, chosen)
    assert calls
    close(beside, alone)
    close(beside, whole)
    assert (beside[0] - beside[1]).abs().max() > 1e-3


def test_readouts_of_other_kinds_are_read_one_by_one():
    made = {str(seed): differing("bert", position, seed) for seed, position in enumerate(("cls", "mean", "cls"))}
    assert [made[owner].readout.kin is None for owner in made] == [False, True, False]
    bank = bank_of(made)
    chosen = [items(made[owner], ROWS, owner)[0] for owner in made]
    with torch.no_grad():
        close(scores(bank, chosen), [scores(bank, [one])[0] for one in chosen])
