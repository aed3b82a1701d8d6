"""What the sides share: rows, first values, and where models and data are.

Nothing here loads a model, so that a peer's process holds nothing of ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.side import Settings, Skip

REQUESTS = (
    "Sentiment of this review: the film drags for an hour and then forgives itself in one scene.",
    "Translate into French: where is the nearest railway station?",
    "Summarise: the committee met on Tuesday, heard three reports, and put off its decision until spring.",
    "Question: who wrote the first program for a machine? Answer:",
    "Write one sentence about a lighthouse keeper.",
    "Is this sentence grammatical? The keys to the cabinet is on the table.",
    "Topic of: shares fell after the central bank raised its rate for the third time this year.",
    "Continue the story: the door had been locked for years, and yet this morning",
)
"""What the generation case is asked: eight tasks, eight lengths."""


@torch.no_grad()
def fill(tensors: Iterable[Tensor], seed: int, std: float = 0.05) -> None:
    """The same first values on every side: drawn in the order and the shape given; biases start at zero."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in tensors:
        tensor.copy_(torch.zeros(tensor.shape) if tensor.ndim == 1 else drawn(tensor.shape, generator, std))


def drawn(shape: Sequence[int], generator: torch.Generator, std: float = 0.05) -> Tensor:
    """Normal numbers of that shape."""
    return torch.randn(tuple(shape), generator=generator) * std


def prefix_table(settings: Settings, layers: int, heads: int, size: int) -> Tensor:
    """`[L, 2, K, P, D]`, the first key/values of P-Tuning v2."""
    generator = torch.Generator().manual_seed(settings["seed"])
    return drawn((layers, 2, heads, settings["tokens"], size), generator)


def random_rows(settings: Settings) -> Tensor:
    """`[batches, B, T]` random token ids."""
    generator = torch.Generator().manual_seed(settings["seed"] + 1)
    shape = (settings["batches"], settings["batch"], settings["length"])
    return torch.randint(1000, 49000, shape, generator=generator)


def mrpc_data(settings: Settings) -> Any:
    """MRPC by foreword's own resolver. **Raises** `Skip` where it is not to be had."""
    from foreword.config import DataConfig
    from foreword.data.loading import load, task_for
    from foreword.errors import ForewordError

    config = DataConfig(**mrpc_source(settings))
    try:
        return load(config, task_for(config, None))
    except ForewordError as error:
        raise Skip(f"MRPC is not here: {error}") from error


def mrpc_source(settings: Settings) -> dict[str, Any]:
    """All training rows; a few of the others, which most cases are not measured on. `data`: another source."""
    few = {"source": "mrpc", "limit": {"validation": 16, "test": 16}}
    given: dict[str, Any] | None = settings.get("data")
    return few if given is None else dict(given)


def named_model(name: str) -> Any:
    """The folder of a named model. **Raises** `Skip` where it is not to be had."""
    from foreword.errors import ForewordError
    from foreword.store import resolve_model

    try:
        return resolve_model(name)
    except ForewordError as error:
        raise Skip(f"the model is not here: {error}") from error


def bert_shaped(settings: Settings) -> Any:
    """A masked LM of the settings' shape with the same random weights on every side."""
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(settings["seed"])
    return BertForMaskedLM(BertConfig(vocab_size=settings["vocabulary"], **settings["shape"]))
