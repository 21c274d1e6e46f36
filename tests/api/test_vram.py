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
    assert "openai/models/gpt-4o.toml" in result.api.source


def test_a_price_without_a_source_borrows_none() -> None:
    api = vram("claude-3-5-haiku").api
    assert api is not None
    assert api.source == "unknown"


@pytest.mark.parametrize(
    ("one", "several"),
    [
        ({"precision": "int4"}, {"precision": ["int4"]}), ({"precision": "4bit"}, {"precision": ("4bit",)}),
        ({"context": "32k"}, {"context": [32768]}), ({"context": 32768}, {"context": ["32k"]}),
        ({"sequences": 4}, {"sequences": [4]}),
        ({"engine": "vllm", "engine_option": "block_size=32"}, {"engine": "vllm", "engine_option": ["block_size=32"]}),
    ],
)  # fmt: skip
def test_one_value_needs_no_list(one: dict[str, Any], several: dict[str, Any]) -> None:
    assert vram("llama-3.1-8b", gpu="rtx-4090", **one) == vram("llama-3.1-8b", gpu="rtx-4090", **several)


@pytest.mark.parametrize("model", ["falcon-7b", "mixtral-8x7b-v0.1"])
def test_a_layout_that_leaves_most_alone_says_so(model: str) -> None:
    said = [warning for warning in vram(model, gpu="rtx-4090").warnings if "of the weights in" in warning]
    assert [warning.split(":")[0] for warning in said] == ["INT8", "INT4"]
    assert all(float(warning.split("leaves ")[1].split("%")[0]) > 90 for warning in said)


@pytest.mark.parametrize("model", ["llama-3.1-8b", "gpt2", "bert-base-uncased"])
def test_a_layout_that_works_says_nothing(model: str) -> None:
    assert not any("of the weights in" in warning for warning in vram(model, gpu="rtx-4090").warnings)


@pytest.mark.parametrize("engine", ["transformers", "vllm", "llama.cpp"])
def test_a_type_of_the_cache_is_refused_by_the_option_that_named_it(engine: str) -> None:
    with pytest.raises(UsageError, match="nonsense") as caught:
        vram("llama-3.1-8b", gpu="rtx-4090", engine=engine, kv_dtype="nonsense")
    assert caught.value.where == "--kv-dtype"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("llama-3.1-8b", "no encoder"),
        ("bert-base-uncased", "no encoder beside"),
        ("whisper-tiny", "always makes 1,500"),
    ],
)
@pytest.mark.parametrize("train", [None, "full"])
def test_a_length_of_an_encoder_that_is_not_there_is_refused(model: str, said: str, train: str | None) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        vram(model, gpu="rtx-4090", encoder_tokens=100, train=train)
    assert caught.value.where == "--encoder-tokens"


def test_a_length_of_an_encoder_counts_where_there_is_one() -> None:
    short, long = (
        vram("t5-small", gpu="rtx-4090", context=64, encoder_tokens=count).estimates[0] for count in (64, 512)
    )
    assert (short.encoder_tokens, long.encoder_tokens) == (64, 512)
    assert short.cache_bytes < long.cache_bytes


def test_no_trial_is_proposed_of_what_is_impossible() -> None:
    result = vram("gpt2", context="32k", gpu="rtx-4090")
    assert not any(estimate.valid for estimate in result.estimates)
    assert not any("fmkit try" in command for command in result.next)


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
        {"engine": "transformers", "engine_option": ["a=b"]}, {"engine": "transformers", "kv_dtype": "q8_0"},
        {"engine": "llama.cpp", "kv_dtype": "fp8"}, {"engine": "sglang"}, {"precision": ["int3"]}, {"context": ["1.5"]},
        {"context": [0]}, {"sequences": [0]}, {"attention": "fast"}, {"gpu": "rtx-4090", "memory": "24GiB"},
        {"free": True, "gpu": "rtx-4090"}, {"memory": "24"}, {"memory": "-1GiB"},
        {"images": -5}, {"images": "x"}, {"gpu": 5}, {"memory": 24}, {"sequences": ["x"]}, {"sequences": 1.5}, {"sequences": [True]},
        {"precision": 4}, {"precision": {"int4": 1}}, {"context": [None]}, {"context": 1.5}, {"engine": None}, {"attention": None},
        {"tensor_parallel": 0}, {"tensor_parallel": "2"}, {"engine": "vllm", "engine_option": [5]},
        {"engine": "vllm", "kv_dtype": 5}, {"encoder_tokens": -1},
    ],
)  # fmt: skip
def test_silly_questions_are_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        vram("llama-3.1-8b", **asked)


@pytest.mark.parametrize("model", [None, 5, "", "  "])
def test_a_model_must_be_named(model: Any) -> None:
    with pytest.raises(UsageError):
        vram(model)


def test_an_unknown_model_is_refused_with_the_nearest() -> None:
    with pytest.raises(FmkitError, match=r"llama-3\.1-8b"):
        vram("lama-3.1-8b")


def test_a_model_without_experts_says_that_n_cpu_moe_keeps_nothing() -> None:
    asked = {"engine": "llama.cpp", "gpu": "rtx-4090", "context": "4k", "precision": "int4"}
    plain = vram("llama-3.1-8b", **asked)  # type: ignore[arg-type]
    found = vram("llama-3.1-8b", **asked, engine_option="n_cpu_moe=4")  # type: ignore[arg-type]
    assert found.estimates[0].peak_bytes == plain.estimates[0].peak_bytes
    assert "n_cpu_moe keeps nothing" in " ".join(found.estimates[0].warnings)
