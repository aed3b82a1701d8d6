"""Tiny random models of every family: seeded, with weights large enough that what goes in shows in what comes out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    DebertaV2Config,
    DebertaV2ForMaskedLM,
    DistilBertConfig,
    DistilBertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MPNetConfig,
    MPNetForMaskedLM,
    OPTConfig,
    OPTForCausalLM,
    RobertaConfig,
    RobertaForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
)

from foreword.backbone.backbone import Backbone
from support import tokenizers

MASKED = ("bert", "roberta", "distilbert")
CAUSAL = ("gpt2", "llama", "opt", "opt-projected")
TWO_STACKS = ("t5", "bart")
ONE_STACK = (*MASKED, *CAUSAL)
FAMILIES = (*ONE_STACK, *TWO_STACKS)
REFUSING = ("albert", "deberta-v2", "mpnet")
"""Families that take virtual tokens, and refuse key/values by name."""

LAYERS, HEADS, HIDDEN, POSITIONS = 3, 4, 32, 96
_BODY = {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
_ENCODER = {**_BODY, "intermediate_size": 48, "max_position_embeddings": POSITIONS}


def kind(family: str) -> str:
    if family in TWO_STACKS:
        return "encoder-decoder"
    return "causal" if family in CAUSAL else "masked"


def _bert() -> tuple[Any, Any]:
    tokenizer = tokenizers.bert_tokenizer()
    return BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **_ENCODER)), tokenizer


def _roberta() -> tuple[Any, Any]:
    tokenizer = tokenizers.roberta_tokenizer()
    ids = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    size = {**_ENCODER, "max_position_embeddings": POSITIONS + 2}
    return RobertaForMaskedLM(RobertaConfig(vocab_size=len(tokenizer), type_vocab_size=1, **ids, **size)), tokenizer


def _distilbert() -> tuple[Any, Any]:
    tokenizer = tokenizers.distilbert_tokenizer()
    config = DistilBertConfig(
        vocab_size=len(tokenizer), dim=HIDDEN, hidden_dim=48, n_layers=LAYERS, n_heads=HEADS,
        max_position_embeddings=POSITIONS,
    )  # fmt: skip
    return DistilBertForMaskedLM(config), tokenizer


def _gpt2() -> tuple[Any, Any]:
    tokenizer = tokenizers.gpt2_tokenizer()
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=HIDDEN, n_layer=LAYERS, n_head=HEADS, n_positions=POSITIONS,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return GPT2LMHeadModel(config), tokenizer


def _llama() -> tuple[Any, Any]:
    tokenizer = tokenizers.llama_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer), intermediate_size=48, num_key_value_heads=2, max_position_embeddings=POSITIONS,
        bos_token_id=1, eos_token_id=2, **_BODY,
    )  # fmt: skip
    return LlamaForCausalLM(config), tokenizer


def _opt(width: int) -> tuple[Any, Any]:
    tokenizer = tokenizers.opt_tokenizer()
    config = OPTConfig(
        vocab_size=len(tokenizer), ffn_dim=48, max_position_embeddings=POSITIONS, word_embed_proj_dim=width,
        pad_token_id=1, bos_token_id=2, eos_token_id=2, **_BODY,
    )  # fmt: skip
    return OPTForCausalLM(config), tokenizer


def _t5() -> tuple[Any, Any]:
    """The heads are not H wide together, and the stacks are not equally deep."""
    tokenizer = tokenizers.t5_tokenizer()
    config = T5Config(
        vocab_size=len(tokenizer), d_model=HIDDEN, d_kv=6, d_ff=48, num_heads=HEADS, num_layers=2, num_decoder_layers=1,
        relative_attention_num_buckets=8, relative_attention_max_distance=20, n_positions=POSITIONS,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    return T5ForConditionalGeneration(config), tokenizer


def _bart() -> tuple[Any, Any]:
    tokenizer = tokenizers.roberta_tokenizer()
    config = BartConfig(
        vocab_size=len(tokenizer), d_model=HIDDEN, encoder_layers=1, decoder_layers=2, encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS, encoder_ffn_dim=48, decoder_ffn_dim=40, max_position_embeddings=POSITIONS,
        pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=None,
    )  # fmt: skip
    model = BartForConditionalGeneration(config)
    with torch.no_grad():
        model.final_logits_bias.normal_(0, 0.1)
    return model, tokenizer


def _albert() -> tuple[Any, Any]:
    tokenizer = tokenizers.bert_tokenizer()
    return AlbertForMaskedLM(AlbertConfig(vocab_size=len(tokenizer), embedding_size=16, **_ENCODER)), tokenizer


def _deberta() -> tuple[Any, Any]:
    tokenizer = tokenizers.bert_tokenizer()
    return DebertaV2ForMaskedLM(DebertaV2Config(vocab_size=len(tokenizer), **_ENCODER)), tokenizer


def _mpnet() -> tuple[Any, Any]:
    tokenizer = tokenizers.distilbert_tokenizer()
    return MPNetForMaskedLM(MPNetConfig(vocab_size=len(tokenizer), **_ENCODER)), tokenizer


_MAKERS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "bert": _bert,
    "roberta": _roberta,
    "distilbert": _distilbert,
    "gpt2": _gpt2,
    "llama": _llama,
    "opt": lambda: _opt(HIDDEN),
    "opt-projected": lambda: _opt(16),
    "t5": _t5,
    "bart": _bart,
    "albert": _albert,
    "deberta-v2": _deberta,
    "mpnet": _mpnet,
}


@cache
def _made(family: str) -> tuple[Any, Any]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(len(family))
        model, tokenizer = _MAKERS[family]()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                # At the usual 0.02 a tiny model hardly looks at its input, and every error would hide in the noise.
                if parameter.ndim > 1:
                    parameter.normal_(0, 0.25 if "embed" in name or "wte" in name or "wpe" in name else 0.18)
                elif name.endswith("bias"):
                    parameter.normal_(0, 0.1)
                else:
                    parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval(), tokenizer


def bare(family: str) -> Any:
    """The plain transformers model, a fresh copy."""
    return copy.deepcopy(_made(family)[0])


def tiny(family: str) -> Backbone:
    """A fresh backbone of the family, with equal weights at every call."""
    return Backbone(bare(family), _made(family)[1], kind(family), family)


def states_of(model: Any, batch: Any, **more: Any) -> torch.Tensor:
    """`[B, T, H]` that the plain model gives for a batch's words; `more` is for models of one stack."""
    if batch.border is None:
        return model.base_model(input_ids=batch.ids, attention_mask=batch.mask, **more).last_hidden_state
    ids, mask, border = batch.ids, batch.mask, batch.border
    encoded = model.get_encoder()(input_ids=ids[:, :border], attention_mask=mask[:, :border]).last_hidden_state
    decoded = model.get_decoder()(
        input_ids=ids[:, border:], attention_mask=mask[:, border:], encoder_hidden_states=encoded,
        encoder_attention_mask=mask[:, :border], use_cache=False,
    ).last_hidden_state  # fmt: skip
    return torch.cat([encoded, decoded], dim=1)


@cache
def shared(family: str) -> Backbone:
    """One backbone of the family for all tests that only look at it."""
    return tiny(family)
