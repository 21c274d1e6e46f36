"""Tensor parallel: shares that add up, degrees that are possible, and measured weights per device."""

from __future__ import annotations

import pytest

from fmkit.catalog.load import load_catalog
from fmkit.errors import UsageError
from fmkit.model.spec import ModelSpec
from fmkit.sizing.engines.vllm_cache import groups_of
from fmkit.sizing.engines.vllm_options import Settings
from fmkit.sizing.parallel import degrees, rank_spec
from fmkit.sizing.weights import weight_bytes
from fmkit.units import GIB


def spec_of(model: str) -> ModelSpec:
    spec = load_catalog().model(model).spec
    assert spec is not None
    return spec


@pytest.mark.parametrize(
    ("model", "layout", "devices", "measured_bytes", "within"),
    [
        # "Model loading took" per device in start-up logs of vLLM; their sources are in catalog/measurements/memory.csv
        ("qwen3-32b", "plain-16", 2, 32_845_762_396, 0.01), ("llama-3.3-70b-instruct", "fp8-channel", 2, 36_378_372_997, 0.01),
        ("qwen3-30b-a3b", "plain-16", 4, 15_298_029_263, 0.01), ("qwen3-30b-a3b", "plain-16", 2, 30_576_623_799, 0.01),
        ("llama-3-8b", "plain-16", 2, round(7.48 * GIB), 0.01),  # vllm-project/vllm#10511
        ("gemma-3-27b-it", "plain-16", 4, 14_137_421_725, 0.03),
    ],
)  # fmt: skip
def test_weights_per_device_are_the_measured(
    model: str, layout: str, devices: int, measured_bytes: int, within: float
) -> None:
    rank = rank_spec(spec_of(model), devices)
    assert weight_bytes(rank, load_catalog().layouts[layout]) == pytest.approx(measured_bytes, rel=within)


@pytest.mark.parametrize(
    "model",
    ["gpt2", "llama-3.1-8b", "deepseek-v3", "gpt-oss-20b", "mixtral-8x7b-v0.1", "gemma-2-9b", "whisper-large-v3", "t5-base", "mamba-2.8b-hf"],
)  # fmt: skip
def test_shares_add_up_to_the_model_and_what_is_repeated(model: str) -> None:
    spec = spec_of(model)
    layout = load_catalog().layouts["plain-16"]
    whole = weight_bytes(spec, layout)
    shares = [
        degree.devices * weight_bytes(rank_spec(spec, degree.devices), layout)
        for degree in degrees(spec, 4)
        if not degree.reason
    ]
    assert shares[0] == whole
    assert all(whole <= share < 1.09 * whole for share in shares)


def test_heads_that_do_not_divide_are_named() -> None:
    reasons = {degree.devices: degree.reason for degree in degrees(spec_of("falcon-7b"), 8)}
    assert reasons[1] is None
    assert "71 attention heads" in str(reasons[2])
    assert "10 KV heads" in str(degrees(spec_of("phi-4"), 4)[3].reason)
    with pytest.raises(UsageError, match=r"20 attention heads do not divide by 8; possible: 1, 2, 4, 5"):
        rank_spec(spec_of("whisper-large-v3"), 8)


def test_a_quantisation_group_is_not_cut() -> None:
    reason = degrees(spec_of("llama-2-7b-hf"), 4, group_size=128)[3].reason
    assert degrees(spec_of("llama-2-7b-hf"), 4)[3].reason is None
    assert "group of 128" in str(reason)


@pytest.mark.parametrize(
    ("model", "devices", "share"),
    [("llama-3.1-8b", 8, 1 / 8), ("llama-3.1-8b", 16, 1 / 8), ("deepseek-v3", 8, 1.0), ("qwen3-32b", 2, 1 / 2)],
)
def test_kv_heads_are_repeated_and_latents_whole(model: str, devices: int, share: float) -> None:
    spec = spec_of(model)

    def cache(each: ModelSpec) -> int:
        return sum(group.sequence_bytes for group in groups_of(each, Settings(), 4096, 0))

    assert cache(rank_spec(spec, devices)) == cache(spec) * share


def test_the_vocabulary_is_padded() -> None:
    rank = rank_spec(spec_of("gpt2"), 2)
    assert next(group for group in rank.tensors if group.part == "embedding").shape == (25152, 768)
