from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from foreword.artifacts.peft import read_peft, write_peft
from foreword.artifacts.peft.layout import compiled, in_front, key_values_of, matrix_of, moved
from foreword.backbone.geometry import Geometry
from foreword.errors import ArtifactError, ForewordError, Unsupported
from foreword.injections import Injection, KeyValues, LowRank, ScaleInput, Sites, SoftTokens
from foreword.text.rows import Row
from support.backbones import shared

Change = Callable[[dict[str, Any]], dict[str, Any]]


def _soft(count: int = 3) -> Injection:
    return Injection(soft=SoftTokens(torch.randn(count, 32)))


def _prefix(family: str = "gpt2", count: int = 3) -> Injection:
    geometry = shared(family).geometry
    shape = (geometry.layers, 2, geometry.kv_heads, count, geometry.head_size)
    return Injection(key_values=KeyValues(tuple(range(geometry.layers)), torch.randn(shape)), position_offset=count)


def _lora() -> Injection:
    low = LowRank(torch.randn(2, 32), torch.randn(96, 2), 0.5)
    return Injection(sites=Sites({(1, "attn.c_attn", LowRank.kind): low}))


def _ia3() -> Injection:
    return Injection(sites=Sites({(1, "mlp.c_proj", ScaleInput.kind): ScaleInput(torch.randn(128))}))


MADE = {"soft": _soft, "prefix": _prefix, "lora": _lora, "ia3": _ia3}


@pytest.fixture(params=list(MADE))
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return _written(tmp_path, request.param)


def _written(tmp_path: Path, name: str) -> Path:
    write_peft(tmp_path / name, MADE[name](), shared("gpt2"))
    return tmp_path / name


def _change_config(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def _change_tensors(folder: Path, change: Change) -> None:
    path = folder / "adapter_model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    save_file(change(tensors), path)


def _refused(folder: Path, message: str, kind: type[ForewordError] = ArtifactError, family: str = "gpt2") -> None:
    with pytest.raises(kind, match=message) as caught:
        read_peft(folder, shared(family))
    assert str(folder.name) in str(caught.value.where)


def test_a_whole_checkpoint_is_read(folder: Path) -> None:
    adapter = read_peft(folder, shared("gpt2"))
    assert (
        adapter.kind == {"soft": "PROMPT_TUNING", "prefix": "PREFIX_TUNING", "lora": "LORA", "ia3": "IA3"}[folder.name]
    )
    assert adapter.task_type == "CAUSAL_LM"
    assert "on trust" in adapter.notes[0]


def test_a_folder_without_a_checkpoint_is_told(tmp_path: Path) -> None:
    _refused(tmp_path, r"no adapter_config\.json")
    _written(tmp_path, "soft")
    with pytest.raises(ArtifactError) as caught:
        read_peft(tmp_path, shared("gpt2"))
    assert "one of the adapters inside: soft" in str(caught.value)
    _refused(tmp_path / "nowhere", r"no adapter_config\.json")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[1]", b"{}", b'{"peft_type": 3}', b"[" * 5000])
def test_a_broken_config_is_told(folder: Path, content: bytes) -> None:
    (folder / "adapter_config.json").write_bytes(content)
    _refused(folder, "adapter_config.json")


@pytest.mark.parametrize("kind", ["ADALORA", "PROMPT_TUNNING", "CPT", "MULTITASK_PROMPT_TUNING"])
def test_an_unknown_kind_is_refused_by_name(folder: Path, kind: str) -> None:
    _change_config(folder, peft_type=kind)
    _refused(folder, kind, Unsupported)


@pytest.mark.parametrize("change", [{"task_type": "SEQ_2_SEQ_LM"}, {"num_transformer_submodules": 2}])
def test_encoder_decoders_are_refused(folder: Path, change: dict[str, Any]) -> None:
    _change_config(folder, **change)
    _refused(folder, "encoder-decoder", Unsupported)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha_pattern": {"(": 8}}, "no regular expression"),
        ({"alpha_pattern": ["a"]}, "no mapping"),
        ({"modules_to_save": 5}, "no list of names"),
    ],
)
def test_settings_of_another_kind_are_told(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    _written(tmp_path, "lora")
    _change_config(tmp_path / "lora", **change)
    _refused(tmp_path / "lora", message)


def test_missing_weights_are_told(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()
    _refused(folder, r"no adapter_model\.safetensors")


def test_a_pickle_is_not_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: Any, **__: Any) -> None:
        raise AssertionError("it was opened")

    monkeypatch.setattr(torch, "load", opened)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    _refused(folder, "pickle", Unsupported)


@pytest.mark.parametrize(
    "content", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"\x08\0\0\0\0\0\0\0{}{}{}{}"]
)
def test_truncated_weights_are_told(folder: Path, content: bytes) -> None:
    (folder / "adapter_model.safetensors").write_bytes(content)
    _refused(folder, "cannot be read")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_told(folder: Path, value: float) -> None:
    def spoilt(tensors: dict[str, Any]) -> dict[str, Any]:
        next(iter(tensors.values())).view(-1)[2] = value
        return tensors

    _change_tensors(folder, spoilt)
    _refused(folder, "NaN or infinite")


def test_numbers_of_another_type(folder: Path) -> None:
    _change_tensors(folder, lambda tensors: {name: tensor.half() for name, tensor in tensors.items()})
    adapter = read_peft(folder, shared("gpt2"))
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in adapter.injection.tensors().values())
    _change_tensors(folder, lambda tensors: {name: tensor.int() for name, tensor in tensors.items()})
    _refused(folder, "not floating-point")


