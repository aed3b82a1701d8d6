"""Draws follow the distribution, and a row's draws do not depend on its neighbours."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from foreword.generation import GenerationOptions, generate, sampling
from foreword.generation.session import Session


def options(**fields):
    return GenerationOptions(do_sample=True, **fields)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.none() | st.floats(0.2, 3),
    st.none() | st.integers(1, 20),
    st.none() | st.floats(0.05, 1),
)
def test_the_shaped_distribution_is_that_of_transformers(seed, temperature, top_k, top_p):
    logits = torch.randn(3, 12, generator=torch.Generator().manual_seed(seed)) * 2
    warpers = LogitsProcessorList()
    if temperature is not None:
        warpers.append(TemperatureLogitsWarper(temperature))
    if top_k is not None:
        warpers.append(TopKLogitsWarper(top_k))
    if top_p is not None and top_p < 1:
        warpers.append(TopPLogitsWarper(top_p))
    ours = sampling.shaped(logits, options(temperature=temperature, top_k=top_k, top_p=top_p))
    torch.testing.assert_close(ours.softmax(-1), warpers(None, logits.clone()).softmax(-1))


def test_top_p_keeps_the_least_set_that_reaches_it():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    kept = [sampling.shaped(logits, options(top_p=p)).isfinite().sum().item() for p in (0.01, 0.49, 0.6, 0.9, 0.99)]
    assert kept == [1, 1, 2, 3, 4]


def test_draws_follow_the_softmax():
    from scipy.stats import chisquare

    logits = torch.tensor([[1.0, 0.0, -1.0, 2.0, -torch.inf, 0.5]])
    chance = sampling.generator(1, (1, 2, 3), 0)
    draws = torch.cat([sampling.draw(logits, [chance]) for _ in range(4000)])
    counts = draws.bincount(minlength=6)
    assert counts[4] == 0
    expected = logits[0].softmax(-1) * 4000
    real = [0, 1, 2, 3, 5]
    assert chisquare(counts[real].numpy(), expected[real].double().numpy(), sum_check=False).pvalue > 1e-3


def test_sources_of_chance_differ_by_seed_prompt_and_sequence():
    keys = [(0, (1, 2), 0), (1, (1, 2), 0), (0, (1, 3), 0), (0, (1, 2), 1), (0, (12,), 0)]
    firsts = [torch.rand(4, generator=sampling.generator(*key)).tolist() for key in keys]
    assert len({tuple(first) for first in firsts}) == len(keys)
    assert torch.rand(4, generator=sampling.generator(*keys[0])).tolist() == firsts[0]


def test_sampled_rows_follow_the_models_distribution(gpt2):
    from scipy.stats import chisquare

    item = gpt2.items["deep"]
    count = 800
    settings = options(max_new_tokens=1, top_k=5, temperature=1.5, num_return_sequences=count, eos_token_ids=())
    (made,) = generate(gpt2.bank, [item], settings)
    with torch.no_grad():
        logits = Session(gpt2.bank, [item]).logits
    expected = sampling.shaped(logits, settings).softmax(-1)[0]
    counts = torch.tensor([one.ids[0] for one in made]).bincount(minlength=len(expected))
    real = expected.nonzero()[:, 0]
    assert len(real) == 5 and counts[real].sum() == count
    assert chisquare(counts[real].numpy(), (expected[real] * count).double().numpy(), sum_check=False).pvalue > 1e-3
    # What is reported is the model's own probability, before temperature and top-k.
    own = logits.log_softmax(-1)[0]
    assert all(one.log_probability == pytest.approx(float(own[one.ids[0]]), abs=1e-4) for one in made[:20])


def test_a_seed_gives_the_same_samples_and_another_gives_others(gpt2):
    items = gpt2.bare_items(2)
    first = generate(gpt2.bank, items, options(max_new_tokens=8, seed=1, num_return_sequences=3))
    torch.manual_seed(99)  # the global state must not matter
    assert generate(gpt2.bank, items, options(max_new_tokens=8, seed=1, num_return_sequences=3)) == first
    other = generate(gpt2.bank, items, options(max_new_tokens=8, seed=2, num_return_sequences=3))
    assert all(a.ids != b.ids for mine, theirs in zip(first, other, strict=True) for a in mine for b in theirs)
    assert all(len({one.ids for one in sequences}) == 3 for sequences in first)


def test_generation_leaves_the_global_chance_alone(gpt2):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    generate(gpt2.bank, gpt2.bare_items(1), options(max_new_tokens=3))
    assert torch.equal(torch.rand(3), expected)


def test_a_tiny_temperature_is_greedy(gpt2):
    items = gpt2.bare_items(2)
    cold = generate(gpt2.bank, items, options(max_new_tokens=6, temperature=1e-4))
    assert [g.ids for (g,) in cold] == [
        g.ids for (g,) in generate(gpt2.bank, items, GenerationOptions(max_new_tokens=6))
    ]
