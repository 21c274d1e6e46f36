"""Precisions by name and engine, stored repositories, fused experts, and what smaller weights cost in quality."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fmkit.api.vram import vram
from fmkit.catalog.load import load_catalog
from fmkit.errors import ArchitectureUnknownError, UsageError
from fmkit.model.ggml import FILE_TYPES
from fmkit.results.vram import PrecisionLoss, VramResult

CONFIGS = Path(__file__).parents[2] / "catalog" / "configs"


def _with(
    tmp_path: Path, base: str, quantisation: dict[str, Any] | None = None, beside: dict[str, Any] | None = None
) -> str:
    config = json.loads((CONFIGS / f"{base}.json").read_text("utf-8"))
    if quantisation is not None:
        config["quantization_config"] = quantisation
    (tmp_path / "config.json").write_text(json.dumps(config))
    if beside is not None:
        (tmp_path / "hf_quant_config.json").write_text(json.dumps(beside))
    return str(tmp_path)


def _layouts(result: VramResult) -> dict[str, str]:
    return {found.precision: found.layout for found in result.estimates}


def test_precisions_by_the_name_of_the_quantiser() -> None:
    names = ["int8-torchao", "int4-quanto", "hqq", "nf4", "nf4-single", "fp8"]
    assert _layouts(vram("llama-3.1-8b", precision=names, context="4k")) == {
        "int8-torchao": "torchao-int8", "int4-quanto": "quanto-int4", "int4-hqq": "hqq-int4-g64", "nf4": "bnb-nf4-dq",
        "nf4-single": "bnb-nf4", "fp8": "fp8-block-linear",
    }  # fmt: skip
    assert _layouts(vram("llama-3.1-8b", precision=["gptq", "w8a8", "nvfp4"], context="4k", engine="vllm")) == {
        "int4-gptq": "gptq-int4-g128", "int8-w8a8": "w8a8", "nvfp4": "nvfp4",
    }  # fmt: skip


def test_a_precision_of_another_engine_names_it() -> None:
    with pytest.raises(UsageError, match="transformers has no layout int4-awq; vllm has") as caught:
        vram("llama-3.1-8b", precision="awq")
    assert caught.value.next_command == "--engine vllm"
    with pytest.raises(UsageError, match="unknown precision 'int4-torcao'; nearest: int4-torchao"):
        vram("llama-3.1-8b", precision="int4-torcao")


def test_every_layout_belongs_to_an_engine() -> None:
    """Nothing lies in the catalog that nobody can ask for."""
    catalog = load_catalog()
    offered = {layout for engine in catalog.engines.values() for layout in engine.layouts.values()}
    assert set(catalog.layouts) == offered
    named = {precision for engine in catalog.engines.values() for precision in engine.layouts}
    assert set(catalog.precisions) == named


def test_fused_experts_stay_at_16_bit_where_the_quantiser_replaces_modules() -> None:
    """46.7B parameters: 90 GB whatever bitsandbytes, torchao, quanto or HQQ do; vLLM's 4-bit layouts take all of it."""
    names = ["int8", "int4", "int8-torchao", "int4-torchao", "int8-quanto", "int4-quanto", "int4-hqq"]
    result = vram("mixtral-8x7b-v0.1", precision=names, context="4k", memory="80GiB")
    assert min(found.weights_bytes for found in result.estimates) > 90e9
    for name in names:
        assert any(
            warning.startswith(f"{name.upper()}: ") and "97 % of the weights" in warning and "fused experts" in warning
            for warning in result.warnings
        ), name
    served = vram(
        "mixtral-8x7b-v0.1",
        precision=["int4-awq", "int4-gptq", "int4-w4a16"],
        context="4k",
        engine="vllm",
        memory="80GiB",
    )
    assert max(found.weights_bytes for found in served.estimates) < 26e9


def test_a_stored_repository_is_sized_by_each_engine_as_it_loads_it(tmp_path: Path) -> None:
    weights = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128, "symmetric": True}
    quantisation = {
        "quant_method": "compressed-tensors", "format": "pack-quantized", "ignore": ["lm_head"],
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
    }  # fmt: skip
    path = _with(tmp_path, "meta-llama--Meta-Llama-3.1-8B", quantisation)
    kept = vram(path, precision="stored", context="4k", engine="vllm", memory="24GiB").estimates[0]
    unpacked = vram(path, precision="stored", context="4k", memory="24GiB")
    assert kept.layout == "w4a16-g128"
    assert 5.6e9 < kept.weights_bytes < 5.8e9
    assert unpacked.estimates[0].weights_bytes > 16e9
    assert any("unpacks compressed-tensors" in warning for warning in unpacked.warnings)


