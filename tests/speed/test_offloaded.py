"""Experts and layers that lie in main memory: times of host and device add up."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fmkit.catalog.load import Catalog
from fmkit.machine import catalog_machine
from fmkit.model.spec import ModelSpec
from fmkit.sizing.estimate import EXPERTS_WITH_HOST, MemoryEstimate, Workload
from fmkit.sizing.memory import estimate as estimate_memory
from fmkit.speed.operations import decode_pass
from fmkit.speed.timing import Timing, timing_on

Timed = Callable[[dict[str, str]], tuple[Timing, MemoryEstimate]]


@pytest.fixture
def timed(catalog: Catalog, spec_of: Callable[[str], ModelSpec]) -> Timed:
    """gpt-oss-120b in MXFP4 on an RTX 4090, with options of llama.cpp."""

    def timed(options: dict[str, str]) -> tuple[Timing, MemoryEstimate]:
        spec, machine = spec_of("gpt-oss-120b"), catalog_machine(catalog.devices["rtx-4090"], 1)
        layout = catalog.layouts["gguf-mxfp4"]
        workload = Workload(context_tokens=8192, options=options)
        memory = estimate_memory(spec, catalog.engines["llama.cpp"], layout, "mxfp4", workload, machine)
        timing = timing_on(spec, memory, layout, machine, catalog.speed)
        assert timing is not None
        return timing, memory

    return timed


def step_s(timing: Timing, memory: MemoryEstimate, catalog: Catalog, spec: ModelSpec) -> float:
    step = decode_pass(spec, catalog.layouts["gguf-mxfp4"], 8192, 1, memory.cache_bytes)
    assert step is not None
    return timing.step_s(step)


def test_the_host_reads_the_experts_that_a_token_goes_to(timed: Timed) -> None:
    """4 of 128 experts of each layer: 1/32 of what lies there, at 40 GB/s; a prompt is computed on the card, which copies them all."""
    timing, memory = timed({"n_cpu_moe": "all"})
    assert memory.host is not None
    (experts,) = (line.bytes for line in memory.host.lines if line.part == EXPERTS_WITH_HOST)
    assert experts == 36 * (
        3 * 2880 * 2880 * 128 * 17 // 32 + 3 * 2880 * 128 * 4
    )  # MXFP4: 17 bytes for 32 weights; biases in float32
    assert timing.host_step_s == pytest.approx(experts / 32 / 40e9, rel=0.01)
    assert timing.beside.read_s == pytest.approx(experts / 12e9)
    assert timing.basis("decode") == "extrapolated"


def test_times_of_host_and_device_add_up(timed: Timed, catalog: Catalog, spec_of: Callable[[str], ModelSpec]) -> None:
    """What the device still reads of a step is what is left of it: nothing is read twice, nothing is left out."""
    spec = spec_of("gpt-oss-120b")
    step = decode_pass(spec, catalog.layouts["gguf-mxfp4"], 8192, 1, 0)
    assert step is not None
    for count in ("1", "18", "36"):
        timing, memory = timed({"n_cpu_moe": count})
        on_host = timing.host_step_s * 40e9
        assert timing.beside.step_share * step.weight_bytes + on_host == pytest.approx(step.weight_bytes)
        assert step_s(timing, memory, catalog, spec) > timing.host_step_s


def test_fewer_experts_with_the_host_are_faster_and_whole_layers_are_slower(
    timed: Timed, catalog: Catalog, spec_of: Callable[[str], ModelSpec]
) -> None:
    spec = spec_of("gpt-oss-120b")
    some, every, layers = (
        step_s(*timed(options), catalog, spec)
        for options in ({"n_cpu_moe": "20"}, {"n_cpu_moe": "36"}, {"gpu_layers": "0"})
    )
    assert some < every < layers
