"""`fmkit hardware`: this machine as detected, and the devices of the catalog."""

from __future__ import annotations

from fmkit import __version__
from fmkit.api.kept_rates import kept_here
from fmkit.api.resolve import resolve_device, this_machine
from fmkit.catalog.load import load_catalog
from fmkit.machine import Device, device_reserve
from fmkit.results.hardware import DeviceRow, DevicesResult, HardwareResult

DETECTED_ID = "this-machine"
"""The id that detection gives; anything else was found in the catalog."""


def show_hardware() -> HardwareResult:
    """This machine: what was detected, with the catalog's figures where it has the device."""
    catalog = load_catalog()
    machine = this_machine(catalog)
    device = machine.device
    rates = kept_here(machine)
    known = device is not None and device.id != DETECTED_ID
    return HardwareResult(
        fmkit=__version__,
        catalog=catalog.date,
        name=machine.name,
        device=device.id if device is not None and known else None,
        device_class=device.device_class if device is not None else None,
        count=machine.count,
        memory_bytes=machine.memory_bytes,
        usable_bytes=machine.usable_bytes,
        free_bytes=machine.free_bytes,
        reserve_reason=machine.reserve_reason,
        host_memory_bytes=machine.host_memory_bytes,
        cpu_cores=machine.cpu_cores,
        cpu_formats=machine.cpu_formats,
        numa_nodes=machine.numa_nodes,
        disk=machine.disk,
        measured_on=rates.date if rates is not None else None,
        bandwidth_bytes_per_s=device.bandwidth_bytes_per_s if device is not None else None,
        flops_per_s=device.flops_per_s if device is not None else {},
        age=catalog.age,
        next=("fmkit", "fmkit hardware list"),
    )


def list_devices(vendor: str | None = None) -> DevicesResult:
    """The catalog's devices, of one vendor or of all, smallest memory first."""
    catalog = load_catalog()
    chosen = [device for device in catalog.devices.values() if vendor is None or device.vendor == vendor.casefold()]
    ordered = sorted(chosen, key=lambda device: (device.vendor, device.memory_bytes or 0, device.id))
    return DevicesResult(fmkit=__version__, catalog=catalog.date, devices=tuple(map(_row, ordered)), age=catalog.age)


def show_device(name: str) -> DevicesResult:
    """One device of the catalog, by id or alias; UsageError with the nearest where there is none."""
    catalog = load_catalog()
    row = _row(resolve_device(name, catalog))
    return DevicesResult(fmkit=__version__, catalog=catalog.date, devices=(row,), age=catalog.age)


def _row(device: Device) -> DeviceRow:
    memory_bytes = device.memory_bytes
    reserve = None if memory_bytes is None else device_reserve(device, memory_bytes)
    return DeviceRow(
        id=device.id,
        name=device.name,
        vendor=device.vendor,
        device_class=device.device_class,
        memory_bytes=memory_bytes,
        usable_bytes=None if memory_bytes is None or reserve is None else memory_bytes - reserve.bytes,
        reserve_reason="" if reserve is None else reserve.reason,
        bandwidth_bytes_per_s=device.bandwidth_bytes_per_s,
        flops_per_s=device.flops_per_s,
        verified=device.verified,
        sources=device.sources,
    )
