"""`fmkit.vram`: the verdict, the inverse, the engines' options, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from fmkit.api.vram import vram
from fmkit.errors import FmkitError, UsageError
from fmkit.units import GIB


@pytest.mark.parametrize("engine", ["transformers", "vllm", "llama.cpp"])
@pytest.mark.parametrize("model", ["llama-3.1-8b", "gemma-2-9b", "mistral-7b-v0.1", "qwen2.5-14b"])
def test_what_the_inverse_gives_back_fits_and_one_more_does_not(model: str, engine: str) -> None:
    asked: dict[str, Any] = {"gpu": "rtx-4090", "engine": engine, "precision": ["int4"]}
    answer = vram(model, context=[4096], fit=True, **asked).fit
    assert answer is not None
    assert answer.max_context_tokens is not None
    assert answer.max_sequences is not None
    longest, most = answer.max_context_tokens, answer.max_sequences
    assert vram(model, context=[longest], **asked).estimates[0].fits
    assert vram(model, context=[4096], sequences=[most], **asked).estimates[0].fits
    assert not vram(model, context=[4096], sequences=[most + 1], **asked).estimates[0].fits
    if answer.limited_by == "memory":
        assert not vram(model, context=[longest + 1], **asked).estimates[0].fits


def test_the_verdict_says_what_fits_and_how_far() -> None:
    verdict = vram("llama-3.1-8b", gpu="rtx-4090").verdict
    assert verdict.startswith("llama-3.1-8b fits NVIDIA GeForce RTX 4090 at FP16 up to ")


def test_the_verdict_says_what_is_missing_and_what_would_hold_it() -> None:
    result = vram("llama-3.1-70b", gpu="rtx-4090")
    assert "does not fit" in result.verdict
    assert "GiB are missing" in result.verdict
    assert "smallest device that holds it" in result.verdict


def test_an_api_model_has_price_and_context_but_no_size() -> None:
    result = vram("gpt-4o")
    assert result.estimates == ()
    assert result.api is not None
    assert "no weights to size" in result.verdict


def test_a_window_costs_what_each_engine_makes_of_it() -> None:
    cache = {
        engine: vram("mistral-7b-v0.1", engine=engine, precision=["fp16"], context=[32768], memory="80GiB").estimates[0].cache_bytes
        for engine in ("transformers", "vllm", "llama.cpp")
    }  # fmt: skip
    assert cache["transformers"] == GIB // 2
    assert cache["vllm"] / GIB == pytest.approx(1.5, abs=0.01)
    assert cache["llama.cpp"] == 4 * GIB


def test_tensor_parallel_divides_and_sums() -> None:
    alone = vram("llama-3.1-70b", engine="vllm", precision=["fp16"], context=[4096], gpu="h200-sxm-141gb:4").estimates[
        0
    ]
    four = vram(
        "llama-3.1-70b", engine="vllm", precision=["fp16"], context=[4096], gpu="h200-sxm-141gb:4", tensor_parallel=4
    ).estimates[0]
    assert four.tensor_parallel == 4
    assert sum(line.bytes for line in four.lines) == four.peak_bytes
    assert four.per_device_bytes * 4 == four.peak_bytes
    assert four.weights_bytes == pytest.approx(alone.weights_bytes, rel=0.005)
    assert four.fits


@pytest.mark.parametrize(
    "asked",
    [
        {"engine": "vllm", "tensor_parallel": 3}, {"engine": "transformers", "tensor_parallel": 2},
        {"engine": "vllm", "engine_option": ["nonsense"]}, {"engine": "vllm", "engine_option": ["blok_size=16"]},
        {"engine": "transformers", "engine_option": ["a=b"]}, {"engine": "transformers", "kv_dtype": "fp8"},
        {"engine": "llama.cpp", "kv_dtype": "fp8"}, {"engine": "sglang"}, {"precision": ["int3"]}, {"context": ["1.5"]},
        {"context": [0]}, {"sequences": [0]}, {"attention": "fast"}, {"gpu": "rtx-4090", "memory": "24GiB"},
        {"free": True, "gpu": "rtx-4090"}, {"memory": "24"}, {"memory": "-1GiB"},
    ],
)  # fmt: skip
def test_silly_questions_are_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        vram("llama-3.1-8b", **asked)


def test_an_unknown_model_is_refused_with_the_nearest() -> None:
    with pytest.raises(FmkitError, match=r"llama-3\.1-8b"):
        vram("lama-3.1-8b")
