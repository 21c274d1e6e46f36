"""Devices by the names that people and drivers use, and what this computer is."""

from __future__ import annotations

import pytest

from fmkit.api.machines import resolve_machine, this_machine
from fmkit.catalog.load import load_catalog
from fmkit.errors import UsageError
from fmkit.machine import Device, Machine
from fmkit.units import GIB, MIB


@pytest.mark.parametrize(
    ("reported", "gib", "device_id"),
    [
        # as nvidia-smi, rocm-smi and sysctl print them
        ("NVIDIA H100 80GB HBM3", 80, "h100-sxm5-80gb"), ("NVIDIA A100-SXM4-80GB", 80, "a100-sxm4-80gb"), ("Tesla T4", 15, "t4"),
        ("NVIDIA GeForce RTX 4090", 24, "rtx-4090"), ("NVIDIA GeForce RTX 3060", 12, "rtx-3060-12gb"), ("NVIDIA A10G", 23, "a10g"),
        ("AMD Instinct MI300X", 192, "mi300x"), ("Apple M2 Max", 64, "apple-m2-max-64gb"),
    ],
)  # fmt: skip
def test_a_detected_device_is_found_in_the_catalog(
    monkeypatch: pytest.MonkeyPatch, reported: str, gib: int, device_id: str
) -> None:
    machine = detected(monkeypatch, reported, gib * GIB)
    assert machine.device is not None
    assert machine.device.id == device_id


@pytest.mark.parametrize(
    ("reported", "mib", "device_id"),
    [
        # MiB as drivers report them of cards that share a name; the catalog has one of the sizes, or both
        ("Intel Arc A770", 16_288, "arc-a770-16gb"), ("Intel Arc A770", 8_096, None),
        ("NVIDIA GeForce RTX 3060", 12_288, "rtx-3060-12gb"), ("NVIDIA GeForce RTX 3060", 8_192, None),
        ("NVIDIA GeForce RTX 3080", 10_240, "rtx-3080-10gb"), ("NVIDIA GeForce RTX 3080", 12_288, None),
        ("NVIDIA GeForce RTX 3050", 8_192, "rtx-3050-8gb"), ("NVIDIA GeForce RTX 3050", 6_144, None),
        ("NVIDIA GeForce RTX 2060", 12_288, "rtx-2060-12gb"), ("NVIDIA GeForce RTX 2060", 6_144, None),
        ("NVIDIA GeForce RTX 4060 Ti", 8_188, "rtx-4060-ti-8gb"), ("NVIDIA GeForce RTX 4060 Ti", 16_380, "rtx-4060-ti-16gb"),
        ("NVIDIA GeForce RTX 4090", 49_140, None), ("NVIDIA RTX A2000 12GB", 12_282, None),
        ("NVIDIA GeForce GTX 1060 3GB", 3_072, None), ("Tesla P100-PCIE-12GB", 12_288, None),
        ("Tesla V100-PCIE-16GB", 16_384, "v100-pcie-16gb"), ("Tesla V100-PCIE-32GB", 32_768, "v100-pcie-32gb"),
        ("NVIDIA A100-PCIE-40GB", 40_960, "a100-pcie-40gb"), ("NVIDIA A100 80GB PCIe", 81_920, "a100-pcie-80gb"),
        ("NVIDIA H100 80GB HBM3", 81_559, "h100-sxm5-80gb"), ("NVIDIA H100 SXM5 64GB", 65_247, None),
        ("NVIDIA GH200 480GB", 97_871, "gh200-96gb"), ("NVIDIA GH200 480GB", 146_831, None),
        ("AMD Radeon RX 9060 XT", 16_304, "rx-9060-xt-16gb"), ("AMD Radeon RX 9060 XT", 8_176, None),
        ("AMD Radeon RX 580", 8_192, "rx-580"), ("AMD Radeon RX 580", 4_096, None),
        # with error correction 93.7 % are left
        ("Tesla T4", 15_360, "t4"), ("NVIDIA L40S", 46_068, "l40s"), ("NVIDIA RTX A6000", 46_068, "rtx-a6000"),
    ],
)  # fmt: skip
def test_a_name_of_several_cards_is_that_with_the_memory_that_was_found(
    monkeypatch: pytest.MonkeyPatch, reported: str, mib: int, device_id: str | None
) -> None:
    """The bandwidth of the others is another: 240 GB/s of an RTX 3060 with 8 GB, 360 of one with 12."""
    machine = detected(monkeypatch, reported, mib * MIB)
    assert machine.device is not None
    assert machine.device.id == (device_id or "this-machine")
    assert machine.memory_bytes == mib * MIB
    assert device_id or machine.device.bandwidth_bytes_per_s is None


@pytest.mark.parametrize(
    ("reported", "gib", "device_id"),
    [("Jetson AGX Orin", 29.9, "jetson-agx-orin-32gb"), ("Jetson AGX Orin", 61.4, "jetson-agx-orin-64gb"), ("NVIDIA GB10", 32, "gb10-dgx-spark")],
)  # fmt: skip
def test_of_memory_shared_with_the_system_any_part_may_be_left(
    monkeypatch: pytest.MonkeyPatch, reported: str, gib: float, device_id: str
) -> None:
    """Firmware and containers keep some of it: the nearest size is taken, and what was found is what counts."""
    machine = detected(monkeypatch, reported, int(gib * GIB))
    assert machine.device is not None
    assert machine.device.id == device_id
    assert machine.memory_bytes == int(gib * GIB)


def test_a_device_nobody_knows_keeps_its_own_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = detected(monkeypatch, "NVIDIA XQ-17", GIB)
    assert machine.device is not None
    assert (machine.device.id, machine.device.name) == ("this-machine", "NVIDIA XQ-17")


def detected(monkeypatch: pytest.MonkeyPatch, reported: str, memory_bytes: int) -> Machine:
    """This machine, had its driver reported one card of that name."""
    device = Device(
        id="this-machine", name=reported, vendor="nvidia", device_class="consumer", memory_bytes=memory_bytes,
        bandwidth_bytes_per_s=None,
    )  # fmt: skip
    machine = Machine(
        name=reported, origin="detected", device=device, count=1, memory_bytes=memory_bytes, usable_bytes=memory_bytes
    )
    monkeypatch.setattr("fmkit.hardware.detect", lambda: machine)
    return this_machine(load_catalog())


@pytest.mark.parametrize("gpu", ["rtx-4090:0", "rtx-4090:x", "rtx-4090:-1", "rtx-4090:99999", "rtx-9999"])
def test_a_silly_device_is_refused(gpu: str) -> None:
    with pytest.raises(UsageError):
        resolve_machine(gpu, None, load_catalog())


def test_a_device_like_none_is_answered_with_some_of_each_vendor() -> None:
    catalog = load_catalog()
    with pytest.raises(UsageError) as caught:
        resolve_machine("banana", None, catalog)
    named = [device for device in catalog.devices.values() if f" {device.id}" in caught.value.message]
    assert {device.vendor for device in named} == {device.vendor for device in catalog.devices.values()}
    assert caught.value.next_command == "fmkit hardware list"
    with pytest.raises(UsageError, match="nearest: rtx-4090"):
        resolve_machine("rtx-4091", None, catalog)


def test_a_count_multiplies_the_budget_not_the_device() -> None:
    machine = resolve_machine("h100-sxm5-80gb:8", None, load_catalog())
    assert machine.count == 8
    assert machine.memory_bytes == 80 * GIB
