"""Stored weights by their quantization_config, against what was published of the repositories: elements, bytes, files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmkit.errors import FmkitError, UnsafeInputError
from fmkit.model.architectures import read
from fmkit.model.matrices import matrices
from fmkit.model.precision import Layout
from fmkit.model.spec import ModelSpec

ROOT = Path(__file__).parents[3]
FOLDERS = (ROOT / "catalog" / "configs", ROOT / "tests" / "fixtures" / "configs")


def config_of(hub_id: str) -> dict[str, Any]:
    file = f"{hub_id.replace('/', '--')}.json"
    path = next(folder / file for folder in FOLDERS if (folder / file).exists())
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def modelopt_config_of(hub_id: str) -> dict[str, Any]:
    """The repository's hf_quant_config.json."""
    path = FOLDERS[1] / "hf_quant_config" / f"{hub_id.replace('/', '--')}.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def stored(hub_id: str, **changes: Any) -> tuple[ModelSpec, Layout]:
    spec = read({**config_of(hub_id), **changes}, where=hub_id)
    assert spec.stored is not None, spec.stored_fault
    return spec, spec.stored


def weight_bytes(spec: ModelSpec, layout: Layout) -> int:
    return sum(layout.tensor_group_bytes(group, spec.config_dtype) for group in spec.tensors if group.part != "buffer")


