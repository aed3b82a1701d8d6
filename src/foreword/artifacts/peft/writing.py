"""From an injection to a PEFT checkpoint; what PEFT cannot express is refused with the reason."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from foreword.artifacts.peft.files import write
from foreword.artifacts.peft.layout import matrix_of, moved
from foreword.artifacts.peft.reading import PROMPT, TWO_STACKS
from foreword.artifacts.peft.sites import written_sites
from foreword.backbone.backbone import Backbone
from foreword.backbone.geometry import Kind
from foreword.errors import Unsupported
from foreword.injections import Injection

SAID = {
    "soft": "virtual tokens",
    "key_values": "key/values",
    "cross": "key/values beside the encoder's",
    "weights": "weights of its own",
    "sites": "operations at modules",
}
TaskType = Literal["CAUSAL_LM", "SEQ_CLS", "FEATURE_EXTRACTION", "SEQ_2_SEQ_LM"]
TASKS: Mapping[Kind, TaskType] = {
    "causal": "CAUSAL_LM",
    "masked": "FEATURE_EXTRACTION",
    "encoder-decoder": "SEQ_2_SEQ_LM",
}
SoftKind = Literal["PROMPT_TUNING", "P_TUNING"]


@dataclass(frozen=True)
class Written:
    """What is in the checkpoint: PEFT's kind, its settings and its tensors."""

    kind: str
    settings: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


def write_peft(
    folder: str | Path,
    injection: Injection,
    backbone: Backbone,
    *,
    task_type: TaskType | None = None,
    readout: Mapping[str, Tensor] | None = None,
    soft_kind: SoftKind = "PROMPT_TUNING",
    leading: int = 0,
    base_model: str | None = None,
    usage: Sequence[str] = (),
) -> dict[str, Any]:
    """Write `injection` as PEFT's `save_pretrained` would, and give back its `adapter_config.json`.

    **Arguments:** virtual tokens are taken to stand in front of everything, as PEFT puts them. `task_type` is by
    default that of the bare backbone (`TASKS`). `readout`: the task model's own head, such as
    `score.weight`. `leading`: how many of the virtual tokens are words of the tokenizer's own. `usage`: lines for the
    README.

    **Raises** `Unsupported` for what PEFT cannot express.
    """
    written = converted(injection, backbone, soft_kind)
    heads = dict(readout or {})
    config = {
        "auto_mapping": None,
        "base_model_name_or_path": base_model or backbone.name,
        "inference_mode": True,
        "modules_to_save": sorted({name.split(".")[0] for name in heads}) or None,
        "peft_type": written.kind,
        "peft_version": None,
        "revision": None,
        "task_type": task_type or TASKS[backbone.kind],
        **written.settings,
    }
    metadata = {"foreword": json.dumps({"leading": leading})} if leading else {}
    inner = "base_model.model" if injection.sites is not None else "base_model"
    tensors = {**written.tensors, **{f"{inner}.{name}": tensor for name, tensor in heads.items()}}
    write(Path(folder), config, tensors, metadata, readme(config, usage))
    return config


def converted(injection: Injection, backbone: Backbone, soft_kind: SoftKind = "PROMPT_TUNING") -> Written:
    """The injection as one of PEFT's kinds. **Raises** `Unsupported` where none of them does the same."""
    held = [name for name in SAID if getattr(injection, name) is not None]
    if not held:
        raise Unsupported("the foreword adds nothing to the backbone, so there is nothing for PEFT to hold")
    if "weights" in held:
        raise Unsupported(
            "the foreword is a fine-tuned copy of the backbone, and PEFT holds adapters", do="share the model itself"
        )
    if backbone.two_stacks and {"key_values", "cross"} & set(held):
        raise Unsupported(
            f"PEFT's prefix on an encoder-decoder {TWO_STACKS}",
            do="export a foreword of prompt-tuning, p-tuning, lora or ia3",
        )
    if len(held) > 1:
        kinds = " and ".join(SAID[name] for name in held)
        raise Unsupported(
            f"the foreword combines {kinds}, and a PEFT checkpoint holds one of them",
            do="train one part of it alone",
        )
    if injection.sites is not None:
        if injection.position_offset:
            raise Unsupported("the foreword moves the text's positions, which PEFT does for a prefix alone")
        return Written(*written_sites(injection.sites, backbone))
    return _soft(injection, backbone, soft_kind) if injection.soft is not None else _prefix(injection, backbone)


def _soft(injection: Injection, backbone: Backbone, kind: SoftKind) -> Written:
    assert injection.soft is not None
    vectors, geometry = injection.soft.vectors, backbone.geometry
    if injection.position_offset:
        raise Unsupported("the virtual tokens come with a position offset of their own, which PEFT has no setting for")
    settings: dict[str, Any] = {
        "num_attention_heads": geometry.heads,
        "num_layers": geometry.layers,
        "num_transformer_submodules": 1,
        "num_virtual_tokens": len(vectors),
        "token_dim": geometry.embedding,
    }
    if kind == "PROMPT_TUNING":
        settings |= {
            "prompt_tuning_init": "RANDOM",
            "prompt_tuning_init_text": None,
            "tokenizer_kwargs": None,
            "tokenizer_name_or_path": None,
        }
    else:
        settings |= {
            "encoder_dropout": 0.0,
            "encoder_hidden_size": geometry.embedding,
            "encoder_num_layers": 2,
            "encoder_reparameterization_type": "MLP",
        }
    return Written(kind, settings, {PROMPT: vectors})


def _prefix(injection: Injection, backbone: Backbone) -> Written:
    table, geometry = injection.key_values, backbone.geometry
    assert table is not None
    if table.layers != tuple(range(geometry.layers)):
        raise Unsupported(
            f"the key/values are in layers {', '.join(map(str, table.layers))} of {geometry.layers}, and PEFT's prefix "
            "is in all of them",
            do="train with method.layers: all",
        )
    if "past_key_values" not in inspect.signature(backbone.trunk.forward).parameters:
        raise Unsupported(
            f"PEFT puts its prefix into the cache of past key/values, and {backbone.family} takes none",
            do="use virtual tokens (prompt-tuning) for what is to be used with PEFT",
        )
    fitting = moved(injection, backbone, table.length)
    if fitting is None or fitting.key_values is None:
        raise Unsupported(
            f"PEFT moves the text by the prefix's {table.length} positions, this foreword by "
            f"{injection.position_offset}, and with {backbone.family} that is not the same",
            do=f"train with method.position_offset: {table.length}",
        )
    settings = {
        "encoder_hidden_size": None,
        "init_weights": None,
        "num_attention_heads": geometry.kv_heads,
        "num_layers": geometry.layers,
        "num_transformer_submodules": 1,
        "num_virtual_tokens": table.length,
        "prefix_projection": False,
        "token_dim": geometry.kv_heads * geometry.head_size,
    }
    return Written("PREFIX_TUNING", settings, {PROMPT: matrix_of(fitting.key_values.tensor)})


def readme(config: Mapping[str, Any], usage: Sequence[str]) -> str:
    """The checkpoint's card."""
    lines = [
        f"# {config['peft_type']} for {config['base_model_name_or_path']}",
        "",
        "A foreword, exported for PEFT:",
        "",
        "```python",
        "from peft import PeftModel",
        "",
        'model = PeftModel.from_pretrained(base_model, "path/to/this/folder")',
        "```",
        "",
        *(f"- {line}" for line in usage),
    ]
    return "\n".join(lines) + "\n"
