"""What the next token of a text may be."""

from __future__ import annotations

import torch

from foreword.config import GenerationOptions
from foreword.stories.writers.drawing import Drawing, Rules


def test_rules_keep_from_ends_and_from_circles():
    rules = Rules(GenerationOptions(do_sample=True), 2.0, 3, [0])
    text = Drawing(None, rules, [1], 0, lead="a lead", before=[7, 8], least=3)
    logits = torch.tensor([4.0, 1.0, -1.0, 1.0, 1.0, 1.0, 1.0, 1.0, -1.0, 1.0])
    first = text._ruled(logits)
    assert first[0] == -torch.inf and first[7] == 0.5 and first[8] == -2.0 and first[1] == 1.0
    for token in (9, 7, 8):
        only = torch.full((10,), -torch.inf)
        only[token] = 1.0
        assert text.choose(only) == (token, 0)
    again = text._ruled(logits)  # 7 8 9 was there
    assert again[9] == -torch.inf and again[0] == 4.0 and text.settled == 3
    assert torch.equal(logits[:2], torch.tensor([4.0, 1.0]))
