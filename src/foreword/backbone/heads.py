"""The language-model head in two steps, so that it can be applied to chosen places and to chosen words alone.

`features` is everything in front of the last matrix. This is the one table of families that the program knows by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import gelu

Features = Callable[[Tensor], Tensor]


def _bert(model: Any) -> Features:
    return model.cls.predictions.transform


def _roberta(model: Any) -> Features:
    head = model.lm_head
    return lambda hidden: head.layer_norm(gelu(head.dense(hidden)))


def _distilbert(model: Any) -> Features:
    return lambda hidden: model.vocab_layer_norm(model.activation(model.vocab_transform(hidden)))


MASKED: dict[str, Callable[[Any], Features]] = {
    "bert": _bert,
    "roberta": _roberta,
    "xlm-roberta": _roberta,
    "camembert": _roberta,
    "distilbert": _distilbert,
}


def _identity(hidden: Tensor) -> Tensor:
    return hidden


def _t5(model: Any) -> Features:
    """The first T5 scales what its tied matrix is given, and 1.1 does not."""
    scale = model.config.d_model**-0.5 if model.config.scale_decoder_outputs else 1.0
    return lambda hidden: hidden * scale


TWO_STACKS: dict[str, Callable[[Any], Features]] = {"t5": _t5, "bart": lambda model: _identity}
"""The encoder-decoders that are supported."""


def features_of(model: Any, kind: str) -> Features | None:
    """`[..., H] -> [..., H']`, what the last matrix of the head multiplies; None where the family's head is unknown."""
    if kind == "causal":
        return _identity
    make = (TWO_STACKS if kind == "encoder-decoder" else MASKED).get(model.config.model_type)
    return None if make is None else make(model)


def bias_of(model: Any) -> Callable[[], Tensor | None]:
    """The bias `[V]` of the logits: the last matrix's, as it is at the time, or BART's, which is no parameter."""
    own, matrix = getattr(model, "final_logits_bias", None), last_matrix(model)
    if own is not None:
        return lambda: own[0]
    return lambda: None if matrix is None else matrix.bias


def last_matrix(model: Any) -> nn.Linear | None:
    """The matrix `[V, H']` (and bias) that gives the logits."""
    found = model.get_output_embeddings()
    return found if isinstance(found, nn.Linear) else None
