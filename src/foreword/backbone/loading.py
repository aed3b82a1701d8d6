"""From a name to a frozen backbone: a named model, a local folder, or a name on the hub."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from foreword import store
from foreword.backbone.allocator import keep_freed_memory
from foreword.backbone.backbone import Backbone
from foreword.backbone.geometry import Kind
from foreword.backbone.heads import TWO_STACKS
from foreword.errors import BackboneError, ForewordError, Unsupported

BERT_FIELDS = frozenset(
    ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "type_vocab_size")
)


def load(name: str, *, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Backbone:
    """The backbone called `name`, frozen.

    **Raises** `BackboneError` when it cannot be had, `Unsupported` when its family cannot take any injection.
    """
    from transformers import AutoTokenizer

    keep_freed_memory()
    source = store.resolve_model(name)
    with _quiet(source), _told(name, source):
        config = read_config(source)
        kind = kind_of(config, name)
        model, head = _model(source, config, kind, dtype)
        tokenizer = AutoTokenizer.from_pretrained(source, config=config)
    if not tokenizer.is_fast:
        raise Unsupported(f"{name}: only fast tokenizers are supported", do="convert the tokenizer to tokenizer.json")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return Backbone(model.to(device), tokenizer, kind, str(name), head=head)


def load_tokenizer(name: str) -> Any:
    """The tokenizer of the model called `name`, without its weights. **Raises** `BackboneError`."""
    from transformers import AutoTokenizer

    source = store.resolve_model(name)
    with _quiet(source), _told(name, source):
        return AutoTokenizer.from_pretrained(source, config=read_config(source))


def read_config(source: str | Path) -> Any:
    """The checkpoint's configuration. One that names no `model_type` but has BERT's own fields is read as BERT's.

    Such are Google's first releases, `prajjwal1/bert-tiny` among them. What is not BERT for all that has other weights,
    and `load` refuses it for what is missing. **Raises** what `transformers` does.
    """
    from transformers import AutoConfig, BertConfig, PreTrainedConfig

    found, _ = PreTrainedConfig.get_config_dict(source)
    if "model_type" not in found and BERT_FIELDS <= found.keys():
        return BertConfig.from_dict(found)
    return AutoConfig.from_pretrained(source)


def kind_of(config: Any, name: str) -> Kind:
    """Masked, causal or encoder-decoder, by the checkpoint. **Raises** `Unsupported` for all others, by name."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    if getattr(config, "is_encoder_decoder", False):
        if config.model_type not in TWO_STACKS:
            known = " and ".join(TWO_STACKS)
            raise Unsupported(
                f"{name}: encoder-decoders of the family {config.model_type} are not supported",
                do=f"use one of {known}, or an encoder or a decoder alone",
            )
        return "encoder-decoder"
    architecture = " ".join(getattr(config, "architectures", None) or ())
    if "CausalLM" in architecture or "LMHead" in architecture:
        return "causal"
    if config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return "masked"
    if config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return "causal"
    raise Unsupported(f"{name}: models of the family {config.model_type} are neither masked nor causal language models")


def _model(source: str | Path, config: Any, kind: Kind, dtype: torch.dtype) -> tuple[Any, bool]:
    """The model with its language-model head, and whether the checkpoint really had one."""
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

    auto = {
        "causal": AutoModelForCausalLM,
        "masked": AutoModelForMaskedLM,
        "encoder-decoder": AutoModelForSeq2SeqLM,
    }[kind]
    loaded: Any = auto.from_pretrained(source, config=config, dtype=dtype, output_loading_info=True)
    model, info = loaded
    missing = [str(key) for key in info["missing_keys"]]
    inside = (
        f"{model.base_model_prefix}."
        if hasattr(model, model.base_model_prefix)
        else ("shared.", "encoder.", "decoder.")
    )
    trunk = [key for key in missing if key.startswith(inside) and ".pooler." not in key]
    if trunk:
        raise BackboneError(f"the checkpoint lacks weights of the trunk, such as {trunk[0]}", where=str(source))
    return model, not missing


@contextmanager
def _quiet(source: str | Path) -> Iterator[None]:
    """transformers' own reports are for its users; ours get one clear sentence, and bars while a hub is asked."""
    from huggingface_hub import try_to_load_from_cache
    from transformers.utils import logging

    level = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if isinstance(source, str) and not isinstance(try_to_load_from_cache(source, "config.json"), str):
        sys.stderr.write(f"foreword: fetching {source} from the hub, once\n")
    else:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def _told(name: str, source: str | Path) -> Iterator[None]:
    try:
        yield
    except ForewordError:
        raise
    except Exception as error:
        local = isinstance(source, Path) or os.path.isdir(source)
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise BackboneError(
            f"cannot load the model '{name}': {reason}",
            where=str(source),
            do="check that the folder holds a whole checkpoint (config.json, safetensors, tokenizer.json)"
            if local
            else "without a network, use a named model (foreword models list) or a local folder",
        ) from error
