from __future__ import annotations

import numpy as np
import pytest
import torch

from foreword import use
from foreword.errors import ArtifactError, Unsupported
from foreword.inspection import Subject, save_minimal
from foreword.inspection.minimal import Minimal, minimal
from foreword.inspection.outcomes import measure
from foreword.inspection.subject import dropping_tokens
from support.backbones import tiny
from support.inspected import TOKENS, subject


@pytest.mark.parametrize(
    ("family", "method"),
    [
        ("bert", "prompt-vocabulary"),
        ("bert", "prompt-middle"),
        ("bert", "v2-random"),
        ("gpt2", "v2-text"),
        ("bert", TOKENS),
    ],
)
def test_a_part_of_a_prompt_is_saved_as_a_foreword_that_scores_the_same(family, method, tmp_path):
    readout = None if family == "bert" else "last"
    template = {"text": 'It was {soft:2} {text} {soft:"it was"}', "max_length": 16} if "middle" in str(method) else None
    one = subject(family, method, readout=readout, **({"template": template} if template else {}))
    kept = (0, 2) if method != "v2-text" else (1, 4, 5)
    kept = (0, 2, one.length - 1) if method is TOKENS else kept
    gone = set(range(one.length)) - set(kept)
    variant = dropping_tokens(one, gone, "a part", "minimal")
    found = Minimal("token", kept, one.length, 1.0, 1.0, 8, variant)
    save_minimal(one, found, tmp_path / "small")
    backbone = tiny(family)
    again = use.load(tmp_path / "small", backbone)
    assert again.manifest.method["kept_tokens"] == list(kept)
    small = Subject(again, one.rows)
    for ours, theirs in zip(variant.items(one.items), small.items, strict=True):
        assert ours.rows == theirs.rows
    ours, theirs = measure(one, variant), measure(small)
    torch.testing.assert_close(ours.probabilities, theirs.probabilities, atol=1e-6, rtol=1e-5)
    assert measure(one).loss != pytest.approx(ours.loss, abs=1e-6)
    for name, tensor in small.initial.tensors().items():
        assert tensor.shape == small.injection.tensors()[name].shape
    with pytest.raises(ArtifactError, match="something already"):
        save_minimal(one, found, tmp_path / "small")


def test_what_is_kept_scores_99_percent_where_it_was_chosen():
    one = subject("bert", "v2-random")
    found = minimal(one)
    assert found.score >= 0.99 * found.whole and 0 < len(found.kept) <= 4
    again = measure(one, found.variant)
    assert again.score == pytest.approx(found.score)
    assert np.array_equal(
        found.variant.injection.key_values.tensor, one.injection.key_values.tensor[:, :, :, found.kept]
    )


def test_every_slot_keeps_a_token():
    one = subject("bert", "prompt-middle")
    found = minimal(one, share=0.0)
    assert len(found.kept) == 2 and found.kept[0] < 2 <= found.kept[1]


def test_a_prompt_of_one_token_has_no_part():
    one = subject("bert", "prompt-middle", template="{text} {soft:1}")
    with pytest.raises(Unsupported, match="no two"):
        minimal(one)
