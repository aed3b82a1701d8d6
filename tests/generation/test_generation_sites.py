"""Law 6 for operations at modules: a cache changes nothing, and no row sees another's."""

from __future__ import annotations

import pytest

from foreword.batch import Item
from foreword.generation import GenerationOptions, generate
from support.backbones import shared
from support.forewords import bank_of, items, make

METHODS = ("lora-all", "ia3", "adapter-houlsby", "adapter-parallel", "combined")
SETTINGS = {
    "greedy": GenerationOptions(max_new_tokens=8),
    "beam": GenerationOptions(max_new_tokens=6, num_beams=3, num_return_sequences=2),
    "sampled": GenerationOptions(max_new_tokens=6, do_sample=True, top_k=20, num_return_sequences=2, seed=5),
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("family", ["gpt2", "llama", pytest.param("opt", marks=pytest.mark.slow)])
def test_rows_with_sites_are_written_the_same_with_and_without_a_cache_alone_and_mixed(family, setting) -> None:
    options, backbone = SETTINGS[setting], shared(family)
    assemblies = {method: make(family, method, "last", backbone=backbone) for method in METHODS}
    bank = bank_of(assemblies)
    rows = [items(assembly, owner=name)[number] for number, (name, assembly) in enumerate(assemblies.items())]
    rows.insert(1, Item(rows[0].rows))
    found = [[[one.ids for one in row] for row in generate(bank, rows, options, cache)] for cache in (True, False)]
    assert found[0] == found[1]
    assert found[0] == [[one.ids for one in generate(bank, [row], options)[0]] for row in rows]
    assert found[0][0] != found[0][1] or setting != "greedy"