def test_fp8_is_unpacked_on_a_cpu() -> None:
    path = str(CONFIGS / "deepseek-ai--DeepSeek-V3.json")
    on_gpu = vram(path, precision="stored", context="4k", gpu="h100-sxm5-80gb").estimates[0].weights_bytes
    on_cpu = vram(path, precision="stored", context="4k").estimates[0].weights_bytes
    assert on_cpu > 1.9 * on_gpu


def test_hf_quant_config_beside_config_json(tmp_path: Path) -> None:
    beside = {"quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]}}
    path = _with(tmp_path, "meta-llama--Meta-Llama-3.1-8B", beside=beside)
    result = vram(path, context="4k", engine="vllm", memory="24GiB")
    assert result.estimates[0].layout == "nvfp4"
    assert any("asks for a cache in FP8" in warning for warning in result.warnings)
    with pytest.raises(UsageError, match="transformers does not load weights stored by modelopt; vllm does"):
        vram(path, precision="stored", context="4k")


def test_an_unknown_quantisation_is_refused_by_name_and_16_bit_is_not(tmp_path: Path) -> None:
    path = _with(tmp_path, "meta-llama--Meta-Llama-3.1-8B", {"quant_method": "aqlm"})
    with pytest.raises(ArchitectureUnknownError, match="quant_method = 'aqlm' is not known here"):
        vram(path, context="4k", memory="24GiB")
    assert vram(path, precision="fp16", context="4k", memory="24GiB").estimates[0].weights_bytes > 16e9


def losses(engine: str, *names: str) -> dict[str, PrecisionLoss]:
    result = vram("llama-3.1-8b", precision=list(names), context="4k", engine=engine)
    return {loss.precision: loss for loss in result.quality_loss}


def test_quality_loss_stands_beside_each_smaller_precision() -> None:
    found = losses("vllm", "fp16", "int8-gptq", "int4-gptq")
    assert set(found) == {"int8-gptq", "int4-gptq"}
    assert {measured.scheme for measured in found["int4-gptq"].measurements} == {"GPTQ Int4"}
    assert {measured.scheme for measured in found["int8-gptq"].measurements} == {"GPTQ Int8"}
    assert "MMLU -1.3 to -0.4 points" in found["int4-gptq"].summary
    assert all(measured.source and measured.model for measured in found["int4-gptq"].measurements)


@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_the_loss_of_another_method_is_not_taken_for_this_ones(engine: str) -> None:
    """bitsandbytes, AWQ and W8A16 are nobody's GPTQ, nor Meta's own 4-bit schemes."""
    for name, found in losses(engine, "int8", "int4").items():
        assert found.measurements == ()
        assert found.summary.startswith(f"unknown; other {name[-1]}-bit methods: MMLU "), found.summary


def test_quality_loss_of_a_gguf_mix_is_its_perplexity() -> None:
    found = losses("llama.cpp", "int4", "int8", "q4_k_m", "iq2_m")
    assert found["q4_k_m"].summary == found["int4"].summary == "perplexity +0.1754 (by GGUF Q4_K_M, on Meta-Llama-3-8B)"
    assert found["int8"].summary == "perplexity +0.0026 (by GGUF Q8_0, on Meta-Llama-3-8B)"
    assert found["iq2_m"].summary == "unknown"


def test_every_file_type_with_a_rule_has_a_precision() -> None:
    offered = {layout.file_type for layout in load_catalog().layouts.values()}
    assert set(FILE_TYPES) - offered == {
        "BF16",
        "NVFP4",
        "Q1_0",
    }  # bf16 is as large as fp16; of the others no file is known


@pytest.mark.parametrize("name", ["UD-Q4_K_XL", "q4_k_l", "q3_k_xl"])
def test_a_mix_made_by_hand_is_sized_from_its_file(name: str) -> None:
    with pytest.raises(UsageError, match=r"whose rule fmkit does not know.*size the \.gguf file itself"):
        vram("llama-3.1-8b", precision=name, engine="llama.cpp")


@pytest.mark.parametrize(("model", "file_bytes"), [("gpt-oss-20b", 12.1e9), ("gpt-oss-120b", 63.4e9)])
def test_gguf_files_of_gpt_oss_keep_its_experts(model: str, file_bytes: float) -> None:
    """Sizes of the published MXFP4 files, as AlexsJones/llmfit#1059 gives them."""
    found = vram(model, engine="llama.cpp", gpu="h100-sxm5-80gb", context=512)
    first = found.estimates[0]
    assert first.precision == "mxfp4"
    assert first.host is not None
    assert first.weights_bytes + first.host.weights_bytes == pytest.approx(file_bytes, rel=0.005)
    assert any("keep what is stored in MXFP4" in note for note in found.warnings)
    assert not any("does not load" in note for note in found.warnings)
