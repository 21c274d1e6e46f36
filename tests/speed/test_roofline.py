"""Ranges, what is borrowed, and why a speed is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import pytest

from fmkit.catalog.load import Catalog
from fmkit.machine import Machine, catalog_machine
from fmkit.model.spec import ModelSpec
from fmkit.sizing.estimate import MemoryEstimate
from fmkit.speed.estimate import Range, SpeedEstimate
from fmkit.speed.roofline import BORROWED_FACTOR, estimate, missing_reason

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
    return estimate(spec_of(model), memory, layout, machine, catalog.engines[memory.engine].speed)


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
    assert missing_reason(memory, machine) == "PyTorch converts float16 on this CPU; not measured"


def test_an_engine_without_rows_for_a_cpu_says_so(
    catalog: Catalog, spec_of: SpecOf, memory_of: MemoryOf, machine_of: Callable[[str], Machine]
) -> None:
    memory, machine = memory_of("qwen2.5-0.5b", engine="vllm"), machine_of("two-cores")
    assert speed_on(machine, "qwen2.5-0.5b", catalog, spec_of, memory) is None
    assert missing_reason(memory, machine) == "nobody measured vllm at FP16 on a CPU for us"


def test_no_matrix_rate_leaves_reading_unknown(catalog: Catalog, spec_of: SpecOf, memory_of: MemoryOf) -> None:
    unknown = catalog_machine(msgspec.structs.replace(catalog.devices["a100-sxm4-80gb"], flops_per_s={}), 1)
    found = speed_on(unknown, "gemma-3-4b-it", catalog, spec_of, memory_of("gemma-3-4b-it"))
    assert found is not None
    assert (found.ttft_s, found.prefill_tokens_per_s, found.images_per_s) == (None, None, None)
    assert found.decode_tokens_per_s is not None


@pytest.mark.parametrize("model", ["qwen2.5-7b", "qwen3-30b-a3b"])
def test_a_borrowed_row_widens_both_sides(model: str, speed_of: SpeedOf) -> None:
    own, borrowed = speed_of(model).decode_tokens_per_s, speed_of(model, "rtx-4090").decode_tokens_per_s
    assert own is not None
    assert borrowed is not None
    assert (speed_of(model).basis, speed_of(model, "rtx-4090").basis) == ("class", "extrapolated")
    assert borrowed.high / borrowed.median == pytest.approx(own.high / own.median * BORROWED_FACTOR)
    assert borrowed.low / borrowed.median == pytest.approx(own.low / own.median / BORROWED_FACTOR)


def test_rows_for_dense_models_are_not_for_mixtures(speed_of: SpeedOf) -> None:
    assert "1 measurements" in speed_of("qwen3-30b-a3b").reason
    assert "Qwen3-MoE shapes" in speed_of("qwen3-30b-a3b", "two-cores", "fp16").reason
    assert "Qwen3-MoE" not in speed_of("qwen2.5-7b", "two-cores", "fp16").reason


def test_the_reason_names_launching_in_proportion_to_layers(speed_of: SpeedOf) -> None:
    assert "24.5 ms to launch 28 layers" in speed_of("qwen2.5-7b").reason
    assert "the longer of 55%" in speed_of("qwen2.5-7b").reason
    assert (
        "60% of two cores's bandwidth plus 12.2 ms to launch 28 layers"
        in speed_of("qwen2.5-7b", "two-cores", "fp16").reason
    )
