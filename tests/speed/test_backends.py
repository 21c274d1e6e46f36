"""Backends of llama.cpp: which run where, that speed follows the one asked for, and that memory and the default do not change."""

from __future__ import annotations

from typing import Any

import pytest

from fmkit.api.vram import vram
from fmkit.catalog.load import Catalog
from fmkit.errors import UsageError
from fmkit.results.vram import Estimate
from fmkit.sizing.engines.llama_cpp_backends import BACKENDS, backends_of
from fmkit.speed.estimate import SpeedEstimate
from fmkit.speed.setting import build_name

STRIX_HALO, RADEON, GEFORCE = "ryzen-ai-max-395", "rx-7900-xtx", "rtx-4090"
OFF, ON = "flash_attention=off", "flash_attention=on"


def sized(gpu: str | None, *settings: str, context: int = 4096, precision: str = "int4", **options: Any) -> Estimate:
    answer = vram(
        "llama-3.1-8b",
        engine="llama.cpp",
        gpu=gpu,
        precision=precision,
        context=context,
        engine_option=settings,
        **options,
    )
    return answer.estimates[0]


def speed(gpu: str, *settings: str, context: int = 4096, precision: str = "int4") -> SpeedEstimate:
    found = sized(gpu, *settings, context=context, precision=precision).speed
    assert found is not None
    return found


# Tokens per second of Llama-3.1-8B in Q4_K_M, a prompt of 2,048 tokens and 4,096 written tokens (2,048 held on average): llama-bench b5863
# (lhl/strix-halo-testing at 5ee14b5b0ecf, llm-bench/shisa-v2-llama3.1-8b.i1-Q4_K_M/results.jsonl; catalog/measurements/latency.csv)
MEASURED = {
    ("vulkan", OFF): (454.589, 33.958), ("hip", OFF): (243.818, 26.707), ("vulkan", ON): (477.868, 37.615),
    ("hip", ON): (178.371, 28.809), ("rocwmma", ON): (191.083, 28.856),
}  # fmt: skip


@pytest.mark.parametrize(("backend", "flash"), MEASURED)
def test_a_backend_has_the_speed_that_was_measured_with_it(backend: str, flash: str) -> None:
    """As far as rows of one device scatter, and nearer than those of any other backend where these are far apart (prompts)."""
    found = speed(STRIX_HALO, f"backend={backend}", flash, context=2048)
    assert found.prefill_tokens_per_s is not None
    assert found.decode_tokens_per_s is not None
    reads, writes = found.prefill_tokens_per_s, found.decode_tokens_per_s
    read, written = MEASURED[backend, flash]
    assert reads.median == pytest.approx(read, rel=0.25)
    assert writes.median == pytest.approx(written, rel=0.2)
    assert reads.low < read < reads.high
    assert writes.low < written < writes.high


def test_vulkan_and_hip_differ_as_they_did_when_measured() -> None:
    """Prompts are read 1.9 times as fast by Vulkan without flash attention and 2.7 times with, and written answers 1.3 times."""
    for flash in (OFF, ON):
        one, other = (speed(STRIX_HALO, f"backend={name}", flash, context=2048) for name in ("vulkan", "hip"))
        measured = [MEASURED["vulkan", flash][at] / MEASURED["hip", flash][at] for at in (0, 1)]
        for at, name in enumerate(("prefill_tokens_per_s", "decode_tokens_per_s")):
            ratio = getattr(one, name).median / getattr(other, name).median
            assert ratio == pytest.approx(measured[at], rel=0.25)


def test_every_build_is_one_that_was_measured(catalog: Catalog) -> None:
    """A name that no measurement has would have no effect and look like any other."""
    known = {
        scope.partition("backend ")[2].partition(",")[0]
        for effects in catalog.speed.effects.values()
        for scope in effects
    }
    builds = {
        build_name(device, backend, flash)
        for device in catalog.devices.values()
        for backend in backends_of(device)
        for flash in (None, True, False)
    } - {None}
    assert builds >= {"cuda", "vulkan", "vulkan fa", "hip", "hip fa", "rocwmma fa", "rocm", "xpu", "metal"}
    assert builds - known == set()


@pytest.mark.parametrize(
    ("gpu", "backend"),
    [(GEFORCE, "cuda"), (RADEON, "vulkan"), ("arc-b580", "vulkan"), ("apple-m2-ultra-192gb", "metal")],
)
def test_the_default_is_what_release_files_bring_and_can_be_named(gpu: str, backend: str) -> None:
    unsaid, named = sized(gpu), sized(gpu, f"backend={backend}")
    assert unsaid == named
    assert unsaid.backend == backend
    assert unsaid.flash_attention is None


