"""Bounds that hold whatever was measured, and releases and off-loaded experts that have rules of their own."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from fmkit.catalog.load import Catalog
from fmkit.machine import catalog_machine
from fmkit.model.spec import ModelSpec
from fmkit.sizing.estimate import Workload
from fmkit.sizing.memory import estimate as estimate_memory
from fmkit.speed.estimate import SpeedEstimate
from fmkit.speed.kernels import matrix_rate
from fmkit.speed.scopes import scopes
from fmkit.speed.setting import LAUNCH_OVERLAPS, Setting
from fmkit.speed.timing import timing_on

SpeedOf = Callable[..., SpeedEstimate]
H100_OPERATIONS_PER_S = {"fp16": 989e12, "fp8": 1979e12}
LLAMA_8B_OPERATIONS_PER_TOKEN = 15e9
"""Two operations for each weight of Llama 3.1 8B but the embedding and the head."""
H100_BYTES_PER_S = 3.35e12


@pytest.mark.parametrize("context", [512, 4096])
def test_float8_on_hopper_is_no_slower_than_16_bit_and_no_more_than_twice_as_fast(
    context: int, speed_of: SpeedOf
) -> None:
    wide, narrow = (
        speed_of("llama-3.1-8b", "h100-sxm5-80gb", precision, context, "vllm") for precision in ("fp16", "fp8")
    )
    assert wide.decode_tokens_per_s is not None
    assert narrow.decode_tokens_per_s is not None
    assert wide.ttft_s is not None
    assert narrow.ttft_s is not None
    assert 1 <= narrow.decode_tokens_per_s.median / wide.decode_tokens_per_s.median <= 2
    assert 1 <= wide.ttft_s.median / narrow.ttft_s.median <= 2.01


@pytest.mark.parametrize("precision", ["fp16", "fp8"])
def test_no_end_of_a_range_is_above_the_nominal_rates(precision: str, speed_of: SpeedOf) -> None:
    found = speed_of("llama-3.1-8b", "h100-sxm5-80gb", precision, 4096, "vllm")
    assert found.prefill_tokens_per_s is not None
    assert found.decode_tokens_per_s is not None
    most = H100_OPERATIONS_PER_S[precision] / LLAMA_8B_OPERATIONS_PER_TOKEN
    assert found.prefill_tokens_per_s.high < 0.96 * most
    weights = {"fp16": 15.0e9, "fp8": 8.0e9}[precision]
    assert found.decode_tokens_per_s.high < H100_BYTES_PER_S / weights


def test_mxfp4_is_multiplied_in_16_bit(catalog: Catalog) -> None:
    """vLLM unpacks it to bfloat16 on Hopper: 989 TFLOPS, not the 1979 of float8."""
    assert matrix_rate(catalog.devices["h100-sxm5-80gb"], "mxfp4", "vllm") == pytest.approx(989e12, rel=0.01)


def test_all_sequences_make_as_many_times_what_each_makes(speed_of: SpeedOf) -> None:
    lows = []
    for sequences in (1, 2, 4, 32):
        found = speed_of("llama-3.1-8b", "h100-sxm5-80gb", "fp8", 2048, "vllm", sequences=sequences)
        each, together = found.decode_tokens_per_s, found.throughput_tokens_per_s
        assert each is not None
        assert together is not None
        assert together.low == pytest.approx(sequences * each.low)
        assert together.high == pytest.approx(sequences * each.high)
        lows.append(together.low)
    assert lows == sorted(lows)


def test_an_older_vllm_says_nothing_of_what_a_device_reaches(catalog: Catalog) -> None:
    now = Setting(engine="vllm", device=catalog.devices["mi300x"], kernel="16", mixture=False, build="V1")
    older = msgspec.structs.replace(now, build="V0")
    shared = set(scopes(now, "prefill", "linear")) & set(scopes(older, "prefill", "linear"))
    assert shared == {"all", "all, dense", "all, amd", "vllm"}


def test_a_graph_launches_as_much_whatever_the_weights(catalog: Catalog) -> None:
    for engine in ("vllm", "llama.cpp", "transformers"):
        setting = Setting(engine=engine, device=catalog.devices["h100-sxm5-80gb"], kernel="fp8", mixture=False)
        assert (f"{engine}, fp8" in scopes(setting, "decode", "launch")) == (engine in LAUNCH_OVERLAPS)


@pytest.mark.parametrize(
    ("engine", "precision", "share"), [("llama.cpp", "int4", 0.055), ("transformers", "fp16", 1.0)]
)
def test_a_processor_reads_the_experts_that_are_routed_to(
    engine: str, precision: str, share: float, catalog: Catalog, spec_of: Callable[[str], ModelSpec]
) -> None:
    """DeepSeek V3 beside a 4090: 37 of 671 billion weights are active. accelerate copies whole layers all the same."""
    spec, facts = spec_of("deepseek-v3"), catalog.engines[engine]
    machine = catalog_machine(catalog.devices["rtx-4090"], 1)
    layout = catalog.layouts[facts.layouts[precision]]
    memory = estimate_memory(
        spec, facts, layout, precision, Workload(context_tokens=2048, sequences=1, offload="cpu"), machine
    )
    timing = timing_on(spec, memory, layout, machine, catalog.speed)
    assert timing is not None
    bytes_per_s = {"llama.cpp": 40e9, "transformers": 12e9}[engine]
    assert memory.host is not None
    assert timing.host_step_s * bytes_per_s / memory.host.weights_bytes == pytest.approx(share, rel=0.15)
    assert timing.beside.read_s >= timing.host_step_s
