"""`fmkit.vram(..., train=...)`: methods, number types, the inverse, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

import fmkit
from fmkit.errors import ArchitectureUnknownError, UsageError
from fmkit.units import GIB


def train(model: str = "llama-3.1-8b", method: str = "full", **options: Any) -> Any:
    return fmkit.vram(model, train=method, gpu=options.pop("gpu", "h100-sxm5-80gb"), offline=True, **options)


def test_full_fine_tuning_holds_weights_gradients_and_two_moments() -> None:
    result = train(context="1k", precision=["fp16", "mixed", "fp32"])
    by_type = {found.precision: found for found in result.estimates}
    params = 8_030_261_248
    for precision, width in (("fp16", 2), ("mixed", 4), ("fp32", 4)):
        found = by_type[precision]
        assert found.training.trainable_params == params
        assert found.training.gradient_bytes == width * params
        assert found.training.optimizer_bytes == pytest.approx(2 * width * params, rel=1e-6)
        assert found.peak_bytes > 4 * width * params


def test_lines_sum_to_totals() -> None:
    for method, precision in (("full", "fp16"), ("lora", "mixed"), ("qlora", "int4")):
        for found in train(method=method, precision=precision, context=["1k", "8k"], train_batch=[1, 4]).estimates:
            assert sum(line.bytes for line in found.lines) == found.peak_bytes
            assert sum(line.bytes for line in found.lines if line.phase == "steady") == found.steady_bytes
            assert found.low_bytes <= found.peak_bytes <= found.high_bytes


def test_each_lighter_recipe_needs_less() -> None:
    need = [
        train(method=method, context="4k", precision=precision, checkpointing=checkpointing).estimates[0].peak_bytes
        for method, precision, checkpointing in (
            ("full", "mixed", False), ("full", "fp16", False), ("full", "fp16", True), ("lora", "fp16", True), ("qlora", "int4", True),
        )
    ]  # fmt: skip
    assert need == sorted(need, reverse=True)
    assert need[-1] < 14 * GIB  # 8B parameters in 4 bit, adapters, and 4k tokens over 128,256 words


def test_what_the_inverse_gives_back_fits_and_one_step_more_does_not() -> None:
    options: dict[str, Any] = {"method": "qlora", "gpu": "rtx-4090", "checkpointing": True}
    fit = train(context="1k", fit=True, **options).fit
    assert fit.limited_by == "memory"
    at = train(context=[fit.max_context_tokens, fit.max_context_tokens + 1], **options).estimates
    assert [found.fits for found in at] == [True, False]
    most = train(context="1k", train_batch=[fit.max_sequences, fit.max_sequences + 1], **options).estimates
    assert [found.fits for found in most] == [True, False]


def test_memory_never_falls_with_tokens_or_batch() -> None:
    for method in ("full", "lora", "qlora"):
        for checkpointing in (False, True):
            found = train(
                "qwen3-0.6b", method, context=["128", "512", "2k", "8k"], checkpointing=checkpointing
            ).estimates  # fmt: skip
            for precision in {each.precision for each in found}:
                peaks = [each.peak_bytes for each in found if each.precision == precision]
                assert peaks == sorted(peaks)


@pytest.mark.parametrize("model", ["bert-base-uncased", "t5-base", "gpt2", "mixtral-8x7b-v0.1", "bge-base-en-v1.5"])
def test_models_of_text_are_sized(model: str) -> None:
    for method in ("full", "lora", "qlora"):
        assert train(model, method, context="256").estimates[0].training.method == method


def test_a_model_without_a_head_says_what_is_left_out() -> None:
    assert any("no output head" in text for text in train("bge-base-en-v1.5", context="256").estimates[0].warnings)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "loraa"}, "unknown way to train 'loraa'; nearest: lora"),
        ({"method": "lora", "optimizer": "adam"}, "unknown optimizer 'adam'; nearest: adamw"),
        ({"method": "lora", "lora_targets": "q_porj"}, "unknown linear layer 'q_porj'; nearest: q_proj"),
        ({"method": "lora", "lora_rank": 0}, "can't take 0"),
        ({"method": "lora", "lora_rank": "8"}, "can't take '8'"),
        ({"method": "full", "lora_rank": 8}, "has no adapters"),
        ({"method": "lora", "precision": "int4"}, "sized at fp16, mixed, fp32, not at int4"),
        ({"method": "lora", "sequences": 2}, "--sequences is not for training"),
        ({"method": "lora", "offload": True}, "--offload is not for training"),
        ({"method": "lora", "pipeline_parallel": 4}, "--pipeline-parallel is not for training"),
        ({"method": "full", "train_batch": 0}, "can't take 0"),
        ({"method": None, "lora_rank": 8}, "--lora-rank is about fine-tuning"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        train(**options)


@pytest.mark.parametrize("model", ["mamba-130m-hf", "deepseek-v3", "llava-1.5-7b-hf", "whisper-tiny"])
def test_what_is_not_known_is_not_guessed(model: str) -> None:
    with pytest.raises(ArchitectureUnknownError):
        train(model)


def test_checkpointing_is_named_with_the_length_that_it_fits() -> None:
    short = train(method="lora", gpu="rtx-4090", precision="fp16").verdict
    assert short.endswith("; --checkpointing fits at FP16 up to 4,378 tokens.")
    at_most, more = train(
        method="lora", gpu="rtx-4090", precision="fp16", checkpointing=True, context=[4378, 4379]
    ).estimates  # fmt: skip
    assert at_most.fits
    assert not more.fits
    assert "--checkpointing" not in train(method="full", gpu="rtx-4090").verdict  # it is not enough


def test_what_is_not_sized_of_several_devices_is_in_the_verdict() -> None:
    several = "; one of 8 devices is sized, sharding over them (FSDP, ZeRO) is not."
    assert train(gpu="h100-sxm5-80gb:8").verdict.endswith(several)
    assert "FSDP" not in train(gpu="h100-sxm5-80gb").verdict
    assert "FSDP" not in train(method="lora", gpu="h100-sxm5-80gb:8").verdict