def test_memory_is_that_of_any_backend() -> None:
    found = [sized(RADEON, *settings) for settings in ((), ("backend=hip",), ("backend=rocwmma",))]
    assert len({(each.peak_bytes, each.low_bytes, each.high_bytes, each.fits) for each in found}) == 1
    assert [each.backend for each in found] == ["vulkan", "hip", "rocwmma"]


@pytest.mark.parametrize(
    ("gpu", "settings", "words"),
    [
        (RADEON, (), ("for the Vulkan build with flash attention", "flash_attention=off, backend=hip, backend=rocwmma")),
        (RADEON, (OFF,), ("for the Vulkan build without flash attention",)),
        (STRIX_HALO, ("backend=rocm", ON), ("for the HIP (ROCm) build with flash attention (70 measurements",)),
        (GEFORCE, ("backend=vulkan",), ("for the Vulkan build",)), (GEFORCE, (), ("for the CUDA build",)),
    ],
)  # fmt: skip
def test_the_build_that_figures_hold_for_is_said(gpu: str, settings: tuple[str, ...], words: tuple[str, ...]) -> None:
    reason = speed(gpu, *settings).reason
    assert all(each in reason for each in words), reason


@pytest.mark.parametrize(("gpu", "own"), [("mi300x", "hip"), ("max-1550", "sycl")])
def test_measurements_of_one_backend_are_none_of_another(gpu: str, own: str) -> None:
    """llama.cpp was measured there with the vendor's interface only: what Vulkan does is known from other devices."""
    vulkan, measured = (speed(gpu, f"backend={name}", precision="fp16") for name in ("vulkan", own))
    assert (vulkan.basis, measured.basis) == ("class", "measured-device")
    assert "measured with others" in vulkan.reason
    assert vulkan.decode_basis is not None
    assert vulkan.decode_basis.points == 0


def test_a_backend_that_was_measured_on_nothing_alike_is_extrapolated() -> None:
    """SYCL was measured on a Max 1550 alone, and of that nothing that holds for an Arc card."""
    found = speed("arc-b580", "backend=sycl")
    assert found.basis == "extrapolated"
    assert "SYCL build (nobody measured that on a device like this)" in found.reason


@pytest.mark.parametrize(
    ("gpu", "settings", "message"),
    [
        (RADEON, ("backend=cuda",), "valid there: vulkan, hip, rocwmma"), (GEFORCE, ("backend=hip",), "valid there: cuda, vulkan"),
        (GEFORCE, ("backend=metal",), "Metal builds"), ("apple-m2-ultra-192gb", ("backend=sycl",), "valid there: metal"),
        ("arc-b580", ("backend=hip",), "valid there: vulkan, sycl"), (RADEON, ("backend=cpu",), "CPU builds"),
        (RADEON, ("backend=opencl",), "unknown backend 'opencl': " + ", ".join(BACKENDS)),
        (RADEON, ("backend=rocwmma", OFF), "backend=hip"), ("rx-580", ("backend=hip",), "valid there: vulkan$"),
        ("rx-6800-xt", ("backend=rocwmma",), "valid there: vulkan, hip$"),
    ],
)  # fmt: skip
def test_what_a_device_does_not_run_is_refused_with_what_it_does(
    gpu: str, settings: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        sized(gpu, *settings)
    assert raised.value.where == "--engine-option backend"


def test_the_next_command_asks_for_the_default_and_keeps_the_rest() -> None:
    with pytest.raises(UsageError) as raised:
        sized(RADEON, "ubatch=256", "backend=cuda")
    command = raised.value.next_command or ""
    assert command.startswith("fmkit vram llama-3.1-8b ")
    assert "--engine-option ubatch=256 --engine-option backend=vulkan" in command


def test_only_devices_that_run_the_backend_are_proposed(catalog: Catalog) -> None:
    found = vram(
        "llama-3.1-8b",
        engine="llama.cpp",
        gpu=RADEON,
        precision="fp16",
        context="128k",
        engine_option="backend=hip",
        fit=True,
    )
    assert found.fit is not None
    assert found.fit.smallest_device is not None
    assert catalog.devices[found.fit.smallest_device].vendor == "amd"


def test_a_bare_size_is_told_for_any_backend() -> None:
    assert sized(None, "backend=hip", memory="24GiB").backend == "hip"
    assert sized(None, memory="24GiB").backend is None