def test_a_foreign_tensor_is_told(folder: Path) -> None:
    _change_tensors(folder, lambda t: t | {"base_model.model.transformer.wte.weight": torch.ones(4, 4)})
    _refused(folder, "is not read here: base_model.model.transformer.wte.weight")


@pytest.mark.parametrize("name", list(MADE))
def test_another_backbone_is_told(name: str, tmp_path: Path) -> None:
    message = {"soft": "word embeddings are 16 wide", "prefix": "2 x 3 layers x 2 heads x 8"}
    family = {"soft": "opt-projected", "prefix": "llama"}.get(name, "opt")
    _refused(_written(tmp_path, name), message.get(name, "none of that name"), family=family)


@pytest.mark.parametrize("name", ["soft", "prefix"])
def test_files_of_two_checkpoints_are_told(name: str, tmp_path: Path) -> None:
    folder = _written(tmp_path, name)
    _change_config(folder, num_virtual_tokens=5)
    _refused(folder, "num_virtual_tokens is 5")


@pytest.mark.parametrize("name", ["soft", "prefix"])
def test_a_checkpoint_without_its_tensor_is_told(name: str, tmp_path: Path) -> None:
    folder = _written(tmp_path, name)
    _change_tensors(folder, lambda tensors: {"prompt": next(iter(tensors.values()))})
    _refused(folder, "no tensor prompt_embeddings; it has prompt")


