"""The estimate: its lines sum to its totals, it grows with what it holds, and it says when a limit is passed."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmkit.catalog.load import load_catalog
from fmkit.machine import catalog_machine, memory_machine
from fmkit.sizing.estimate import MemoryEstimate, Workload
from fmkit.sizing.memory import estimate
from fmkit.units import GIB

MODELS = (
    "gpt2", "llama-3.1-8b", "mistral-7b-v0.1", "mixtral-8x7b-v0.1", "gemma-2-9b", "gemma-3-27b-it", "deepseek-v3", "falcon-7b",
    "bert-base-uncased", "deberta-v3-base", "t5-base", "flan-t5-base", "bart-large-cnn", "whisper-large-v3", "mamba-2.8b-hf",
    "clip-vit-large-patch14", "llava-1.5-7b-hf", "blip2-opt-2.7b", "blip2-flan-t5-xl", "all-minilm-l6-v2",
)  # fmt: skip
PRECISIONS = ("fp32", "fp16", "int8", "int4")


def sized(model: str, precision: str, *, context_tokens: int, sequences: int = 1) -> MemoryEstimate:
    catalog = load_catalog()
    spec = catalog.model(model).spec
    assert spec is not None
    engine = catalog.engines["transformers"]
    layout = catalog.layouts[engine.layouts[precision]]
    return estimate(
        spec,
        engine,
        layout,
        precision,
        Workload(context_tokens=context_tokens, sequences=sequences),
        memory_machine(24 * GIB),
    )


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("model", MODELS)
def test_lines_sum_to_totals(model: str, precision: str) -> None:
    found = sized(model, precision, context_tokens=448, sequences=3)
    assert sum(line.bytes for line in found.lines) == found.peak_bytes
    assert sum(line.bytes for line in found.lines if line.phase == "steady") == found.steady_bytes
    assert sum(line.bytes for line in found.lines if line.part.startswith("weights")) == found.weights_bytes
    steady_cache = [line for line in found.lines if line.part.startswith("cache") and line.phase == "steady"]
    assert sum(line.bytes for line in steady_cache) == found.cache_bytes
    assert found.peak_bytes >= found.steady_bytes >= found.weights_bytes + found.cache_bytes
    assert found.low_bytes <= found.peak_bytes <= found.high_bytes
    assert all(line.bytes > 0 and line.reason and line.source and line.formula for line in found.lines)


@settings(max_examples=60, deadline=None)
@given(
    model=st.sampled_from(MODELS), tokens=st.integers(1, 300_000), more=st.integers(0, 50_000), count=st.integers(1, 64)
)
def test_memory_never_falls_with_context_or_sequences(model: str, tokens: int, more: int, count: int) -> None:
    found = sized(model, "fp16", context_tokens=tokens, sequences=count)
    longer = sized(model, "fp16", context_tokens=tokens + more, sequences=count)
    another = sized(model, "fp16", context_tokens=tokens, sequences=count + 1)
    for grown in (longer, another):
        assert grown.weights_bytes == found.weights_bytes
        assert grown.cache_bytes >= found.cache_bytes
        assert grown.peak_bytes >= found.peak_bytes


@pytest.mark.parametrize("model", MODELS)
def test_more_bits_never_take_less(model: str) -> None:
    weights = [
        sized(model, precision, context_tokens=64).weights_bytes for precision in ("int4", "int8", "fp16", "fp32")
    ]
    assert weights == sorted(weights)


def test_a_window_never_costs_more_than_full_attention() -> None:
    windowed = sized("mistral-7b-v0.1", "fp16", context_tokens=32768)
    assert windowed.cache_bytes == GIB // 2
    assert sized("mistral-7b-instruct-v0.2", "fp16", context_tokens=32768).cache_bytes == 4 * GIB


@pytest.mark.parametrize(
    ("model", "context", "gib"),
    [
        # reference figures: first principles, checked against filled caches (W tokens on a sliding layer)
        ("llama-3.1-8b", 131072, 16.0), ("llama-3.1-70b", 131072, 40.0), ("qwen2.5-14b", 131072, 24.0), ("mixtral-8x7b-v0.1", 32768, 4.0),
        ("gemma-2-9b", 32768, 5.906), ("gemma-3-27b-it", 131072, 10.406), ("deepseek-v3", 131072, 8.578), ("mamba-2.8b-hf", 131072, 0.022),
        ("whisper-large-v3", 448, 0.297), ("t5-large", 4096, 0.75), ("bert-large-uncased", 512, 0.0), ("llava-1.5-7b-hf", 4096, 2.0),
        ("gpt-oss-20b", 131072, 3.003),
    ],
)  # fmt: skip
def test_cache_is_the_reference_figure(model: str, context: int, gib: float) -> None:
    assert sized(model, "fp16", context_tokens=context).cache_bytes / GIB == pytest.approx(gib, abs=6e-4)


def test_past_a_hard_limit_an_estimate_is_not_valid() -> None:
    beyond = sized("bert-base-uncased", "fp16", context_tokens=513)
    assert not beyond.valid
    assert "limit is 512" in beyond.warnings[0]
    assert sized("bert-base-uncased", "fp16", context_tokens=512).valid


def test_past_a_soft_limit_an_estimate_warns() -> None:
    beyond = sized("llama-2-7b-hf", "fp16", context_tokens=8192)
    assert beyond.valid
    assert beyond.warnings


def test_fits_means_peak_within_the_budget_of_each_device() -> None:
    catalog = load_catalog()
    spec = catalog.model("llama-3.1-70b").spec
    assert spec is not None
    engine = catalog.engines["transformers"]
    layout = catalog.layouts[engine.layouts["fp16"]]
    one = catalog_machine(catalog.devices["h100-sxm5-80gb"], 1)
    four = msgspec.structs.replace(one, count=4)
    workload = Workload(context_tokens=4096)
    alone = estimate(spec, engine, layout, "fp16", workload, one)
    assert alone.fits is False
    spread = estimate(spec, engine, layout, "fp16", workload, four)
    assert spread.fits is True
    assert spread.per_device_bytes * 4 >= spread.weights_bytes + spread.cache_bytes
    assert spread.per_device_bytes <= four.usable_bytes
