"""What a device is, and a machine made of devices: numbers in, no detection (that is `fmkit.hardware`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from fmkit.errors import UsageError
from fmkit.units import GIB, MIB, format_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

DeviceClassName = Literal["consumer", "workstation", "datacentre", "integrated", "edge", "cpu"]

MOST_DEVICES = 1024
"""Of one machine, as people may ask for it."""


class Device(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One accelerator, or one CPU class, as its vendor states it.

    `flops_per_s` holds dense peak rates by number format (`float16`, `bfloat16`, `float8`, `int8`, `float4`, `float32`);
    a format that is absent is unknown, not slow. Of a processor `vector` is the nominal rate of its vector units in float32, others are what PyTorch reaches. `link_devices` of them are joined by a link of their own (NVLink, Infinity Fabric, Xe Link);
    1: they reach each other over PCIe.
    """

    id: str
    name: str
    vendor: str
    device_class: DeviceClassName
    memory_bytes: int | None
    bandwidth_bytes_per_s: int | None
    flops_per_s: dict[str, float] = {}
    memory_kind: str | None = None
    unified_memory: bool = False
    power_w: float | None = None
    release_year: int | None = None
    link_devices: int = 1
    sources: dict[str, str] = {}
    verified: bool = True


def recalled_figures(sources: Mapping[str, str]) -> tuple[str, ...]:
    """Which of a device's figures were recalled, not read, by what their sources say: memory, bandwidth, link, all rates or one format's.

    >>> recalled_figures({"memory": "data sheet", "tflops": "recalled, data sheet", "tflops.float32": "a table", "bus_bits": "recalled"})
    ('tflops',)
    """
    figures = (
        key
        for key in sources
        if key in {"memory", "bandwidth_gb_s", "link_devices", "tflops"} or key.startswith("tflops.")
    )
    return tuple(key for key in figures if "recalled" in sources[key])


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model is to run: `count` equal devices, or this computer.

    `origin` says whether the figures are a catalog device's, were detected here, or are a bare `--memory` size.
    `usable_bytes` is what one device offers to a model after what system and driver keep; unknown is None. `cpu_cores` are
    what this process may use, threads of one core each counted, of which there are `cpu_threads_per_core`; `cpu_formats` are
    the number formats that the processor multiplies matrices in with instructions of its own. `uses_trials`: whether the trials
    kept on this computer may correct what is predicted for it; they never do for others. `disk` is the kind that models lie on,
    `numa_nodes` the memories that this process may take from.
    """

    name: str
    origin: Literal["catalog", "detected", "memory"]
    device: Device | None
    count: int
    memory_bytes: int
    usable_bytes: int
    free_bytes: int | None = None
    host_memory_bytes: int | None = None
    cpu_cores: int | None = None
    cpu_formats: tuple[str, ...] = ()
    cpu_threads_per_core: int = 1
    reserve_reason: str = ""
    uses_trials: bool = True
    disk: Literal["nvme", "ssd", "disk"] | None = None
    numa_nodes: int | None = None


class Reserve(msgspec.Struct, frozen=True, kw_only=True):
    """What of a device's nominal memory no program can get, and how that is known."""

    bytes: int
    reason: str


def catalog_machine(device: Device, count: int, memory_bytes: int | None = None) -> Machine:
    """`count` devices of the catalog. A device without a memory of its own (a CPU class) needs `memory_bytes`.

    >>> card = Device(id="x", name="X", vendor="nvidia", device_class="consumer", memory_bytes=24 * GIB, bandwidth_bytes_per_s=None)
    >>> format_bytes(catalog_machine(card, 1).usable_bytes)
    '23.52 GiB'
    """
    nominal = device.memory_bytes if memory_bytes is None else memory_bytes
    if nominal is None:
        raise UsageError(
            f"{device.name} has no memory of its own: say how much there is with --memory",
            where=f"--gpu {device.id}",
            next_command=f"fmkit vram MODEL --gpu {device.id} --memory 32GiB",
        )
    reserve = device_reserve(device, nominal)
    return Machine(
        name=device.name if count == 1 else f"{count} x {device.name}",
        origin="catalog",
        device=device,
        count=count,
        memory_bytes=nominal,
        usable_bytes=nominal - reserve.bytes,
        reserve_reason=reserve.reason,
    )


