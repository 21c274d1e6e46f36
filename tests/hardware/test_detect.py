"""From what probes found to a Machine; and what is kept back of each kind of memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fmkit.errors import UsageError
from fmkit.hardware import detect
from fmkit.hardware.cpu import Host
from fmkit.hardware.detect import accelerated, device_class, processor_only
from fmkit.hardware.probe import Found, run_tool
from fmkit.machine import Device, DeviceClassName, catalog_machine, memory_machine
from fmkit.units import GIB, MIB

HOST = Host(name="AMD EPYC", cores=8, memory_bytes=64 * GIB, free_bytes=60 * GIB)


def card(name: str, memory_gib: int | None = 24, **facts: object) -> Found:
    memory_bytes = None if memory_gib is None else memory_gib * GIB
    return Found(name=name, vendor="nvidia", memory_bytes=memory_bytes, **facts)  # type: ignore[arg-type]  # test data


def test_this_machine_is_understood() -> None:
    machine = detect()
    assert machine.origin == "detected"
    assert 0 < machine.usable_bytes < machine.memory_bytes
    assert machine.reserve_reason


def test_only_equal_cards_count() -> None:
    found = [card("A", free_bytes=20 * GIB), card("A", free_bytes=23 * GIB), card("B")]
    machine = accelerated(found, HOST)
    assert (machine.name, machine.count, machine.free_bytes) == ("2 x A", 2, 20 * GIB)
    assert machine.host_memory_bytes == 64 * GIB


def test_a_board_that_shares_memory_has_the_systems() -> None:
    machine = accelerated([card("NVIDIA GB10", None, unified_memory=True)], HOST)
    assert (machine.memory_bytes, machine.usable_bytes) == (64 * GIB, 48 * GIB)


def test_what_nobody_says_is_not_invented() -> None:
    with pytest.raises(UsageError, match="does not say how much memory"):
        accelerated([card("Mystery", None)], HOST)
    with pytest.raises(UsageError, match="how much memory"):
        processor_only(Host(name="CPU", cores=None, memory_bytes=None, free_bytes=None))


def test_a_processor_alone() -> None:
    machine = processor_only(HOST)
    assert machine.device is not None
    assert (machine.device.device_class, machine.device.bandwidth_bytes_per_s) == ("cpu", None)
    assert machine.usable_bytes == 60 * GIB
    limited = processor_only(Host(name="CPU", cores=2, memory_bytes=GIB, free_bytes=None, limited_by="a container"))
    assert limited.usable_bytes == 512 * MIB
    assert "a container" in limited.reserve_reason


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("NVIDIA GeForce RTX 4090", "consumer"),
        ("NVIDIA RTX A6000", "workstation"),
        ("NVIDIA RTX 6000 Ada Generation", "workstation"),
        ("NVIDIA H100 80GB HBM3", "datacentre"),
        ("Tesla T4", "datacentre"),
        ("NVIDIA A10G", "datacentre"),
    ],
)
def test_class_of_a_card(name: str, expected: str) -> None:
    assert device_class(card(name)) == expected


# (class, vendor, memory kind, nominal GiB, the least "total capacity" PyTorch reported for it)
REPORTED = [
    ("consumer", "nvidia", "GDDR6X", 24, 23.61),
    ("consumer", "nvidia", "GDDR7", 32, 31.37),
    ("consumer", "nvidia", "GDDR6", 8, 7.60),
    ("datacentre", "nvidia", "HBM2", 24, 23.53),
    ("datacentre", "nvidia", "HBM2", 40, 39.39),
    ("datacentre", "nvidia", "HBM3", 80, 79.14),
    ("datacentre", "nvidia", "GDDR6", 16, 14.56),
    ("datacentre", "nvidia", "GDDR6", 24, 22.03),
    ("integrated", "apple", "LPDDR5", 16, 10.67),
    ("integrated", "apple", "LPDDR5", 18, 13.32),
    ("integrated", "apple", "LPDDR5", 36, 28.08),
]


@pytest.mark.parametrize(("name", "vendor", "kind", "nominal_gib", "reported_gib"), REPORTED)
def test_usable_memory_is_a_close_lower_bound_of_what_was_reported(
    name: DeviceClassName, vendor: str, kind: str, nominal_gib: int, reported_gib: float
) -> None:
    device = Device(
        id="x", name="X", vendor=vendor, device_class=name, memory_bytes=nominal_gib * GIB, bandwidth_bytes_per_s=None,
        memory_kind=kind, unified_memory=vendor == "apple",
    )  # fmt: skip
    machine = catalog_machine(device, 1)
    assert 0.94 * reported_gib <= machine.usable_bytes / GIB <= reported_gib + 0.005
    assert machine.reserve_reason


def test_a_processor_class_needs_a_size() -> None:
    device = Device(
        id="epyc", name="EPYC", vendor="amd", device_class="cpu", memory_bytes=None, bandwidth_bytes_per_s=None
    )  # fmt: skip
    with pytest.raises(UsageError, match="--memory"):
        catalog_machine(device, 1)
    assert catalog_machine(device, 1, 32 * GIB).usable_bytes == 32 * GIB - int(3.2 * GIB)
    assert memory_machine(7).usable_bytes == 7


def test_tools_that_fail_or_hang_are_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_tool("no-such-tool-anywhere") is None
    assert run_tool(sys.executable, "-c", "raise SystemExit(9)") is None
    assert run_tool(sys.executable, "-c", "print(1)") == "1\n"

    def slow(*args: object, **kwargs: object) -> None:
        del args, kwargs
        raise subprocess.TimeoutExpired("tool", 5)

    monkeypatch.setattr(subprocess, "run", slow)
    assert run_tool(sys.executable) is None
    del tmp_path