def scales(spec: ModelSpec) -> int:
    """Numbers that are kept as scales of blocks, in all matrices."""
    total = 0
    for group in spec.tensors:
        for layout, count in spec.stored.portions(group) if spec.stored else ():
            if layout is not None:
                number, outputs, inputs = matrices(group)
                per_matrix = (level.matrix_bytes(outputs, inputs) // level.bytes for level in layout.scales)
                total += count * number * sum(per_matrix)
    return total


# The Hub's count of a repository's elements (configs/INDEX.csv, params_published) less the parameters of the model: its scales.
SCALES = [
    ("Qwen/Qwen3-8B-FP8", 8_191_159_296),
    ("Qwen/Qwen3-32B-FP8", 32_764_027_904),
    ("Qwen/Qwen3-235B-A22B-FP8", 235_107_904_512),
    ("RedHatAI/Llama-4-Scout-17B-16E-Instruct-FP8-dynamic", 108_659_340_800),
]


@pytest.mark.parametrize(("hub_id", "published"), SCALES)
def test_scales_are_as_many_as_the_published_files_have(hub_id: str, published: int) -> None:
    spec, _ = stored(hub_id)
    assert spec.params + scales(spec) == published


def test_scales_of_a_model_with_routing_biases() -> None:
    """62 layers of 256 biases beside the scales, which transformers has as buffers."""
    spec, _ = stored("MiniMaxAI/MiniMax-M2.5")
    assert spec.params + scales(spec) + 62 * 256 == 228_703_644_928


PACKED = [
    ("nvidia/Qwen3-235B-A22B-NVFP4", 132_806_618_624, True),
    ("nvidia/Gemma-4-31B-IT-NVFP4", 20_868_591_152, False),
]
"""Published elements with two weights in one, and whether the Hub counted the scales when it looked."""


@pytest.mark.parametrize(("hub_id", "published", "with_scales"), PACKED)
def test_nvfp4_elements_are_as_many_as_published(hub_id: str, published: int, *, with_scales: bool) -> None:
    config = config_of(hub_id)
    quantised = {} if "quantization_config" in config else {"hf_quant_config": modelopt_config_of(hub_id)}
    spec, layout = stored(hub_id, **quantised)
    touched = sum(layout.touched_elements(group) for group in spec.tensors)
    assert spec.params - touched // 2 + (scales(spec) if with_scales else 0) == published


def test_nvfp4_of_some_layers_and_a_prediction_layer() -> None:
    """DeepSeek-V3.1: attention projections at 16 bit, and layer 61, which is stored and not loaded, 13,463,441,152 elements."""
    hub_id = "nvidia/DeepSeek-V3.1-NVFP4"
    spec, layout = stored(hub_id, hf_quant_config=modelopt_config_of(hub_id))
    touched = sum(layout.touched_elements(group) for group in spec.tensors)
    assert spec.params - touched // 2 + scales(spec) + 13_463_441_152 == 393_632_819_968


def test_an_awq_repository_has_the_bytes_of_its_headers() -> None:
    """An 8B Llama: 1,105,465,344 elements in float16 and 879,230,976 in int32 (headers of a published file)."""
    quantisation = {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm", "zero_point": True}
    spec, layout = stored("meta-llama/Meta-Llama-3.1-8B", quantization_config=quantisation)
    assert layout.id == "awq-g128"
    assert weight_bytes(spec, layout) == 2 * 1_105_465_344 + 4 * 879_230_976


@pytest.mark.parametrize(("hub_id", "gigabytes"), [("openai/gpt-oss-20b", 13.76), ("openai/gpt-oss-120b", 65.25)])
def test_gpt_oss_files(hub_id: str, gigabytes: float) -> None:
    spec, layout = stored(hub_id)
    assert weight_bytes(spec, layout) / 1e9 == pytest.approx(gigabytes, abs=0.006)


def test_packed_experts_are_as_many_as_the_hub_counts() -> None:
    """DeepSeek-V4-Flash: 296,352,743,424 FP4 weights in 46 layers, of which 43 are loaded."""
    spec, layout = stored("deepseek-ai/DeepSeek-V4-Flash")
    experts = [group for group in spec.tensors if group.part == "experts"]
    assert sum(layout.touched_elements(group) for group in experts) * 46 == 296_352_743_424 * 43
    assert {found.weight_bits for group in experts for found, _ in layout.portions(group) if found} == {4}


def test_mixed_schemes_by_regular_expression() -> None:
    """Kimi-K2.5: experts at 4 bit in groups of 32; attention, shared experts, dense layers and the tower at 16."""
    spec, layout = stored("moonshotai/Kimi-K2.5")
    by_part = {
        part: sum(layout.touched_elements(g) for g in spec.tensors if g.part == part)
        for part in ("experts", "attention", "vision")
    }
    whole = sum(group.elements for group in spec.tensors if group.part == "experts")
    assert (by_part["attention"], by_part["vision"]) == (0, 0)
    assert 0.99 < by_part["experts"] / whole <= 1


def test_kimi_k2_thinking_has_the_size_of_its_files() -> None:
    """62 files of 554 "GB" (jwt625/PlayGround@1bc4cc0 20251107_kimi_k2_thinking/DEPLOYMENT_SUMMARY.md), GiB as `du` counts: experts in groups of 32, the rest in 16 bits."""
    spec, layout = stored("moonshotai/Kimi-K2-Thinking")
    assert 553 < weight_bytes(spec, layout) / 2**30 <= 554


def test_config_groups_with_targets_of_their_own() -> None:
    weights = {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": True}
    packed = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128, "symmetric": True}
    quantisation = {
        "quant_method": "compressed-tensors", "format": "mixed-precision", "ignore": ["lm_head"],
        "config_groups": {
            "attention": {"targets": ["re:.*self_attn.*"], "format": "float-quantized", "weights": weights},
            "mlp": {"targets": ["re:.*mlp.*"], "format": "pack-quantized", "weights": packed},
        },
    }  # fmt: skip
    spec, layout = stored("meta-llama/Meta-Llama-3.1-8B", quantization_config=quantisation)
    widths = {group.part: found.weight_bits for group in spec.tensors for found, _ in layout.portions(group) if found}
    assert widths == {"attention": 8, "mlp": 4}


def test_mixed_precision_of_modelopt_by_layer() -> None:
    quantised = {
        f"model.layers.{layer}.mlp.{name}": {"quant_algo": "NVFP4"}
        for layer in range(30)
        for name in ("gate_proj", "up_proj")
    }
    quantised |= {"lm_head": {"quant_algo": "FP8"}}
    quantisation = {"quant_algo": "MIXED_PRECISION", "quantized_layers": quantised}
    spec, layout = stored("meta-llama/Meta-Llama-3.1-8B", hf_quant_config={"quantization": quantisation})
    found = {group.name: layout.portions(group) for group in spec.tensors}
    assert [
        (scheme.weight_bits if scheme else None, count) for scheme, count in found["model.layers.*.mlp.up_proj.weight"]
    ] == [(4, 30), (None, 2)]
    assert [scheme.weight_bits for scheme, _ in found["lm_head.weight"] if scheme] == [8]
    assert not layout.touches(next(group for group in spec.tensors if "down_proj" in group.name))


@pytest.mark.parametrize(
    ("quantisation", "named"),
    [
        ({"quant_method": "aqlm"}, "quant_method = 'aqlm'"),
        ({"quant_method": "gptq", "bits": 5}, "bits = '5'"),
        (
            {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4, "group_size": 0}}},
            "group_size = '0'",
        ),
        ({"quant_method": "gptq", "bits": 4, "dynamic": {"-:x": {}}}, "dynamic"),
        ({"quant_method": "awq", "bits": 4, "version": "marlin"}, "version = 'marlin'"),
        ({"quant_method": "fp8", "weight_block_size": "big"}, "weight_block_size"),
        ({"quant_method": "torchao", "quant_type": "uintx"}, "quant_type"),
        ({"quant_method": "bitsandbytes"}, "load_in_4bit"),
        ({"quant_method": "compressed-tensors", "config_groups": {}}, "config_groups"),
        ({"quant_method": "modelopt", "quant_algo": "W3A3"}, "quant_algo = 'W3A3'"),
    ],
)
def test_what_is_not_understood_is_named(quantisation: dict[str, Any], named: str) -> None:
    spec = read({**config_of("meta-llama/Meta-Llama-3.1-8B"), "quantization_config": quantisation}, where="the test")
    assert spec.stored is None
    assert spec.stored_fault is not None
    assert named in spec.stored_fault


