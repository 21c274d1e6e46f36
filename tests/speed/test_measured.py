"""The ranges against published measurements, one of each engine and precision that was measured."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fmkit.catalog.measurements import shipped_measurements
from fmkit.speed.estimate import SpeedEstimate

SpeedOf = Callable[..., SpeedEstimate]

DECODED = (
    # model, device, precision, engine, tokens/s: QwenLM speed benchmark at input 1, premAI-io/benchmarks (bitsandbytes), XiongjieDai/GPU-Benchmarks
    ("qwen2.5-0.5b", "a100-sxm4-80gb", "fp16", "transformers", 47.4),
    ("qwen2.5-1.5b", "a100-sxm4-80gb", "fp16", "transformers", 39.7),
    ("qwen2.5-7b", "a100-sxm4-80gb", "fp16", "transformers", 40.4),
    ("qwen2.5-32b", "a100-sxm4-80gb", "fp16", "transformers", 17.5),
    ("llama-2-7b-chat", "a100-sxm4-80gb", "int8", "transformers", 6.91),
    ("llama-2-7b-chat", "a100-sxm4-80gb", "int4", "transformers", 17.83),
    ("mistral-7b-instruct-v0.1", "a100-sxm4-80gb", "int4", "transformers", 19.58),
    ("qwen2.5-7b", "a100-sxm4-80gb", "fp16", "vllm", 84.3),
    ("llama-3-8b", "a100-sxm4-80gb", "fp16", "llama.cpp", 53.5),
    ("llama-3-8b", "rtx-4090", "fp16", "llama.cpp", 54.8),
    ("llama-3-8b", "rtx-4090", "q4_k_m", "llama.cpp", 130.6),
)

ON_TWO_CORES = (
    # model, precision, seconds to the first token after 128 tokens, tokens/s: torch 2.13 on 2 cores of an EPYC
    ("smollm2-135m-instruct", "fp16", 0.065, 1000 / 20.2),
    ("smollm2-360m-instruct", "fp16", 0.152, 1000 / 39.5),
    ("qwen2.5-0.5b", "fp16", 0.153, 1000 / 44.6),
    ("qwen3-0.6b", "fp16", 0.216, 1000 / 60.0),
    ("smollm2-135m-instruct", "fp32", 0.182, 1000 / 38.5),
    ("qwen2.5-0.5b", "fp32", 0.579, 1000 / 115.2),
)


def test_most_measured_speeds_lie_in_their_range(speed_of: SpeedOf) -> None:
    """Ranges hold 80 % of the measurements; of these eleven at least nine."""
    inside = 0
    for model, device, precision, engine, tokens_per_s in DECODED:
        decode = speed_of(model, device, precision, 512, engine).decode_tokens_per_s
        assert decode is not None
        inside += decode.low <= tokens_per_s <= decode.high
    assert inside >= 9


OLD_RELEASE = ("qwen2.5-7b", "a100-sxm4-80gb", "fp16", "vllm", 84.3)
"""By vLLM 0.6.3, whose engine (V0) is another program than the V1 that estimates are for: no median is held to it."""


@pytest.mark.parametrize(
    ("model", "device", "precision", "engine", "tokens_per_s"), [one for one in DECODED if one != OLD_RELEASE]
)
def test_a_known_card_and_engine_is_within_a_fifth(
    model: str, device: str, precision: str, engine: str, tokens_per_s: float, speed_of: SpeedOf
) -> None:
    decode = speed_of(model, device, precision, 512, engine).decode_tokens_per_s
    assert decode is not None
    assert decode.median == pytest.approx(tokens_per_s, rel=0.2)


@pytest.mark.parametrize(
    ("sequences", "tokens_per_s"),
    [(8, 1000 / 7.316), (64, 1000 / 11.5)],
)
def test_todays_vllm_serves_as_measured(sequences: int, tokens_per_s: float, speed_of: SpeedOf) -> None:
    """Llama 3.1 8B on an H100 by vLLM 0.11.1 (ml-energy/leaderboard)."""
    decode = speed_of("llama-3.1-8b", "h100-sxm5-80gb", "fp16", 512, "vllm", sequences=sequences).decode_tokens_per_s
    assert decode is not None
    assert decode.median == pytest.approx(tokens_per_s, rel=0.2)


def test_todays_vllm_is_no_slower_than_an_old_one(speed_of: SpeedOf) -> None:
    """vLLM 0.6.3 decoded Qwen2.5 7B with AWQ weights at 154 tokens/s on an A100 (QwenLM's speed benchmark)."""
    decode = speed_of("qwen2.5-7b", "a100-sxm4-80gb", "int4", 512, "vllm").decode_tokens_per_s
    assert decode is not None
    assert decode.low <= 154.0 <= decode.median


@pytest.mark.parametrize(("model", "precision", "ttft_s", "tokens_per_s"), ON_TWO_CORES)
def test_a_cpu_reads_and_decodes_as_measured(
    model: str, precision: str, ttft_s: float, tokens_per_s: float, speed_of: SpeedOf
) -> None:
    found = speed_of(model, "two-cores", precision, 128)
    assert found.decode_tokens_per_s is not None
    assert found.ttft_s is not None
    assert found.decode_tokens_per_s.median == pytest.approx(tokens_per_s, rel=0.25)
    assert found.ttft_s.low <= ttft_s <= found.ttft_s.high


def test_a_mixture_is_faster_than_a_dense_model_of_its_size(speed_of: SpeedOf) -> None:
    mixture = speed_of("qwen3-30b-a3b", engine="vllm").decode_tokens_per_s
    dense = speed_of("qwen2.5-32b", engine="vllm").decode_tokens_per_s
    assert mixture is not None
    assert dense is not None
    assert mixture.median > dense.median


RECORDING_S = 780
"""13 minutes of sound written by a beam of five: SYSTRAN/faster-whisper's table, whisper-large-v2 on an RTX 3070 Ti."""


def test_whisper_works_through_sound_as_fast_as_four_programs(speed_of: SpeedOf) -> None:
    """Real-time factors of transformers, openai/whisper, whisper.cpp and faster-whisper (alone, and eight windows at once) in 16 bit.

    Only the first is predicted; the others compute the same passes, and four of the five lie in its range of 80 %. Errors: -28, -44, +24,
    +28 and -16 %. The two rows of int8 are of CTranslate2's kernels, four to seven times as fast as is said of LLM.int8.
    """
    rows = [row for row in shipped_measurements().latency if row.measures == "asr" and row.quant == "fp16"]
    assert len(rows) == 5
    errors, inside = [], 0
    for row in rows:
        assert row.e2e_latency_s is not None
        found = speed_of("whisper-large-v2", row.accelerator_id, sequences=int(row.batch or 1))
        assert found.basis == "extrapolated"
        assert found.real_time_factor is not None
        measured = row.e2e_latency_s / RECORDING_S
        inside += found.real_time_factor.low < measured < found.real_time_factor.high
        errors.append(abs(found.real_time_factor.median / measured - 1))
    assert inside >= 4
    assert sorted(errors)[2] < 0.3
    assert max(errors) < 0.5


@pytest.mark.parametrize(("sequences", "joules"), [(8, 455), (16, 263), (64, 119)])
def test_metered_energy_lies_in_its_range(sequences: int, joules: float, speed_of: SpeedOf) -> None:
    """Llama-3.1-8B in bfloat16, vLLM 0.11.1 on an H100: 486, 513 and 610 W at 1,070, 1,954 and 5,147 tokens/s (ml-energy/leaderboard)."""
    found = speed_of("llama-3.1-8b", "h100-sxm5-80gb", engine="vllm", sequences=sequences).energy_j_per_1k_tokens
    assert found is not None
    assert found.low <= joules <= found.high


def test_the_energy_of_a_computer_is_not_that_of_its_processor(speed_of: SpeedOf) -> None:
    assert speed_of("llama-3.1-8b", "two-cores").energy_j_per_1k_tokens is None