def test_a_prefix_of_fewer_layers_is_told(tmp_path: Path) -> None:
    folder = _written(tmp_path, "prefix")
    _change_config(folder, num_layers=2)
    _refused(folder, "for 2 layers")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"lora_bias": True}, "lora_bias"),
        ({"bias": "all"}, "bias"),
        ({"trainable_token_indices": [3]}, "trainable_token_indices"),
        ({"alora_invocation_tokens": [3]}, "alora_invocation_tokens"),
        ({"init_lora_weights": "pissa_niter_4"}, "changed the backbone's own weights"),
        ({"init_lora_weights": "olora"}, "changed the backbone's own weights"),
    ],
)
def test_loras_of_other_kinds_are_refused_by_name(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = _written(tmp_path, "lora")
    _change_config(folder, **change)
    _refused(folder, message, Unsupported)


@pytest.mark.parametrize("alpha", [None, "8", True, 1e300, 10**400, float("inf")])
def test_an_alpha_that_is_no_number_is_told(alpha: Any, tmp_path: Path) -> None:
    folder = _written(tmp_path, "lora")
    _change_config(folder, lora_alpha=alpha)
    _refused(folder, "lora_alpha")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"r": 16}, "has rank 2, and the configuration says 16"),
        ({"rank_pattern": {"attn.c_attn": 4}}, "has rank 2, and the configuration says 4"),
        ({"rank_pattern": {"(": 4}}, "no regular expression"),
        ({"use_rslora": "false"}, "use_rslora is 'false'"),
        ({"target_modules": ["c_proj"]}, "target_modules names transformer.h.0.attn.c_proj"),
        ({"target_modules": ["c_attn"]}, "target_modules names transformer.h.0.attn.c_attn"),
        ({"target_modules": ["c_attn", "c_proj"], "layers_to_transform": [1]}, "names transformer.h.1.attn.c_proj"),
        ({"target_modules": "all-linear"}, "target_modules names"),
        ({"target_modules": "("}, "no regular expression"),
        ({"target_modules": 3}, "no list of names"),
        ({"exclude_modules": ["c_attn"]}, "which target_modules does not name"),
        ({"target_modules": ["c_fc"], "layers_to_transform": [0]}, "which target_modules does not name"),
    ],
)
def test_a_lora_whose_two_files_disagree_is_told(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    """One layer's tensors gone, and the answers would be others without a word."""
    folder = _written(tmp_path, "lora")
    _change_config(folder, **change)
    _refused(folder, message)


@pytest.mark.parametrize(
    "change",
    [
        {"target_modules": ["c_attn"], "layers_to_transform": [1]},
        {"target_modules": ["attn.c_attn"], "layers_to_transform": 1, "layers_pattern": "h"},
        {"target_modules": r".*\.1\.attn\.c_attn"},
        {"target_modules": "all-linear", "exclude_modules": r".*(c_proj|c_fc|h\.[02]\.attn\.c_attn)"},
        {"rank_pattern": {"c_attn": 2}, "r": 8},
    ],
)
def test_every_way_of_naming_its_modules_is_read(change: dict[str, Any], tmp_path: Path) -> None:
    folder = _written(tmp_path, "lora")
    _change_config(folder, **change)
    sites = read_peft(folder, shared("gpt2")).injection.sites
    assert sites is not None
    assert list(sites.at) == [(1, "attn.c_attn", "low_rank")]


def test_an_ia3_with_a_module_missing_is_told(tmp_path: Path) -> None:
    folder = _written(tmp_path, "ia3")
    _change_config(folder, target_modules=["mlp.c_proj"])
    _refused(folder, "the checkpoint has no tensors of it")


@pytest.mark.parametrize("alpha", [0, -2])
def test_a_lora_that_is_turned_round_is_refused(alpha: int, tmp_path: Path) -> None:
    folder = _written(tmp_path, "lora")
    _change_config(folder, lora_alpha=alpha)
    _refused(folder, f"lora_alpha is {alpha}", Unsupported)


@pytest.mark.parametrize("count", ["3", True, 3.0])
def test_a_count_that_is_no_number_is_told(count: Any, tmp_path: Path) -> None:
    for name, option in (("soft", "num_virtual_tokens"), ("prefix", "num_layers")):
        folder = _written(tmp_path, name)
        _change_config(folder, **{option: count})
        _refused(folder, f"{option} is {count!r} in the configuration, no whole number")


def test_eight_bit_floats_are_read(tmp_path: Path) -> None:
    folder = _written(tmp_path, "lora")
    _change_tensors(folder, lambda tensors: {name: t.to(torch.float8_e4m3fn) for name, t in tensors.items()})
    assert read_peft(folder, shared("gpt2")).injection.sites is not None


def test_half_of_a_lora_is_told(tmp_path: Path) -> None:
    folder = _written(tmp_path, "lora")
    _change_tensors(folder, lambda tensors: {name: t for name, t in tensors.items() if "lora_B" in name})
    _refused(folder, "lora_A missing")


def test_a_module_outside_the_layers_is_refused(tmp_path: Path) -> None:
    folder = _written(tmp_path, "lora")
    _change_tensors(
        folder, lambda t: {name.replace("transformer.h.1.attn.c_attn", "lm_head"): v for name, v in t.items()}
    )
    _refused(folder, "lm_head, which is outside the layers", Unsupported)


@pytest.mark.parametrize("name", ["lora", "ia3"])
def test_modules_of_other_widths_are_told(name: str, tmp_path: Path) -> None:
    folder = _written(tmp_path, name)
    _change_tensors(folder, lambda tensors: {key: tensor[:, :-1].contiguous() for key, tensor in tensors.items()})
    _refused(folder, "inputs and")


def test_an_empty_checkpoint_is_told(tmp_path: Path) -> None:
    folder = _written(tmp_path, "lora")
    _change_tensors(folder, lambda tensors: {})
    _refused(folder, "no tensors of LoRA")


def test_a_wrapped_trunk_has_the_same_modules(tmp_path: Path) -> None:
    """PEFT around the trunk alone leaves out the first part of the names."""
    folder = _written(tmp_path, "lora")
    _change_tensors(folder, lambda tensors: {name.replace("transformer.", ""): v for name, v in tensors.items()})
    _change_config(folder, target_modules=r"h\.1\..*c_attn")
    sites = read_peft(folder, shared("gpt2")).injection.sites
    assert sites is not None
    assert list(sites.at) == [(1, "attn.c_attn", "low_rank")]


# -- layout -----------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4))
def test_the_matrix_of_a_prefix(count: int, layers: int, heads: int, size: int) -> None:
    geometry = Geometry(8, 8, layers, heads, heads, size, 10, 10, 0, 1)
    matrix = torch.arange(count * 2 * layers * heads * size).float().view(count, -1)
    table = key_values_of(matrix, geometry)
    assert table.shape == (layers, 2, heads, count, size)
    assert torch.equal(matrix_of(table), matrix)
    seen = matrix.view(count, 2 * layers, heads, size)  # as PEFT sees it: keys at even places, values at odd ones
    for layer in range(layers):
        assert torch.equal(table[layer, 0], seen[:, 2 * layer].transpose(0, 1))
        assert torch.equal(table[layer, 1], seen[:, 2 * layer + 1].transpose(0, 1))


def test_a_row_with_virtual_tokens_in_front_of_all() -> None:
    row = in_front(Row((2, 7, 3), (-1, -1, -1), (0, 0, 1), 0, (1,)), 2)
    assert row == Row((2, 2, 2, 7, 3), (0, 1, -1, -1, -1), (0, 0, 0, 0, 1), 2, (3,))
    with pytest.raises(Unsupported, match="virtual tokens already"):
        in_front(row, 2)


def test_a_masked_models_virtual_tokens_are_no_key_values() -> None:
    with pytest.raises(Unsupported, match="see the text"):
        compiled(SoftTokens(torch.randn(2, 32)), shared("bert"))


def test_turned_keys_come_back() -> None:
    first = _prefix("llama")
    away = moved(first, shared("llama"), 9)
    assert away is not None and first.key_values is not None and away.key_values is not None
    assert not torch.allclose(away.key_values.tensor, first.key_values.tensor, atol=0.1)
    back = moved(away, shared("llama"), 3)
    assert back is not None and back.key_values is not None
    torch.testing.assert_close(back.key_values.tensor, first.key_values.tensor, atol=1e-5, rtol=1e-5)
    assert moved(_prefix("gpt2"), shared("gpt2"), 0) is None
    assert moved(first, shared("llama"), 95) is None, "there would be no positions for a text"
