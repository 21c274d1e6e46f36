"""Ranges, what a figure rests on, and why a speed is missing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import msgspec
import pytest

from fmkit.catalog.load import Catalog
from fmkit.machine import Machine, catalog_machine
from fmkit.model.spec import ModelSpec
from fmkit.sizing.estimate import MemoryEstimate
from fmkit.speed.estimate import Range, SpeedEstimate
from fmkit.speed.roofline import estimate, missing_reason

SpeedOf = Callable[..., SpeedEstimate]
MemoryOf = Callable[..., MemoryEstimate]
SpecOf = Callable[[str], ModelSpec]
MODELS = (
    "qwen2.5-0.5b", "qwen3-30b-a3b", "deepseek-v3", "bge-m3", "clip-vit-base-patch16", "whisper-small", "flan-t5-base",
    "blip2-flan-t5-xl", "gemma-3-4b-it", "mamba-130m-hf",
)  # fmt: skip


def ranges(found: SpeedEstimate) -> Iterator[Range]:
    for name in found.__struct_fields__:
        value = getattr(found, name)
        if isinstance(value, Range):
            yield value


CASES = (
    ("a100-sxm4-80gb", "fp32"), ("a100-sxm4-80gb", "fp16"), ("a100-sxm4-80gb", "int8"), ("a100-sxm4-80gb", "int4"),
    ("rtx-4090", "fp16"), ("two-cores", "fp32"),
)  # fmt: skip


@pytest.mark.parametrize(("device", "precision"), CASES)
def test_low_is_below_median_is_below_high(device: str, precision: str, speed_of: SpeedOf) -> None:
    for model in MODELS:
        found = list(ranges(speed_of(model, device, precision)))
        assert len(found) >= 2
        assert all(0 < one.low <= one.median <= one.high for one in found)


def speed_on(
    machine: Machine | None, model: str, catalog: Catalog, spec_of: SpecOf, memory: MemoryEstimate
) -> SpeedEstimate | None:
    layout = catalog.layouts[catalog.engines[memory.engine].layouts[memory.precision]]
    return estimate(spec_of(model), memory, layout, machine, catalog.speed)


def test_no_speed_without_a_bandwidth(catalog: Catalog, spec_of: SpecOf, memory_of: MemoryOf) -> None:
    memory = memory_of("qwen2.5-0.5b")
    blind = catalog_machine(msgspec.structs.replace(catalog.devices["rtx-4090"], bandwidth_bytes_per_s=None), 1)
    assert speed_on(blind, "qwen2.5-0.5b", catalog, spec_of, memory) is None
    assert missing_reason(memory, blind) == "the memory bandwidth of NVIDIA GeForce RTX 4090 is unknown"
    assert speed_on(None, "qwen2.5-0.5b", catalog, spec_of, memory) is None
    assert "no device is named" in missing_reason(memory, None)


def test_float16_on_a_cpu_says_why_it_has_no_speed(
    catalog: Catalog, spec_of: SpecOf, memory_of: MemoryOf, machine_of: Callable[[str], Machine]
) -> None:
    memory = msgspec.structs.replace(memory_of("qwen2.5-0.5b", "two-cores"), cache_dtype="float16")
    machine = machine_of("two-cores")
    assert speed_on(machine, "qwen2.5-0.5b", catalog, spec_of, memory) is None
    assert missing_reason(memory, machine).startswith("PyTorch converts float16 on this CPU; not measured")


def test_an_engine_that_nobody_ran_on_a_cpu_says_so(
    catalog: Catalog, spec_of: SpecOf, memory_of: MemoryOf, machine_of: Callable[[str], Machine]
) -> None:
    memory, machine = memory_of("qwen2.5-0.5b", engine="vllm"), machine_of("two-cores")
    assert speed_on(machine, "qwen2.5-0.5b", catalog, spec_of, memory) is None
    assert missing_reason(memory, machine) == "nobody measured vllm at FP16 on a CPU for us"


def test_a_precision_without_units_of_its_own_is_said(speed_of: SpeedOf) -> None:
    assert "has no float8 matrix units" in speed_of("qwen2.5-7b", "a100-sxm4-80gb", "fp8", engine="vllm").reason
    assert "float8" not in speed_of("qwen2.5-7b", "h100-sxm5-80gb", "fp8", engine="vllm").reason


def test_no_matrix_rate_leaves_reading_unknown(catalog: Catalog, spec_of: SpecOf, memory_of: MemoryOf) -> None:
    unknown = catalog_machine(msgspec.structs.replace(catalog.devices["a100-sxm4-80gb"], flops_per_s={}), 1)
    found = speed_on(unknown, "gemma-3-4b-it", catalog, spec_of, memory_of("gemma-3-4b-it"))
    assert found is not None
    assert (found.ttft_s, found.prefill_tokens_per_s, found.images_per_s) == (None, None, None)
    assert found.decode_tokens_per_s is not None


def test_the_basis_says_what_was_measured(speed_of: SpeedOf) -> None:
    """llama.cpp was measured on an RTX 3090, on cards like an RTX 3080, and in no published table on a Gaudi."""
    basis = [
        speed_of("llama-3-8b", device, engine="llama.cpp").basis for device in ("rtx-3090", "rtx-3080-10gb", "gaudi-3")
    ]
    assert basis[:2] == ["measured-device", "class"]
    assert speed_of("qwen2.5-7b", "l4", "int4", engine="vllm").basis == "extrapolated"


def test_the_range_widens_with_the_basis(speed_of: SpeedOf) -> None:
    def width(found: SpeedEstimate) -> float:
        assert found.decode_tokens_per_s is not None
        return found.decode_tokens_per_s.high / found.decode_tokens_per_s.low

    known, borrowed = (
        speed_of("qwen2.5-7b", "a100-sxm4-80gb", engine="transformers"),
        speed_of("qwen2.5-7b", "rtx-4090"),
    )
    assert (known.basis, borrowed.basis) == ("measured-device", "extrapolated")
    assert width(known) < width(borrowed)


def test_the_reason_names_launching_and_the_fit(speed_of: SpeedOf) -> None:
    reason = speed_of("qwen2.5-7b").reason
    assert "ms to launch 28 layers" in reason
    assert "measurements of transformers on this device with 16-bit weights (fit of 20" in reason


def test_a_prediction_takes_less_than_a_millisecond(
    catalog: Catalog, spec_of: SpecOf, memory_of: MemoryOf, machine_of: Callable[[str], Machine]
) -> None:
    memory, machine = memory_of("qwen2.5-7b"), machine_of("a100-sxm4-80gb")
    speed_on(machine, "qwen2.5-7b", catalog, spec_of, memory)  # the fit is decoded once
    taken = []
    for _ in range(20):
        started = time.perf_counter()
        speed_on(machine, "qwen2.5-7b", catalog, spec_of, memory)
        taken.append(time.perf_counter() - started)
    assert min(taken) < 0.001
