"""Experts and layers that lie in main memory: times of host and device add up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from fmkit.catalog.load import Catalog
from fmkit.machine import catalog_machine
from fmkit.model.spec import ModelSpec
from fmkit.sizing.estimate import EXPERTS_WITH_HOST, MemoryEstimate, Workload
from fmkit.sizing.memory import estimate as estimate_memory
from fmkit.speed.offloaded import host_rates
from fmkit.speed.operations import decode_pass
from fmkit.speed.rates import MachineRates
from fmkit.speed.timing import Timing, timing_on

Timed = Callable[..., tuple[Timing, MemoryEstimate]]


@pytest.fixture
def timed(catalog: Catalog, spec_of: Callable[[str], ModelSpec]) -> Timed:
    """gpt-oss-120b in MXFP4 on an RTX 4090, with options of llama.cpp, in a machine where `rates` were measured."""

    def timed(options: dict[str, str], rates: MachineRates | None = None) -> tuple[Timing, MemoryEstimate]:
        spec, machine = spec_of("gpt-oss-120b"), catalog_machine(catalog.devices["rtx-4090"], 1)
        layout = catalog.layouts["gguf-mxfp4"]
        workload = Workload(context_tokens=8192, options=options)
        memory = estimate_memory(spec, catalog.engines["llama.cpp"], layout, "mxfp4", workload, machine)
        timing = timing_on(spec, memory, layout, machine, catalog.speed, rates)
        assert timing is not None
        return timing, memory

    return timed


@pytest.fixture(scope="module")
def h100() -> MachineRates:
    """`fmkit hardware measure --json` on an H100, 2026-11-27."""
    file = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "hardware-measure-h100.json"
    return msgspec.convert(json.loads(file.read_text())["rates"], MachineRates)


def step_s(timing: Timing, memory: MemoryEstimate, catalog: Catalog, spec: ModelSpec) -> float:
    step = decode_pass(spec, catalog.layouts["gguf-mxfp4"], 8192, 1, memory.cache_bytes, "llama.cpp")
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
    step = decode_pass(spec, catalog.layouts["gguf-mxfp4"], 8192, 1, 0, "llama.cpp")
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


def test_rates_measured_here_go_before_assumed_ones_and_are_said(timed: Timed, h100: MachineRates) -> None:
    """On an H100: 7.4 GB/s to the card, 106 GB/s read by its host's cores; its disk was not measured."""
    options = {"n_cpu_moe": "all"}
    assumed, measured = (timed(options, rates)[0].beside for rates in (None, h100))
    assert measured.read_s == pytest.approx(assumed.read_s * 12 / 7.4, rel=0.01)
    assert measured.step_s == pytest.approx(assumed.step_s * 40 / 105.8, rel=0.01)
    assert assumed.rates == "processor 40 GB/s assumed, bus 12 GB/s assumed"
    assert measured.rates == "processor 106 GB/s measured here, bus 7.43 GB/s measured here"
    disk = msgspec.structs.replace(h100, disk_read_bytes_per_s=3e9)
    assert host_rates(h100).said(["disk"]) == "disk 1.5 GB/s assumed"
    assert host_rates(disk).said(["disk"]) == "disk 3 GB/s measured here"