@pytest.mark.parametrize("quantisation", ["x", [], 4, False])
@pytest.mark.parametrize("holder", ["", "text_config"])
def test_a_quantisation_that_is_no_object_is_refused(quantisation: object, holder: str) -> None:
    config = config_of("google/gemma-3-4b-it")
    inner = {**config[holder], "quantization_config": quantisation} if holder else quantisation
    with pytest.raises(UnsafeInputError, match=r"quantization_config is .*; expected an object") as caught:
        read({**config, holder or "quantization_config": inner}, where="config.json")
    assert (caught.value.where, caught.value.exit_code) == ("config.json", 10)


@pytest.mark.parametrize(
    "quantisation",
    [
        {"quant_method": "gptq", "bits": 4, "group_size": 0},
        {"quant_method": "awq", "bits": 4, "q_group_size": 0},
        {"quant_method": "auto-round", "bits": 4, "group_size": 0},
        {"quant_method": "compressed-tensors", "config_groups": {"0": {"weights": {"group_size": 0}}}},
    ],
    ids=lambda quantisation: quantisation["quant_method"],
)
def test_groups_of_nothing_are_refused(quantisation: dict[str, Any]) -> None:
    with pytest.raises(UnsafeInputError, match=r"group_size is 0; expected a positive number"):
        read({**config_of("meta-llama/Meta-Llama-3.1-8B"), "quantization_config": quantisation}, where="the test")


@pytest.mark.parametrize("quantisation", [None, {}])
def test_an_empty_quantisation_is_none(quantisation: object) -> None:
    spec = read({**config_of("meta-llama/Meta-Llama-3.1-8B"), "quantization_config": quantisation}, where="the test")
    assert (spec.stored, spec.stored_fault) == (None, None)


@pytest.mark.parametrize("expression", ["re:(a*)*b", "re:" + ".*x" * 20, "re:[", "re:(a|b)+c"])
def test_costly_expressions_are_refused(expression: str) -> None:
    group = {"weights": {"num_bits": 8, "strategy": "channel"}, "targets": ["Linear"]}
    quantisation = {"quant_method": "compressed-tensors", "format": "int-quantized", "config_groups": {"0": group}, "ignore": [expression]}  # fmt: skip
    with pytest.raises(UnsafeInputError):
        read({**config_of("meta-llama/Meta-Llama-3.1-8B"), "quantization_config": quantisation}, where="the test")


_KEYS = [
    "bits", "group_size", "config_groups", "weights", "targets", "ignore", "format", "num_bits", "strategy", "quant_type", "quant_algo",
    "quantized_layers", "exclude_modules", "modules_to_not_convert", "weight_block_size", "load_in_4bit", "quant_config",
    "weight_quant_params", "nbits", "modules_in_block_to_quantize", "expert_dtype", "activation_scheme", "kv_cache_scheme",
]  # fmt: skip
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**40) | st.text(max_size=8) | st.sampled_from(["re:.*", "Linear", "lm_head", "group"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=5),
    max_leaves=12,
)  # fmt: skip
_METHODS = [
    "gptq",
    "awq",
    "fp8",
    "bitsandbytes",
    "mxfp4",
    "hqq",
    "torchao",
    "quanto",
    "compressed-tensors",
    "modelopt",
    "auto-round",
    "x",
]


@settings(max_examples=120, deadline=None)
@given(method=st.sampled_from(_METHODS), fields=st.dictionaries(st.sampled_from(_KEYS), _VALUES, max_size=6))
def test_a_hostile_quantization_config_is_sized_or_refused(method: str, fields: dict[str, Any]) -> None:
    config = {**config_of("Qwen/Qwen3-8B-FP8"), "quantization_config": {**fields, "quant_method": method}}
    try:
        spec = read(config, where="the test")
    except FmkitError:
        return
    assert spec.stored is not None or spec.stored_fault is not None
    if spec.stored is not None:
        assert 0 < weight_bytes(spec, spec.stored) < 40e9
