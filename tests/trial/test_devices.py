"""Devices that this machine does not have: what is asked of PyTorch for each, and what is said where it is missing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from fmkit.api import trial_devices
from fmkit.errors import UsageError
from fmkit.machine import Device, Machine
from fmkit.units import GIB

torch = pytest.importorskip("torch", reason="devices are torch's")

from fmkit.trial import devices  # noqa: E402  imports torch


def machine(vendor: Any) -> Machine:
    card = Device(
        id="x", name="X", vendor=vendor, device_class="consumer", memory_bytes=24 * GIB, bandwidth_bytes_per_s=None
    )
    return Machine(name="X", origin="detected", device=card, count=1, memory_bytes=24 * GIB, usable_bytes=23 * GIB)


@pytest.mark.parametrize(
    ("vendor", "asked", "found"),
    [
        ("nvidia", None, "cuda"), ("nvidia", "cuda", "cuda"), ("amd", None, "cuda"), ("amd", "rocm", "cuda"), ("amd", "cuda", "cuda"),
        ("apple", "mps", "mps"), ("intel", "xpu", "xpu"), ("apple", None, "cpu"), ("intel", None, "cpu"), ("nvidia", "cpu", "cpu"),
    ],
)  # fmt: skip
def test_names_of_devices(vendor: str, asked: str | None, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ROCm is `cuda` to PyTorch; Apple's and Intel's GPUs are taken by name only."""
    monkeypatch.setattr(trial_devices, "this_machine", lambda _: machine(vendor))
    chosen, name = trial_devices.machine_for(asked, None)  # type: ignore[arg-type]
    assert name == found
    assert (chosen.device is not None and chosen.device.vendor == vendor) == (found != "cpu")


@pytest.mark.parametrize(
    ("vendor", "asked", "words"),
    [
        ("nvidia", "rocm", "no AMD"), ("amd", "mps", "no Apple GPU"), ("nvidia", "xpu", "no Intel GPU"), ("apple", "cuda", "no NVIDIA or AMD"),
        ("nvidia", "tpu", "tpu"),
    ],
)  # fmt: skip
def test_a_device_that_is_not_there(vendor: str, asked: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_devices, "this_machine", lambda _: machine(vendor))
    with pytest.raises(UsageError, match=words):
        trial_devices.machine_for(asked, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("device", ["cuda", "mps", "xpu"])
def test_a_pytorch_built_without_it(device: str) -> None:
    if devices.is_there(device):
        pytest.skip("this machine has one")
    with pytest.raises(UsageError, match=f"sees no {device} device: it takes"):
        devices.require(device)


def test_figures_are_summed_over_all_devices_of_a_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    two = SimpleNamespace(
        is_available=lambda: True, device_count=lambda: 2, memory_allocated=lambda index: 100 + index,
        reset_peak_memory_stats=calls.append, synchronize=lambda: calls.append("wait"), empty_cache=lambda: calls.append("empty"),
        get_device_name=lambda: "Intel(R) Arc(TM) A770 Graphics",
    )  # fmt: skip
    monkeypatch.setattr(torch, "xpu", two)
    assert devices.is_there("xpu")
    assert devices.over_all("xpu", "memory_allocated") == 201
    devices.forget_peaks("xpu")
    devices.finish("xpu")
    devices.give_back("xpu")
    assert calls == [0, 1, "wait", "empty"]
    assert devices.described("xpu") == "Intel(R) Arc(TM) A770 Graphics"


def test_rocm_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "AMD Instinct MI300X")
    monkeypatch.setattr(torch.version, "hip", "7.1")
    assert devices.described("cuda") == "AMD Instinct MI300X (ROCm 7.1)"


def test_a_card_without_room_counts_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = msgspec.structs.replace(machine("nvidia"), free_bytes=GIB)
    monkeypatch.setattr(trial_devices, "this_machine", lambda _: busy)
    assert trial_devices.machine_for("cuda", None)[0].usable_bytes == GIB  # type: ignore[arg-type]