def memory_machine(memory_bytes: int) -> Machine:
    """A bare size: nothing is known of the device, and nothing is subtracted.

    >>> memory_machine(24 * GIB).name
    '24.00 GiB of memory'
    """
    return Machine(
        name=f"{format_bytes(memory_bytes)} of memory",
        origin="memory",
        device=None,
        count=1,
        memory_bytes=memory_bytes,
        usable_bytes=memory_bytes,
        reserve_reason="the size is taken as what a program can use",
    )


def device_reserve(device: Device, nominal_bytes: int) -> Reserve:
    """What a device's driver or system keeps, before any program has a context.

    Held against the "total capacity" that PyTorch prints when it runs out of memory, as published in issues:
    RTX 4090 23.61-23.68 of 24 GiB, RTX 5090 31.37-31.51 of 32, 8 GB GeForce cards 7.60-7.93 of 8, A30 23.53 of 24,
    A100/H100 39.39-39.59 of 40 and 79.14-79.25 of 80, T4 14.56-14.74 of 16, A10G and L4 22.03-22.15 of 24; Metal's recommended working set 11453 MB of 16 GiB,
    14302 MB of 18, 30151 MB of 36. Each rule keeps as much as the worst of its group.
    """
    if device.device_class == "cpu":
        return host_reserve(nominal_bytes)
    if device.vendor == "apple":
        return apple_reserve(nominal_bytes)
    if device.unified_memory:
        reason = "a quarter is left to the system, which shares this memory (assumed)"
        return Reserve(bytes=nominal_bytes // 4, reason=reason)
    if (
        device.device_class == "datacentre"
        and "gddr6" in (device.memory_kind or "").lower()
        and not nominal_bytes % (8 * GIB)
    ):
        reason = (
            "error correction and driver keep 9 % of a GDDR6 data-centre card (T4: 14.56 of 16 GiB, L4: 22.03 of 24)"
        )
        return Reserve(bytes=nominal_bytes * 9 // 100, reason=reason)
    kept = max(410 * MIB, nominal_bytes * 2 // 100)
    reason = "the driver keeps 2 %, at least 410 MiB (RTX 4090: 23.61 of 24 GiB, RTX 5090: 31.37 of 32)"
    if device.device_class == "datacentre" and "hbm" in (device.memory_kind or "").lower():
        kept = 300 * MIB + nominal_bytes * 8 // 1000
        reason = "the driver keeps 300 MiB and 0.8 % of a card with HBM (A30: 23.53 of 24 GiB, A100: 39.39 of 40, 79.14 of 80)"
    return Reserve(bytes=min(nominal_bytes, kept), reason=reason)


def apple_reserve(nominal_bytes: int) -> Reserve:
    """What macOS keeps from the GPU: a third of up to 16 GiB, a quarter of more (a bound on its recommended working set)."""
    if nominal_bytes <= 16 * GIB:
        return Reserve(
            bytes=-(-nominal_bytes // 3), reason="macOS keeps a third from the GPU (10.67 of 16 GiB are recommended)"
        )
    return Reserve(
        bytes=nominal_bytes - nominal_bytes * 74 // 100,
        reason="macOS keeps a quarter from the GPU (13.32 of 18 GiB, 28.08 of 36 are recommended)",
    )


def host_reserve(nominal_bytes: int) -> Reserve:
    """What system and other programs take of main memory: a tenth, between 512 MiB and 4 GiB (assumed)."""
    kept = min(max(nominal_bytes // 10, 512 * MIB), 4 * GIB, nominal_bytes)
    return Reserve(bytes=kept, reason="a tenth, at most 4 GiB, is left to the system and other programs (assumed)")


def host_budget(machine: Machine | None) -> int | None:
    """What main memory offers beside a device: its size less what system and other programs take; None where it is not known."""
    if machine is None or machine.host_memory_bytes is None:
        return None
    return machine.host_memory_bytes - host_reserve(machine.host_memory_bytes).bytes
